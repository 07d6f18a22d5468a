//! The schema's fingerprint: one short text that changes with every DDL that planning could notice.
//!
//! Each catalog row of the user's objects contributes a hash of its identity and of the transaction that wrote it
//! (xmin), so a changed, added or dropped row changes the sum. Statistics do not count (VACUUM and ANALYZE write
//! `pg_class` in place), nor do temporary objects. Roles and their settings count too: a login may be remembered. The cost grows with the number of columns in the database: about
//! half a microsecond for each, so the follower paces itself by what the last one took.

use tokio_postgres::GenericClient;

/// Objects with smaller ids were made by initdb.
pub(crate) const FIRST_USER_OID: u32 = 16384;

/// Catalogs whose rows all belong to nobody's temporary objects, with the columns that identify a row.
const PLAIN: &[(&str, &str)] = &[
    ("pg_proc", "oid"),
    ("pg_operator", "oid"),
    ("pg_cast", "oid"),
    ("pg_collation", "oid"),
    ("pg_namespace", "oid"),
    ("pg_policy", "oid"),
    ("pg_trigger", "oid"),
    ("pg_opclass", "oid"),
    ("pg_amproc", "oid"),
    ("pg_extension", "oid"),
    ("pg_event_trigger", "oid"),
    ("pg_enum", "oid"),
];

/// Catalogs whose rows belong to a relation, with the identifying columns and the relation's column.
const OF_RELATION: &[(&str, &str, &str)] = &[
    ("pg_class", "t.oid", "t.oid"),
    ("pg_attribute", "t.attrelid, t.attnum", "t.attrelid"),
    ("pg_attrdef", "t.oid", "t.adrelid"),
    ("pg_rewrite", "t.oid", "t.ev_class"),
    ("pg_inherits", "t.inhrelid, t.inhparent", "t.inhrelid"),
    ("pg_index", "t.indexrelid", "t.indrelid"),
];

/// The fingerprint as the transaction or statement sees it.
pub(crate) async fn take(client: &impl GenericClient) -> Result<String, tokio_postgres::Error> {
    Ok(client.query_one(&sql(), &[]).await?.get(0))
}

fn sql() -> String {
    let mut parts: Vec<String> = Vec::new();
    for (catalog, identity) in PLAIN {
        let user = if *catalog == "pg_namespace" {
            "nspname !~ '^pg_(toast_)?temp_'".to_owned()
        } else {
            format!("oid >= {FIRST_USER_OID}")
        };
        parts.push(format!(
            "SELECT '{catalog}'::text, {} FROM pg_catalog.{catalog} WHERE {user}",
            sum(identity, "xmin")
        ));
    }
    for (catalog, identity, relation) in OF_RELATION {
        parts.push(format!(
            "SELECT '{catalog}', {} FROM pg_catalog.{catalog} t JOIN pg_catalog.pg_class r ON r.oid = {relation} \
             WHERE {relation} >= {FIRST_USER_OID} AND r.relpersistence <> 't'",
            sum(identity, "t.xmin")
        ));
    }
    // Row types of temporary tables are types too; constraints belong to a relation or to a domain.
    parts.push(format!(
        "SELECT 'pg_type', {} FROM pg_catalog.pg_type t LEFT JOIN pg_catalog.pg_class r ON r.oid = t.typrelid \
         LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem LEFT JOIN pg_catalog.pg_class er ON er.oid = e.typrelid \
         WHERE t.oid >= {FIRST_USER_OID} AND coalesce(r.relpersistence, er.relpersistence, 'p') <> 't'",
        sum("t.oid", "t.xmin")
    ));
    parts.push(format!(
        "SELECT 'pg_constraint', {} FROM pg_catalog.pg_constraint t LEFT JOIN pg_catalog.pg_class r ON r.oid = t.conrelid \
         WHERE t.oid >= {FIRST_USER_OID} AND coalesce(r.relpersistence, 'p') <> 't'",
        sum("t.oid", "t.xmin")
    ));
    parts.push(format!(
        "SELECT 'pg_db_role_setting', {} FROM pg_catalog.pg_db_role_setting t \
         WHERE setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))",
        sum("t.setdatabase, t.setrole", "t.xmin")
    ));
    // Who may log in to the database, and as whom.
    parts.push(format!(
        "SELECT 'pg_authid', {} FROM pg_catalog.pg_authid t",
        sum("t.oid", "t.xmin")
    ));
    parts.push(format!(
        "SELECT 'pg_auth_members', {} FROM pg_catalog.pg_auth_members t",
        sum("t.roleid, t.member", "t.xmin")
    ));
    parts.push(format!(
        "SELECT 'pg_database', {} FROM pg_catalog.pg_database t WHERE datname = current_database()",
        sum("t.oid", "t.xmin")
    ));
    // What is declared of functions decides what may call them.
    parts.push(format!(
        "SELECT 'function_class', {} FROM shardgate.function_class t",
        sum("t.function::oid", "t.xmin")
    ));
    parts.push(
        "SELECT 'settings', string_agg(reset_val, ' ' ORDER BY name) || ' ' || current_setting('server_version_num') \
         FROM pg_catalog.pg_settings WHERE name IN ('default_transaction_isolation', 'search_path')"
            .to_owned(),
    );
    format!(
        "SELECT md5(string_agg(catalog || ' ' || rows, E'\\n' ORDER BY catalog)) FROM ({}) AS parts (catalog, rows)",
        parts.join(" UNION ALL ")
    )
}

fn sum(identity: &str, xmin: &str) -> String {
    format!("count(*) || ' ' || coalesce(sum(hash_record_extended(ROW({identity}, {xmin}), 0)), 0)")
}
