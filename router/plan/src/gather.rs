//! Reads whose distributed tables do not lie on one shard: the rows of those tables are gathered from every shard, and
//! home runs the statement over what was gathered.
//!
//! Here it is decided which statements that is exact for, and the text is made that home runs: the client's own bytes, with
//! the name of each gathered table replaced by `unnest` of a parameter that holds the other shards' rows, behind those that
//! home reads itself in the same statement. No tree is printed. Because the
//! elements of the parameter have the table's own row type, columns keep their types and collations, and the whole row
//! keeps its. What is not exact is not gathered, with a reason.

use crate::decision::{Context, Refusal};
use crate::ir::{Leaf, LeafRelation, Occurrence};
use crate::proof::{distributed, is_distributed};
use crate::query::Planned;
use crate::resolve::Resolver;
use crate::snapshot::{Oid, Placement, Relation, RelationKind, Snapshot};
use shardgate_shard_map::ShardId;
use shardgate_sql::facts::Statement;
use shardgate_sql::lexer::{Kind, Token, lex};
use std::borrow::Cow;
use std::ops::Range;

/// How a statement over gathered rows is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gather {
    /// What every shard is asked, each table once.
    pub tables: Vec<Gathered>,
    /// What home runs. `tables[i]` is its parameter `first_param + i`.
    pub text: String,
    /// The number of the first parameter behind the client's.
    pub first_param: u16,
    /// What stands in `text` where something else stands in the client's text, in order.
    pub splices: Vec<Splice>,
}

/// One table of which all rows are gathered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathered {
    pub schema: String,
    pub name: String,
    /// The table's name with its schema, quoted.
    pub full_name: String,
    /// What stands for one row in the statements below: no column has this name.
    pub row: String,
    /// Answers one column of the table's row type, of all rows that a shard has.
    pub select: String,
    /// While rows of the table move, they may lie on two shards: for each shard that is asked, what is true of the rows that
    /// it owns, as SQL over the columns of `select`'s row. Empty: a shard has no others.
    pub owned: Vec<(ShardId, String)>,
    /// Shards that have rows of it, ascending.
    pub shards: Vec<ShardId>,
}

/// Byte ranges of the same piece in both texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    pub of_client: Range<usize>,
    pub of_text: Range<usize>,
}

impl Gathered {
    /// What this shard is asked.
    pub fn select_on(&self, shard: ShardId) -> Cow<'_, str> {
        if self.owned.is_empty() {
            return Cow::Borrowed(&self.select);
        }
        let owned = self.owned.iter().find(|(id, _)| *id == shard);
        let owned = owned.map_or("false", |(_, owned)| owned);
        Cow::Owned(format!("{} WHERE ({owned}) IS TRUE", self.select))
    }

    /// Describes the columns of its rows.
    pub fn describe(&self) -> String {
        let Gathered { row, full_name, .. } = self;
        format!("SELECT {row}.* FROM {full_name} AS {row}")
    }

    /// Describes the row itself, and behind it its columns.
    pub fn describe_row(&self) -> String {
        let Gathered { row, full_name, .. } = self;
        format!("SELECT {row}, {row}.* FROM {full_name} AS {row}")
    }

    /// All its rows, of which `param` holds those of all shards but home. What home has itself is read there by the very
    /// statement, so that all that home has is read at one moment.
    fn rows(&self, param: u16, home: ShardId) -> String {
        let array = self.other_rows(param);
        let owns = self.shards.contains(&home);
        if !owns {
            return format!("pg_catalog.unnest({array})");
        }
        format!(
            "pg_catalog.unnest(pg_catalog.array_cat(ARRAY({}), {array}))",
            self.select_on(home)
        )
    }

    fn other_rows(&self, param: u16) -> String {
        format!("${param}::{}[]", self.full_name)
    }
}

impl Gather {
    /// The character (from 1) of the client's text that a position in `text` means; None: it lies within what the client
    /// has not written. `client` is the text that the statement was planned from.
    pub fn client_position(&self, position: usize, client: &str) -> Option<usize> {
        let (byte, _) = self.text.char_indices().nth(position.checked_sub(1)?)?;
        let mut client_byte = byte;
        for splice in &self.splices {
            if byte >= splice.of_text.end {
                client_byte = (byte - splice.of_text.end) + splice.of_client.end;
            } else if byte >= splice.of_text.start {
                return None;
            }
        }
        Some(client.get(..client_byte)?.chars().count() + 1)
    }
}

/// Columns that a table has and a function's rows have not.
const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

impl Planned<'_, '_> {
    /// The statement over gathered rows, or `refusal` with why it cannot be answered so either.
    pub(crate) fn gather(&self, refusal: &Refusal) -> Result<Gather, Refusal> {
        let writes = self.resolver.seen.writes || self.resolver.seen.into;
        let Some(text) = self.text.filter(|_| !writes && refusal.sqlstate == "0A000") else {
            return Err(refusal.clone());
        };
        self.gather_checks()
            .and_then(|()| self.spliced(text))
            .map_err(|why| {
                let detail = refusal.detail.clone().unwrap_or_default();
                let detail =
                    format!("{detail} Nor can its rows be gathered from all shards: {why}.");
                Refusal {
                    detail: Some(detail.trim_start().to_owned()),
                    ..refusal.clone()
                }
            })
    }

    /// The statement over gathered rows for executions whose keys do not lie on one shard.
    pub(crate) fn gather_later(&self) -> Option<Gather> {
        let text = self.text.filter(|_| !self.resolver.seen.writes)?;
        self.gather_checks().and_then(|()| self.spliced(text)).ok()
    }

    fn gather_checks(&self) -> Result<(), String> {
        let (seen, traits) = (&self.resolver.seen, self.traits);
        if seen.locking {
            return Err("it locks rows".to_owned());
        }
        if traits.temporary {
            return Err("it uses a temporary object".to_owned());
        }
        if let Some(why) = traits.taints.as_ref().or(traits.needs_pin.as_ref()) {
            return Err(format!(
                "it must run on the session's own connection ({why})"
            ));
        }
        if !traits.read_only || !traits.sets.is_empty() {
            return Err("it is not proven to read only".to_owned());
        }
        let ours = ["unnest", "array_cat"];
        let made = |name: &&&str| self.snapshot.catalog_functions.contains(**name);
        if let Some(name) = ours.iter().find(made) {
            return Err(format!(
                "pg_catalog has a function {name} that a user has made"
            ));
        }
        let mut words = self.facts.identifiers.iter();
        if let Some(word) = words.find(|word| SYSTEM_COLUMNS.contains(&word.as_str())) {
            return Err(format!("gathered rows have no system column \"{word}\""));
        }
        for leaf in self.resolver.leaves.iter().filter(|l| is_distributed(l)) {
            leaf_can_be_gathered(leaf)?;
            self.name_stays_its_own(leaf)?;
            let LeafRelation::Known(relation) = &leaf.relation else {
                continue;
            };
            if seen.qualified.contains(&relation.name) {
                return Err(format!(
                    "a column of table \"{}\" is named with its schema",
                    relation.name
                ));
            }
        }
        Ok(())
    }

    /// Postgres tells two tables of one name apart in one FROM if they are of different schemas, but not gathered rows.
    fn name_stays_its_own(&self, leaf: &Leaf) -> Result<(), String> {
        let LeafRelation::Known(relation) = &leaf.relation else {
            return Ok(());
        };
        let unaliased = |leaf: &Leaf| leaf.occurrence.as_ref().is_none_or(|o| !o.aliased);
        let same_name = |other: &&Leaf| match &other.relation {
            LeafRelation::Known(other) => {
                other.name == relation.name && other.schema != relation.schema
            }
            LeafRelation::System | LeafRelation::Temporary | LeafRelation::Unknown => false,
        };
        let mut others = self.resolver.leaves.iter().filter(|l| unaliased(l));
        match others.find(same_name).filter(|_| unaliased(leaf)) {
            Some(_) => Err(format!(
                "two tables of the name \"{}\" need aliases that tell them apart",
                relation.name
            )),
            None => Ok(()),
        }
    }

    /// Puts the parameters in the place of the tables, and looks at the outcome as if it were a client's.
    fn spliced(&self, text: &str) -> Result<Gather, String> {
        let context = self.resolver.context;
        let declared = u16::try_from(context.declared.len()).map_err(|_| too_many())?;
        let first_param = self
            .facts
            .params
            .max(declared)
            .checked_add(1)
            .ok_or_else(too_many)?;
        let tokens = lex(text).map_err(|error| error.to_string())?;
        let mut found: Vec<(&Occurrence, &Relation)> = Vec::new();
        for leaf in &self.resolver.leaves {
            if let (Some((relation, _, _)), Some(occurrence)) =
                (distributed(leaf), &leaf.occurrence)
            {
                found.push((occurrence, relation));
            }
        }
        found.sort_by_key(|(occurrence, _)| occurrence.span.start);
        // A CTE is analysed once for each reference to it.
        found.dedup_by(|a, b| a.0.span == b.0.span);
        let mut tables: Vec<Gathered> = Vec::new();
        let mut made = String::with_capacity(text.len() * 2);
        // The same without what home reads itself.
        let mut bare = String::with_capacity(text.len() * 2);
        let mut splices = Vec::new();
        let mut done = 0;
        for (occurrence, relation) in found {
            let index = match tables.iter().position(|table| is_of(table, relation)) {
                Some(index) => index,
                None => {
                    tables.push(gathered(relation, self.snapshot).ok_or_else(misread)?);
                    tables.len() - 1
                }
            };
            let number = u16::try_from(index)
                .ok()
                .and_then(|index| first_param.checked_add(index))
                .ok_or_else(too_many)?;
            let (start, words) = opening(&tokens, text, &occurrence.span)?;
            let kept = text.get(done..start).ok_or_else(misread)?;
            let table = tables.get(index).ok_or_else(misread)?;
            let alias = match occurrence.aliased {
                true => String::new(),
                false => format!(" AS {}", quoted(&relation.name)),
            };
            made.push_str(kept);
            let at = made.len();
            let rows = table.rows(number, self.snapshot.home);
            made.push_str(&format!("{words}{rows}{alias}"));
            let others = table.other_rows(number);
            bare.push_str(&format!("{kept}{words}pg_catalog.unnest({others}){alias}"));
            done = occurrence.span.end;
            splices.push(Splice {
                of_client: start..done,
                of_text: at..made.len(),
            });
        }
        let rest = text.get(done..).ok_or_else(misread)?;
        made.push_str(rest);
        bare.push_str(rest);
        let gather = Gather {
            tables,
            text: made,
            first_param,
            splices,
        };
        nothing_left(&bare, &gather, self.snapshot, context)?;
        Ok(gather)
    }
}

fn too_many() -> String {
    "it has too many parameters".to_owned()
}

fn misread() -> String {
    "its text is not understood".to_owned()
}

fn leaf_can_be_gathered(leaf: &Leaf) -> Result<(), String> {
    let LeafRelation::Known(relation) = &leaf.relation else {
        return Ok(());
    };
    if relation.kind != RelationKind::Table {
        return Err(format!("\"{}\" is no plain table", relation.name));
    }
    let Some(occurrence) = &leaf.occurrence else {
        return Err(format!(
            "table \"{}\" is read through a view, or stands where its name cannot be replaced",
            relation.name
        ));
    };
    if occurrence.only || occurrence.sample {
        return Err(format!(
            "ONLY and TABLESAMPLE mean nothing for gathered rows of table \"{}\"",
            relation.name
        ));
    }
    match relation.columns.iter().find(|column| !travels(column.ty)) {
        Some(column) => Err(format!(
            "the type of column \"{}\" of table \"{}\" has no binary form that means the same on every shard",
            column.name, relation.name
        )),
        None => Ok(()),
    }
}

/// What must be left out before the name, and what is written for it: `TABLE t` becomes `SELECT * FROM ..`.
fn opening(
    tokens: &[Token],
    text: &str,
    span: &Range<usize>,
) -> Result<(usize, &'static str), String> {
    let first = tokens
        .iter()
        .position(|token| token.start == span.start)
        .ok_or_else(misread)?;
    let next = tokens.iter().find(|token| token.start >= span.end);
    if next.is_some_and(|token| token.is_op(text, "*")) {
        return Err("a table's name is followed by *".to_owned());
    }
    let before = first
        .checked_sub(1)
        .and_then(|index| tokens.get(index))
        .ok_or_else(misread)?;
    if before.is_word(text, "table") {
        return Ok((before.start, "SELECT * FROM "));
    }
    let opens_item = before.is_word(text, "from")
        || before.is_word(text, "join")
        || matches!(before.kind, Kind::Comma | Kind::LParen);
    if opens_item {
        Ok((span.start, ""))
    } else {
        Err(misread())
    }
}

/// The text that home is to run is analysed as a client's would be: but for the router's own reading of home's rows, no
/// distributed table may be left in it.
fn nothing_left(
    bare: &str,
    gather: &Gather,
    snapshot: &Snapshot,
    context: &Context<'_>,
) -> Result<(), String> {
    let facts = shardgate_sql::analyze(bare);
    let Statement::Query(query) = &facts.statement else {
        return Err(misread());
    };
    let mut resolver = Resolver::new(snapshot, context);
    if resolver.statement(query).is_err() {
        return Err("it is too large".to_owned());
    }
    let params = gather.first_param.checked_sub(1).map(usize::from);
    let right = resolver.seen.opaque.is_none()
        && !resolver.leaves.iter().any(is_distributed)
        && params.map(|params| params + gather.tables.len()) == Some(usize::from(facts.params));
    if right { Ok(()) } else { Err(misread()) }
}

fn is_of(table: &Gathered, relation: &Relation) -> bool {
    table.schema == relation.schema && table.name == relation.name
}

/// None: it is not distributed.
fn gathered(relation: &Relation, snapshot: &Snapshot) -> Option<Gathered> {
    let Placement::Distributed { distribution, key } = relation.placement else {
        return None;
    };
    // The guard on every shard sees to it that no other shard has any row.
    let map = &snapshot.distributions.get(&distribution)?.map;
    // A column of the same name would be meant instead of the row.
    let mut row = "shardgate_row".to_owned();
    while relation.columns.iter().any(|column| column.name == row) {
        row.push('_');
    }
    let shards: Vec<ShardId> = map.shards().into_iter().collect();
    let owned = match snapshot.move_of(distribution) {
        None => Vec::new(),
        Some(_) => {
            let column = format!("{row}.{}", quoted(&relation.columns.get(key)?.name));
            let own = |shard: ShardId| (shard, map.ownership_sql(&column, shard));
            shards.iter().copied().map(own).collect()
        }
    };
    Some(Gathered {
        schema: relation.schema.clone(),
        name: relation.name.clone(),
        full_name: full_name(relation),
        row: row.clone(),
        select: format!("SELECT {row} FROM {} AS {row}", full_name(relation)),
        owned,
        shards,
    })
}

fn full_name(relation: &Relation) -> String {
    format!("{}.{}", quoted(&relation.schema), quoted(&relation.name))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Types of pg_catalog whose binary form is read back as the same value by every server of the same version, and their
/// arrays. Left out: numbers of catalog objects, which differ by shard, xml, which says its encoding anew, and all that
/// has no binary form.
fn travels(ty: Oid) -> bool {
    TRAVELLING.contains(&ty)
}

#[rustfmt::skip]
const TRAVELLING: &[Oid] = &[
    // bool, bytea, "char", name, int8, int2, int4, text, json, float4, float8, bpchar, varchar, numeric, uuid, jsonb
    16, 17, 18, 19, 20, 21, 23, 25, 114, 700, 701, 1042, 1043, 1700, 2950, 3802,
    // date, time, timestamp, timestamptz, interval, timetz
    1082, 1083, 1114, 1184, 1186, 1266,
    // point, lseg, path, box, polygon, line, circle
    600, 601, 602, 603, 604, 628, 718,
    // cidr, macaddr8, money, macaddr, inet, bit, varbit, tsvector, tsquery, jsonpath
    650, 774, 790, 829, 869, 1560, 1562, 3614, 3615, 4072,
    // Ranges and multiranges.
    3904, 3906, 3908, 3910, 3912, 3926, 4451, 4532, 4533, 4534, 4535, 4536,
    // Arrays, in the same order.
    1000, 1001, 1002, 1003, 1016, 1005, 1007, 1009, 199, 1021, 1022, 1014, 1015, 1231, 2951, 3807,
    1182, 1183, 1115, 1185, 1187, 1270,
    1017, 1018, 1019, 1020, 1027, 629, 719,
    651, 775, 791, 1040, 1041, 1561, 1563, 3643, 3645, 4073,
    3905, 3907, 3909, 3911, 3913, 3927, 6150, 6151, 6152, 6153, 6155, 6157,
];
