//! DDL and maintenance -> a route, by where the relations are that the statement names.
//!
//! Every shard has the definitions of distributed and reference tables, home has everything. So a statement on the
//! former goes to all shards, on anything else to home, and what would need both is refused.

use crate::decision::{Compiled, Context, Refusal, Route, Traits};
use crate::moving::Moving;
use crate::path::{SearchPath, Target, is_temporary};
use crate::reach::{self, Reach};
use crate::resolve::Resolver;
use crate::snapshot::{DistributionId, Placement, Relation, Snapshot};
use crate::{alter, stored, traits};
use shardgate_sql::facts::{Facts, Name, Scope, Utility};

pub(crate) fn compile(
    utility: &Utility,
    facts: &Facts,
    text: Option<&str>,
    snapshot: &Snapshot,
    context: &Context<'_>,
) -> Compiled {
    let planned = Planned {
        utility,
        facts,
        text,
        snapshot,
        context,
        path: SearchPath::effective(snapshot, context),
    };
    let mut because = vec![format!("{}: by the relations that it names", utility.tag)];
    let route = planned.route(&mut because).unwrap_or_else(Route::Refused);
    Compiled {
        route,
        traits: planned.traits(),
        because,
        concerns: Moving::NONE,
    }
}

pub(crate) struct Planned<'p> {
    pub(crate) utility: &'p Utility,
    pub(crate) facts: &'p Facts,
    /// The statement, if the caller has it at hand.
    pub(crate) text: Option<&'p str>,
    pub(crate) snapshot: &'p Snapshot,
    pub(crate) context: &'p Context<'p>,
    path: SearchPath,
}

/// Tags that leave the schema as it is.
const NO_DDL: &[&str] = &[
    "VACUUM",
    "ANALYZE",
    "REINDEX",
    "CLUSTER",
    "CHECKPOINT",
    "TRUNCATE TABLE",
    "LOAD",
    "COMMENT",
];

/// Tags whose first target is a new relation.
const RELATIONS: &[&str] = &[
    "CREATE TABLE",
    "CREATE TABLE AS",
    "CREATE VIEW",
    "CREATE MATERIALIZED VIEW",
    "CREATE SEQUENCE",
    "CREATE FOREIGN TABLE",
];

/// Tags that make something else that lives in a schema.
const OTHER_OBJECTS: &[&str] = &[
    "CREATE AGGREGATE",
    "CREATE COLLATION",
    "CREATE CONVERSION",
    "CREATE DOMAIN",
    "CREATE FUNCTION",
    "CREATE OPERATOR",
    "CREATE OPERATOR CLASS",
    "CREATE OPERATOR FAMILY",
    "CREATE PROCEDURE",
    "CREATE STATISTICS",
    "CREATE TEXT SEARCH CONFIGURATION",
    "CREATE TEXT SEARCH DICTIONARY",
    "CREATE TEXT SEARCH PARSER",
    "CREATE TEXT SEARCH TEMPLATE",
    "CREATE TYPE",
];

impl Planned<'_> {
    fn traits(&self) -> Traits {
        let utility = self.utility;
        let temporary = self.makes_temporary()
            || self
                .targets()
                .iter()
                .any(|target| matches!(target, Target::Temporary));
        let by_query = utility.query.as_deref().and_then(|query| {
            let mut resolver = Resolver::new(self.snapshot, self.context);
            resolver
                .statement(query)
                .ok()
                .map(|_| traits::of_query(&resolver, self.facts))
        });
        let taints = match utility.scope {
            Scope::Opaque => Some(format!(
                "{} runs code that is not seen through",
                utility.tag
            )),
            _ if temporary => Some("temporary object".to_owned()),
            _ => by_query.as_ref().and_then(|traits| traits.taints.clone()),
        };
        Traits {
            sets: Vec::new(),
            replica_safe: false,
            read_only: false,
            taints,
            needs_pin: by_query
                .as_ref()
                .and_then(|traits| traits.needs_pin.clone()),
            draws: by_query.as_ref().is_none_or(|traits| traits.draws),
            shows_statements: traits::shows_statements(self.facts),
            temporary: temporary || by_query.is_some_and(|traits| traits.temporary),
            ddl: !NO_DDL.contains(&utility.tag),
            no_transaction: utility.no_transaction,
        }
    }

    /// It creates a temporary object, by TEMP, by its name's schema or by search_path.
    fn makes_temporary(&self) -> bool {
        let utility = self.utility;
        let relation = || {
            let name = utility.targets.first();
            name.is_some_and(|name| self.path.makes_temporary(name, self.snapshot))
        };
        // The name of a type or a function is not told: where it may be temporary it is taken for that.
        let other = || {
            let named = self.facts.identifiers.iter().any(|word| is_temporary(word));
            named || self.path.creates_temporary(self.snapshot)
        };
        utility.temporary
            || (RELATIONS.contains(&utility.tag) && relation())
            || (OTHER_OBJECTS.contains(&utility.tag) && other())
    }

    fn route(&self, because: &mut Vec<String>) -> Result<Route, Refusal> {
        let utility = self.utility;
        if let Scope::Refuse(why) = utility.scope {
            return Err(Refusal::unsupported(
                why,
                format!("{} does not go through the router.", utility.tag),
                "Connect to the servers directly for it.",
            ));
        }
        if self.snapshot.shards.len() == 1 {
            because.push("there is only one shard".to_owned());
            return Ok(Route::Home);
        }
        match utility.scope {
            Scope::Refuse(_) => Ok(Route::Home),
            Scope::Home => self.home(),
            Scope::AllShards if utility.temporary => Ok(Route::Home),
            Scope::AllShards => {
                stored::of_domain(utility, self.snapshot)?;
                Ok(Route::AllShards)
            }
            Scope::Opaque => self.opaque(),
            Scope::Targets => self.by_targets(because),
        }
    }

    fn opaque(&self) -> Result<Route, Refusal> {
        if self.utility.tag == "LOAD" || !reach::any_spread(self.snapshot) {
            return Ok(Route::Home);
        }
        Err(Refusal::unsupported(
            format!(
                "{} is not supported while tables are distributed",
                self.utility.tag
            ),
            "Its code may read or write distributed tables, of which the home shard has only a part.",
            "Send its statements one by one, or choose the shard by hand with SET shardgate.shard.",
        ))
    }

    /// Publications and their kin: on home, if they name only what home has whole.
    fn home(&self) -> Result<Route, Refusal> {
        let publication =
            self.utility.tag.ends_with(" PUBLICATION") && !self.utility.tag.starts_with("DROP");
        let named = self.utility.others.iter().find(|name| self.is_spread(name));
        let by_name = self
            .utility
            .others
            .iter()
            .any(|name| matches!(self.target(name), Target::Known(_)));
        let all_tables = self.utility.tag == "CREATE PUBLICATION"
            && !by_name
            && reach::any_distributed(self.snapshot);
        if publication && (named.is_some() || all_tables) {
            let what = named.map_or("all tables".to_owned(), |name| format!("\"{}\"", name.name));
            return Err(Refusal::unsupported(
                format!(
                    "{} of distributed or reference tables is not supported",
                    self.utility.tag
                ),
                format!("It names {what}, and the home shard would publish only its own rows."),
                "Publish home tables by name.",
            ));
        }
        Ok(Route::Home)
    }

    pub(crate) fn target<'s>(&'s self, name: &Name) -> Target<'s> {
        self.path.relation(name, self.snapshot, self.context)
    }

    pub(crate) fn targets(&self) -> Vec<Target<'_>> {
        self.utility
            .targets
            .iter()
            .map(|name| self.target(name))
            .collect()
    }

    fn is_spread(&self, name: &Name) -> bool {
        !self.reach(&self.target(name)).is_home_only()
    }

    fn reach(&self, target: &Target<'_>) -> Reach {
        match target {
            Target::Known(relation) | Target::Ambiguous(relation) => {
                reach::of_relation(relation, self.snapshot)
            }
            Target::Temporary | Target::System => Reach {
                home: true,
                ..Reach::default()
            },
            Target::Unknown => Reach::default(),
        }
    }

    fn by_targets(&self, because: &mut Vec<String>) -> Result<Route, Refusal> {
        match self.utility.tag {
            "CREATE TABLE"
            | "CREATE TABLE AS"
            | "CREATE MATERIALIZED VIEW"
            | "CREATE SEQUENCE"
            | "CREATE FOREIGN TABLE" => self.create_table(),
            "CREATE VIEW" => self.create_view(because),
            _ => self.on_relations(because),
        }
    }

    /// A new table lives on home, so all that it depends on must be whole there.
    fn create_table(&self) -> Result<Route, Refusal> {
        let tag = self.utility.tag;
        if let Some(query) = self.utility.query.as_deref() {
            let reach = reach::of_query(query, self.snapshot, None, self.context);
            if reach.distributed || reach.blind {
                return Err(Refusal::unsupported(
                    format!("{tag} from a distributed table is not supported"),
                    "The new table would live on the home shard, and the rows come from others.",
                    "Create the table first, and insert the rows through the application.",
                ));
            }
            self.nothing_blind()?;
            return Ok(Route::Home);
        }
        let distributed = self
            .utility
            .others
            .iter()
            .find(|name| self.reach(&self.target(name)).distributed);
        match distributed {
            Some(name) => Err(Refusal::unsupported(
                format!(
                    "a new table cannot refer to distributed table \"{}\"",
                    name.name
                ),
                "A new table lives on the home shard, where only a part of that table's rows is; a foreign key, LIKE, INHERITS or PARTITION OF would see or copy that part.",
                "Create the table without the reference, distribute it with create_distributed_table, then add the foreign key with ALTER TABLE.",
            )),
            None => Ok(Route::Home),
        }
    }

    fn create_view(&self, because: &mut Vec<String>) -> Result<Route, Refusal> {
        let Some(query) = self.utility.query.as_deref() else {
            return Ok(Route::Home);
        };
        let reach = reach::of_query(query, self.snapshot, None, self.context);
        if reach.is_home_only() {
            return Ok(Route::Home);
        }
        if self.makes_temporary() {
            return Err(Refusal::unsupported(
                "a temporary view over distributed or reference tables is not supported",
                "It would be known to the session's connection alone, and what is read or changed through it is not seen.",
                "Create the view without TEMPORARY, in a schema of its own, or write its query into the statements.",
            ));
        }
        if reach.is_everywhere() {
            because.push("the view reads only tables that every shard has".to_owned());
            return Ok(Route::AllShards);
        }
        Err(Refusal::unsupported(
            "a view over home tables together with distributed or reference tables is not supported",
            "The home tables are not on the other shards, so the view could not be created there.",
            "Make the home tables reference tables with create_reference_table, or write two views.",
        ))
    }

    /// ALTER, DROP, CREATE INDEX, TRUNCATE, VACUUM and all else that names existing relations.
    fn on_relations(&self, because: &mut Vec<String>) -> Result<Route, Refusal> {
        self.nothing_blind()?;
        let targets = self.targets();
        let spread: Vec<&Relation> = targets
            .iter()
            .filter_map(|target| self.spread(target))
            .collect();
        let at_home = targets.iter().any(|target| {
            let reach = self.reach(target);
            reach.home && self.spread(target).is_none()
        });
        let Some(first) = spread.first() else {
            return self.on_home_relations();
        };
        if at_home {
            return Err(Refusal::unsupported(
                format!(
                    "{} of home tables and distributed or reference tables together is not supported",
                    self.utility.tag
                ),
                format!(
                    "Table \"{}\" is on every shard, another one on the home shard alone.",
                    first.name
                ),
                "Write one statement for each of them.",
            ));
        }
        for relation in &spread {
            self.no_move(relation)?;
            alter::check(self, relation)?;
        }
        because.push("the tables are on every shard".to_owned());
        Ok(Route::AllShards)
    }

    /// While rows of the table's distribution move, both shards must keep its definition, and none may be emptied: what
    /// is truncated on one shard is not on its way to the other.
    fn no_move(&self, relation: &Relation) -> Result<(), Refusal> {
        let Placement::Distributed { distribution, .. } = relation.placement else {
            return Ok(());
        };
        let changes = !NO_DDL.contains(&self.utility.tag) || self.utility.tag == "TRUNCATE TABLE";
        match self.snapshot.move_of(distribution).filter(|_| changes) {
            Some(one) => Err(Refusal {
                sqlstate: "55006",
                message: format!(
                    "{} is not possible while rows of table \"{}\" move to another shard",
                    self.utility.tag, relation.name
                ),
                detail: Some(format!("Move {} of its distribution is under way.", one.id)),
                hint: Some(
                    "Complete or cancel the move first (SHOW MOVES names its step).".to_owned(),
                ),
            }),
            None => Ok(()),
        }
    }

    /// The relation, if every shard has it.
    fn spread<'t>(&self, target: &'t Target<'_>) -> Option<&'t Relation> {
        match target {
            Target::Known(relation) | Target::Ambiguous(relation) => {
                reach::of_relation(relation, self.snapshot)
                    .is_everywhere()
                    .then_some(relation.as_ref())
            }
            Target::Temporary | Target::System | Target::Unknown => None,
        }
    }

    fn on_home_relations(&self) -> Result<Route, Refusal> {
        let adds = matches!(self.utility.tag, "ALTER TABLE");
        let distributed = self
            .utility
            .others
            .iter()
            .find(|name| self.reach(&self.target(name)).distributed);
        match distributed.filter(|_| adds) {
            Some(name) => Err(Refusal::unsupported(
                format!(
                    "a home table cannot refer to distributed table \"{}\"",
                    name.name
                ),
                "The home shard has only a part of its rows, so a foreign key could not be checked.",
                "Distribute the referring table with create_distributed_table first.",
            )),
            None => Ok(Route::Home),
        }
    }
}

/// The distribution of a relation, if it has one.
pub(crate) fn distribution(relation: &Relation) -> Option<(DistributionId, &str)> {
    match relation.placement {
        Placement::Distributed { distribution, key } => Some((
            distribution,
            relation
                .columns
                .get(key)
                .map_or("", |column| column.name.as_str()),
        )),
        Placement::Home | Placement::Reference => None,
    }
}
