//! Reading the user's relations: columns, expressions, triggers, rules, view texts, foreign keys.

use crate::expression;
use crate::function_reach;
use crate::raw::{RawCode, RawColumn, RawExpression, RawForeignKey, RawRelation};
use crate::view_copies::FINGERPRINT;
use std::collections::{HashMap, HashSet};
use tokio_postgres::{Row, Transaction};

type PgResult<T> = Result<T, tokio_postgres::Error>;

/// Relations that planning knows: those of the system and of other sessions' temporary schemas are left out.
const USER: &str = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
    AND n.nspname !~ '^pg_(toast_)?temp_'";

pub(crate) async fn relations(tx: &Transaction<'_>) -> PgResult<Vec<RawRelation>> {
    let rows = tx
        .query(
            &format!(
                "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relrowsecurity, \
                 c.relispartition OR c.relkind = 'p' OR EXISTS (SELECT FROM pg_catalog.pg_inherits i \
                     WHERE i.inhrelid = c.oid OR i.inhparent = c.oid), \
                 CASE WHEN c.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(c.oid) END, c.relpersistence = 'u', \
                 (SELECT i.indrelid FROM pg_catalog.pg_index i WHERE i.indexrelid = c.oid), \
                 EXISTS (SELECT FROM shardgate.view_copy k WHERE k.view::oid = c.oid AND k.fingerprint = {FINGERPRINT}) \
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE {USER} AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'i', 'I', 'c') ORDER BY c.oid"
            ),
            &[],
        )
        .await?;
    let mut all: Vec<RawRelation> = rows.iter().map(relation).collect();
    let index: HashMap<u32, usize> = all.iter().enumerate().map(|(i, r)| (r.oid, i)).collect();
    for row in columns(tx).await? {
        if let Some(one) = index.get(&row.get(0)).and_then(|i| all.get_mut(*i)) {
            one.columns.push(column(&row));
        }
    }
    for row in expressions(tx).await? {
        if let Some(one) = index.get(&row.get(0)).and_then(|i| all.get_mut(*i)) {
            one.expressions
                .push((row.get(1), expression::read(row.get(2))));
        }
    }
    for row in code(tx).await? {
        if let Some(one) = index.get(&row.get(0)).and_then(|i| all.get_mut(*i)) {
            let names = if row.get::<_, bool>(1) {
                &mut one.triggers
            } else {
                &mut one.rules
            };
            names.push(row.get(2));
        }
    }
    for row in unseen_code(tx).await? {
        if let Some(one) = index.get(&row.get(0)).and_then(|i| all.get_mut(*i)) {
            one.code.push(RawCode {
                what: row.get(1),
                reads: row.get(2),
                function: row.get(3),
                words: function_reach::words(row.get(4)),
            });
        }
    }
    Ok(all)
}

/// The views that every shard has as the home shard has them.
pub(crate) async fn everywhere(tx: &Transaction<'_>) -> PgResult<HashSet<u32>> {
    let rows = tx
        .query(
            &format!(
                "SELECT c.oid FROM shardgate.view_copy k JOIN pg_catalog.pg_class c ON c.oid = k.view::oid \
                 WHERE k.fingerprint = {FINGERPRINT}"
            ),
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn relation(row: &Row) -> RawRelation {
    let kind = row.get::<_, String>(3).chars().next().unwrap_or('?');
    let definition: Option<String> = row.get(6);
    RawRelation {
        oid: row.get(0),
        schema: row.get(1),
        name: row.get(2),
        kind,
        row_security: row.get(4),
        inherits: row.get(5),
        columns: Vec::new(),
        triggers: Vec::new(),
        rules: Vec::new(),
        expressions: Vec::new(),
        words: definition
            .as_deref()
            .map(function_reach::words)
            .unwrap_or_default(),
        // A materialized view is read as it is stored; only REFRESH runs its query.
        definition: definition.filter(|_| kind == 'v'),
        unlogged: row.get(7),
        table: row.get(8),
        everywhere: row.get(9),
        code: Vec::new(),
    }
}

/// The default of a column that has none of its own is its domain's.
async fn columns(tx: &Transaction<'_>) -> PgResult<Vec<Row>> {
    tx.query(
        &format!(
            "SELECT a.attrelid, a.attname::text, a.attnum, a.atttypid, a.atttypmod, a.attnotnull, \
             coalesce(l.collisdeterministic, true), a.attidentity <> '', a.attgenerated <> '', \
             CASE WHEN a.attidentity = '' THEN coalesce(d.adbin::text, t.typdefaultbin::text) ELSE d.adbin::text END, \
             CASE WHEN a.attgenerated = '' THEN coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), \
                 pg_catalog.pg_get_expr(t.typdefaultbin, 0)) END \
             FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid AND t.typtype = 'd' \
             LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation \
             LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
             WHERE {USER} AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND a.attnum > 0 AND NOT a.attisdropped \
             ORDER BY a.attrelid, a.attnum"
        ),
        &[],
    )
    .await
}

fn column(row: &Row) -> RawColumn {
    RawColumn {
        name: row.get(1),
        attnum: row.get(2),
        ty: row.get(3),
        modifier: row.get(4),
        not_null: row.get(5),
        deterministic: row.get(6),
        identity: row.get(7),
        generated: row.get(8),
        default: row
            .get::<_, Option<String>>(9)
            .map(|tree| expression::read(&tree)),
        anew: row
            .get::<_, Option<String>>(10)
            .is_some_and(|text| shardgate_plan::computes_anew(&text)),
        clock: row
            .get::<_, Option<String>>(10)
            .filter(|text| shardgate_plan::reads_clock(text)),
    }
}

/// CHECK constraints (our guard left out), expressions and predicates of indexes, and keys of partitioned tables.
async fn expressions(tx: &Transaction<'_>) -> PgResult<Vec<Row>> {
    tx.query(
        "SELECT conrelid, 'check constraint \"' || conname || '\"', conbin::text FROM pg_catalog.pg_constraint \
         WHERE contype = 'c' AND conrelid <> 0 AND conbin IS NOT NULL AND conname <> 'shardgate_owns' \
         UNION ALL SELECT i.indrelid, 'index \"' || c.relname || '\"', e.tree FROM pg_catalog.pg_index i \
         JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         CROSS JOIN LATERAL (VALUES (i.indexprs::text), (i.indpred::text)) AS e (tree) \
         WHERE e.tree IS NOT NULL \
         UNION ALL SELECT partrelid, 'the partition key', partexprs::text FROM pg_catalog.pg_partitioned_table \
         WHERE partexprs IS NOT NULL ORDER BY 1, 2",
        &[],
    )
    .await
}

/// Triggers (true) and rules (false) that a statement on the relation may fire.
async fn code(tx: &Transaction<'_>) -> PgResult<Vec<Row>> {
    tx.query(
        "SELECT tgrelid, true, tgname::text FROM pg_catalog.pg_trigger \
         WHERE NOT tgisinternal AND tgenabled <> 'D' AND tgname !~ '^~?shardgate_' \
         UNION ALL SELECT ev_class, false, rulename::text FROM pg_catalog.pg_rewrite \
         WHERE rulename <> '_RETURN' AND ev_enabled <> 'D' ORDER BY 1, 2, 3",
        &[],
    )
    .await
}

/// Triggers, rules, policies and operator classes with what they run: functions of triggers and operator classes by id,
/// all else as text. Reading a table runs its policies if row security is on, and may search its indexes.
async fn unseen_code(tx: &Transaction<'_>) -> PgResult<Vec<Row>> {
    tx.query(
        "SELECT tgrelid, 'trigger \"' || tgname || '\"', false, tgfoid, \
             CASE WHEN tgqual IS NULL THEN '' ELSE pg_catalog.pg_get_triggerdef(oid) END FROM pg_catalog.pg_trigger \
         WHERE NOT tgisinternal AND tgenabled <> 'D' AND tgname !~ '^~?shardgate_' \
         UNION ALL SELECT ev_class, 'rule \"' || rulename || '\"', false, 0::oid, pg_catalog.pg_get_ruledef(oid) \
         FROM pg_catalog.pg_rewrite WHERE rulename <> '_RETURN' AND ev_enabled <> 'D' \
         UNION ALL SELECT polrelid, 'policy \"' || polname || '\"', polcmd <> 'a' AND c.relrowsecurity, 0::oid, concat_ws(' ', \
             pg_catalog.pg_get_expr(polqual, polrelid), pg_catalog.pg_get_expr(polwithcheck, polrelid)) \
         FROM pg_catalog.pg_policy JOIN pg_catalog.pg_class c ON c.oid = polrelid \
         UNION ALL SELECT k.relation, k.what || ' with operator class \"' || o.opcname || '\"', true, s.amproc::oid, '' \
         FROM (SELECT i.indrelid, 'index \"' || c.relname || '\"', i.indclass::oid[] FROM pg_catalog.pg_index i \
                 JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
             UNION ALL SELECT partrelid, 'the partition key', partclass::oid[] FROM pg_catalog.pg_partitioned_table) \
             AS k (relation, what, classes) \
         JOIN pg_catalog.pg_opclass o ON o.oid = ANY (k.classes) \
         JOIN pg_catalog.pg_amproc s ON s.amprocfamily = o.opcfamily WHERE s.amproc::oid >= 16384 ORDER BY 1, 2",
        &[],
    )
    .await
}

/// Children and parents of inheritance and partitioning, indexes left out.
pub(crate) async fn inherits(tx: &Transaction<'_>) -> PgResult<Vec<(u32, u32)>> {
    let rows = tx
        .query(
            "SELECT i.inhrelid, i.inhparent FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid \
             WHERE c.relkind NOT IN ('i', 'I') ORDER BY 1, 2",
            &[],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

pub(crate) async fn foreign_keys(tx: &Transaction<'_>) -> PgResult<Vec<RawForeignKey>> {
    let rows = tx
        .query(
            "SELECT conname::text, conrelid, confrelid, confupdtype IN ('c', 'n', 'd') OR confdeltype IN ('c', 'n', 'd') \
             FROM pg_catalog.pg_constraint WHERE contype = 'f' ORDER BY oid",
            &[],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| RawForeignKey {
            name: row.get(0),
            child: row.get(1),
            parent: row.get(2),
            acts: row.get(3),
        })
        .collect())
}

/// The checks and defaults of domains, by type.
pub(crate) async fn domain_checks(
    tx: &Transaction<'_>,
) -> PgResult<HashMap<u32, Vec<RawExpression>>> {
    let rows = tx
        .query(
            "SELECT contypid, conbin::text FROM pg_catalog.pg_constraint WHERE contypid <> 0 AND conbin IS NOT NULL \
             UNION ALL SELECT oid, typdefaultbin::text FROM pg_catalog.pg_type \
             WHERE typtype = 'd' AND typdefaultbin IS NOT NULL ORDER BY 1, 2",
            &[],
        )
        .await?;
    let mut checks: HashMap<u32, Vec<RawExpression>> = HashMap::new();
    for row in &rows {
        checks
            .entry(row.get(0))
            .or_default()
            .push(expression::read(row.get(1)));
    }
    Ok(checks)
}
