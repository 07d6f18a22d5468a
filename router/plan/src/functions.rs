//! Which functions may run on any shard, on a standby, or not at all.
//!
//! Volatility is no filter: `query_to_xml` is stable and reads whatever its argument says. So there is an allow-list
//! of functions of pg_catalog that compute from their arguments, the clock or chance alone. Every other function may
//! read or write something that a shard has only a part of.

use crate::resolve::Resolver;
use crate::snapshot::{FunctionClass, Snapshot};
use crate::walk::is_type_function;
use shardgate_sql::facts::{Expr, Function, Name};

/// What is known of a function by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// It computes from its arguments (and the session's tracked settings) alone.
    Pure,
    /// As Pure, but each call may answer otherwise.
    Volatile,
    /// As Pure, and it answers a set of rows.
    Set,
    /// `pg_is_in_recovery`: it tells which server answers, and is asked for that.
    Server,
    /// It tells of a setting, or of a type by its name: every shard answers alike for the session, and without a
    /// distributed table home answers.
    Setting,
    /// It reads, and leaves nothing behind; home answers.
    Reads,
    /// It runs SQL that it is given as text, or reads tables that it is given by name.
    Dynamic,
    /// It leaves something behind in the session.
    Stateful,
    /// Of pg_catalog or unknown: nothing is said of it.
    Unknown,
    /// Outside of pg_catalog.
    User(FunctionClass),
}

/// The function of this name, at its worst: a user's function may be meant wherever one has the name.
pub(crate) fn class(name: &Name, snapshot: &Snapshot) -> Class {
    match name.schema.as_deref() {
        Some("pg_catalog") if !snapshot.catalog_functions.contains(&name.name) => builtin(name),
        Some(schema) if schema != "pg_catalog" => Class::User(
            snapshot
                .functions
                .get(&name.name)
                .copied()
                .unwrap_or(FunctionClass::Opaque),
        ),
        // The worse of both: which one is meant depends on the arguments.
        Some(_) | None => match (snapshot.functions.get(&name.name), builtin(name)) {
            (None, known) => known,
            (Some(_), known @ (Class::Dynamic | Class::Stateful)) => known,
            (Some(FunctionClass::Pure), Class::Unknown) => Class::User(FunctionClass::Pure),
            (Some(FunctionClass::Pure), known) => known,
            (Some(class @ (FunctionClass::Clean | FunctionClass::Opaque)), _) => {
                Class::User(*class)
            }
        },
    }
}

impl Class {
    /// It may stand beside a distributed relation on the shard of its keys.
    pub(crate) fn beside_keys(self) -> bool {
        self.anywhere() || self == Class::Setting
    }

    /// The same, and on any shard beside reference tables or alone.
    pub(crate) fn anywhere(self) -> bool {
        match self {
            Class::Pure
            | Class::Volatile
            | Class::Set
            | Class::Server
            | Class::User(FunctionClass::Pure) => true,
            Class::Setting | Class::Reads | Class::Dynamic | Class::Stateful | Class::Unknown => {
                false
            }
            Class::User(FunctionClass::Clean | FunctionClass::Opaque) => false,
        }
    }

    /// It writes nothing.
    pub(crate) fn reads_only(self) -> bool {
        self.anywhere() || matches!(self, Class::Setting | Class::Reads)
    }

    /// The calls are known to leave nothing behind on the connection.
    pub(crate) fn leaves_nothing(self) -> bool {
        match self {
            Class::Dynamic | Class::Stateful | Class::User(FunctionClass::Opaque) => false,
            Class::Pure
            | Class::Volatile
            | Class::Set
            | Class::Server
            | Class::Setting
            | Class::Reads
            | Class::Unknown => true,
            Class::User(FunctionClass::Pure | FunctionClass::Clean) => true,
        }
    }
}

/// It may be an aggregate: one of pg_catalog's, or a function that nothing is known of.
pub(crate) fn may_aggregate(name: &Name, snapshot: &Snapshot) -> bool {
    let system = match name.schema.as_deref() {
        Some("pg_catalog") => true,
        Some(_) => false,
        None => !snapshot.functions.contains_key(&name.name),
    };
    let word = name.name.as_str();
    !system
        || AGGREGATES.contains(&word)
        || HYPOTHETICAL.contains(&word)
        || builtin(name) == Class::Unknown
}

/// The function of this name is an aggregate of pg_catalog, or one of the user's functions.
pub(crate) fn named_like_aggregate(word: &str, snapshot: &Snapshot) -> bool {
    AGGREGATES.contains(&word) || snapshot.functions.contains_key(word)
}

fn builtin(name: &Name) -> Class {
    let name_only = name.name.as_str();
    let lists = [
        (PURE, Class::Pure),
        (AGGREGATES, Class::Pure),
        (VOLATILE, Class::Volatile),
        (SETS, Class::Set),
        (SETTING, Class::Setting),
        (READS, Class::Reads),
        (STATEFUL, Class::Stateful),
        (DYNAMIC, Class::Dynamic),
    ];
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name_only.starts_with(prefix));
    if let Some((_, class)) = lists.iter().find(|(list, _)| list.contains(&name_only)) {
        return *class;
    }
    if name_only == "pg_is_in_recovery" {
        return Class::Server;
    }
    if is_type_function(name) {
        return Class::Pure;
    }
    if starts(DYNAMIC_PREFIXES) {
        return Class::Dynamic;
    }
    if starts(STATEFUL_PREFIXES) {
        return Class::Stateful;
    }
    if starts(READS_PREFIXES)
        || (name_only.starts_with("pg_") && name_only.ends_with("_is_visible"))
    {
        return Class::Reads;
    }
    Class::Unknown
}

impl Resolver<'_> {
    /// The expression gives one value for each row, and the same one whenever it is asked: a filter on another column
    /// may be applied before it.
    pub(crate) fn is_row_by_row(&self, expr: &Expr) -> bool {
        let all = |list: &[Expr]| list.iter().all(|expr| self.is_row_by_row(expr));
        match expr {
            Expr::Column { .. } | Expr::Literal(_) | Expr::Param(_) | Expr::Default => true,
            Expr::Cast { expr, .. }
            | Expr::Not(expr)
            | Expr::Unary { expr, .. }
            | Expr::IsNull { expr, .. } => self.is_row_by_row(expr),
            Expr::Collate { expr, .. } => self.is_row_by_row(expr),
            Expr::And(list) | Expr::Or(list) | Expr::Row(list) | Expr::Array(list) => all(list),
            Expr::Other { children, .. } => all(children),
            Expr::Binary { left, right, .. } | Expr::IsDistinct { left, right, .. } => {
                self.is_row_by_row(left) && self.is_row_by_row(right)
            }
            Expr::InList { expr, list, .. } => self.is_row_by_row(expr) && all(list),
            Expr::Between {
                expr, low, high, ..
            } => self.is_row_by_row(expr) && self.is_row_by_row(low) && self.is_row_by_row(high),
            // A subquery may be volatile; it is not looked into.
            Expr::InSubquery { .. }
            | Expr::Quantified { .. }
            | Expr::Exists { .. }
            | Expr::Subquery(_) => false,
            Expr::Function(function) => self.is_row_by_row_call(function),
            Expr::Case {
                operand,
                whens,
                otherwise,
            } => {
                operand.as_ref().is_none_or(|expr| self.is_row_by_row(expr))
                    && whens
                        .iter()
                        .all(|(when, then)| self.is_row_by_row(when) && self.is_row_by_row(then))
                    && otherwise
                        .as_ref()
                        .is_none_or(|expr| self.is_row_by_row(expr))
            }
            Expr::Opaque(_) => false,
        }
    }

    fn is_row_by_row_call(&self, function: &Function) -> bool {
        let pure = match class(&function.name, self.snapshot) {
            Class::Pure => true,
            Class::Volatile
            | Class::Set
            | Class::Server
            | Class::Setting
            | Class::Reads
            | Class::Dynamic
            | Class::Stateful => false,
            // A user's function may answer a set.
            Class::Unknown | Class::User(_) => false,
        };
        pure && function.over.is_none()
            && function
                .args
                .iter()
                .chain(&function.extra)
                .all(|expr| self.is_row_by_row(expr))
    }
}

/// Functions of pg_catalog that compute from their arguments, the time of the transaction, and the session's settings.
#[rustfmt::skip]
const PURE: &[&str] = &[
    // Syntax that may reach us as a function.
    "coalesce", "nullif", "greatest", "least", "grouping", "row", "extract", "overlay", "position", "substring", "trim",
    "normalize", "is_normalized", "collation_for", "xmlelement", "xmlconcat", "xmlforest", "xmlcomment",
    "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp",
    "current_user", "session_user", "user", "current_role", "current_catalog", "current_schema", "current_database",
    // Numbers.
    "abs", "acos", "acosd", "acosh", "asin", "asind", "asinh", "atan", "atan2", "atan2d", "atand", "atanh", "cbrt",
    "ceil", "ceiling", "cos", "cosd", "cosh", "cot", "cotd", "degrees", "div", "exp", "factorial", "floor", "gcd",
    "lcm", "ln", "log", "log10", "min_scale", "mod", "numeric", "pi", "pow", "power", "radians", "round", "scale",
    "sign", "sin", "sind", "sinh", "sqrt", "tan", "tand", "tanh", "trim_scale", "trunc", "width_bucket", "float4",
    "float8", "bool", "bit", "varbit", "money", "to_number", "to_hex", "bit_count", "numeric_inc",
    // Strings and binary strings.
    "ascii", "bit_length", "bpchar", "btrim", "char", "char_length", "character_length", "chr", "concat", "concat_ws",
    "convert", "convert_from", "convert_to", "decode", "encode", "format", "get_bit", "get_byte", "initcap", "left",
    "length", "like", "like_escape", "lower", "lpad", "ltrim", "md5", "name", "notlike", "octet_length", "parse_ident",
    "quote_ident", "quote_literal", "quote_nullable", "regexp_count", "regexp_instr", "regexp_like", "regexp_match",
    "regexp_replace", "regexp_split_to_array", "regexp_substr", "repeat", "replace", "reverse", "right", "rpad",
    "rtrim", "set_bit", "set_byte", "sha224", "sha256", "sha384", "sha512", "similar_escape", "similar_to_escape",
    "split_part", "starts_with", "string_to_array", "strpos", "substr", "textcat", "to_ascii", "translate", "unistr",
    "upper", "hashtext", "hashtextextended", "hashint8", "hashint8extended", "hashint4", "hashint4extended",
    "hash_array_extended", "uuid_hash",
    // Dates and times.
    "age", "date_bin", "date_part", "date_trunc", "interval", "isfinite", "justify_days", "justify_hours",
    "justify_interval", "make_date", "make_interval", "make_time", "make_timestamp", "make_timestamptz", "now",
    "overlaps", "statement_timestamp", "time", "timetz", "timezone", "to_char", "to_date", "to_timestamp",
    "transaction_timestamp",
    // Arrays and ranges.
    "array_append", "array_cat", "array_dims", "array_fill", "array_length", "array_lower", "array_ndims",
    "array_position", "array_positions", "array_prepend", "array_remove", "array_replace", "array_to_string",
    "array_upper", "cardinality", "trim_array", "isempty", "lower_inc", "lower_inf", "upper_inc", "upper_inf",
    "range_merge", "multirange", "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange",
    "int4multirange", "int8multirange", "nummultirange", "tsmultirange", "tstzmultirange", "datemultirange",
    // JSON and XML.
    "array_to_json", "json_array_length", "json_build_array", "json_build_object", "json_extract_path",
    "json_extract_path_text", "json_object", "json_populate_record", "json_scalar", "json_serialize",
    "json_strip_nulls", "json_typeof", "jsonb_array_length", "jsonb_build_array", "jsonb_build_object",
    "jsonb_concat", "jsonb_contains", "jsonb_exists", "jsonb_exists_all", "jsonb_exists_any", "jsonb_extract_path",
    "jsonb_extract_path_text", "jsonb_insert", "jsonb_object", "jsonb_path_exists", "jsonb_path_match",
    "jsonb_path_query_array", "jsonb_path_query_first", "jsonb_populate_record", "jsonb_pretty", "jsonb_set",
    "jsonb_set_lax", "jsonb_strip_nulls", "jsonb_typeof", "row_to_json", "to_json", "to_jsonb",
    // Text search.
    "numnode", "phraseto_tsquery", "plainto_tsquery", "querytree", "setweight", "strip", "to_tsquery", "to_tsvector",
    "json_to_tsvector", "jsonb_to_tsvector", "ts_delete", "ts_filter", "ts_headline", "ts_rank", "ts_rank_cd",
    "tsquery_phrase", "tsvector_to_array", "array_to_tsvector", "websearch_to_tsquery",
    // Networks, enums, geometry.
    "abbrev", "broadcast", "family", "host", "hostmask", "inet_merge", "inet_same_family", "masklen", "netmask",
    "network", "set_masklen", "macaddr8_set7bit", "enum_first", "enum_last", "enum_range", "area", "box", "center",
    "circle", "diagonal", "diameter", "height", "isclosed", "isopen", "line", "lseg", "npoints", "path", "pclose",
    "point", "polygon", "popen", "radius", "slope", "width", "bound_box",
    // Windows.
    "row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead", "first_value",
    "last_value", "nth_value", "num_nulls", "num_nonnulls",
];

#[rustfmt::skip]
const AGGREGATES: &[&str] = &[
    "array_agg", "avg", "bit_and", "bit_or", "bit_xor", "bool_and", "bool_or", "corr", "count", "covar_pop",
    "covar_samp", "every", "json_agg", "json_object_agg", "jsonb_agg", "jsonb_object_agg", "max", "min", "mode",
    "percentile_cont", "percentile_disc", "range_agg", "range_intersect_agg", "regr_avgx", "regr_avgy", "regr_count",
    "regr_intercept", "regr_r2", "regr_slope", "regr_sxx", "regr_sxy", "regr_syy", "stddev", "stddev_pop",
    "stddev_samp", "string_agg", "sum", "var_pop", "var_samp", "variance", "xmlagg",
];

/// Aggregates if they are called WITHIN GROUP, window functions otherwise.
const HYPOTHETICAL: &[&str] = &["rank", "dense_rank", "percent_rank", "cume_dist"];

pub(crate) const VOLATILE: &[&str] = &[
    "clock_timestamp",
    "gen_random_uuid",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    "random",
    "timeofday",
];

#[rustfmt::skip]
const SETS: &[&str] = &[
    "generate_series", "generate_subscripts", "json_array_elements", "json_array_elements_text", "json_each",
    "json_each_text", "json_object_keys", "json_populate_recordset", "json_to_record", "json_to_recordset",
    "jsonb_array_elements", "jsonb_array_elements_text", "jsonb_each", "jsonb_each_text", "jsonb_object_keys",
    "jsonb_path_query", "jsonb_populate_recordset", "jsonb_to_record", "jsonb_to_recordset", "regexp_matches",
    "regexp_split_to_table", "string_to_table", "unnest",
];

const SETTING: &[&str] = &["current_setting", "pg_typeof"];

#[rustfmt::skip]
const READS: &[&str] = &[
    "col_description", "current_query", "current_schemas", "format_type", "inet_client_addr",
    "inet_client_port", "inet_server_addr", "inet_server_port", "obj_description", "pg_backend_pid",
    "pg_blocking_pids", "pg_client_encoding", "pg_collation_for", "pg_column_size", "pg_conf_load_time",
    "pg_database_size", "pg_encoding_to_char", "pg_index_column_has_property", "pg_indexes_size",
    "pg_listening_channels", "pg_options_to_table", "pg_postmaster_start_time", "pg_relation_filepath",
    "pg_relation_size", "pg_size_bytes", "pg_size_pretty", "pg_table_size", "pg_tablespace_size",
    "pg_total_relation_size", "pg_current_xact_id_if_assigned", "shobj_description", "to_regclass",
    "to_regcollation", "to_regnamespace", "to_regoper", "to_regoperator", "to_regproc", "to_regprocedure",
    "to_regrole", "to_regtype", "txid_current_if_assigned", "version", "array_recv", "oidvectortypes", "aclexplode",
];

const READS_PREFIXES: &[&str] = &[
    "has_",
    "pg_get_",
    "pg_has_role",
    "pg_last_",
    "pg_stat_get_",
    "pg_current_wal_",
];

#[rustfmt::skip]
const STATEFUL: &[&str] = &[
    "set_config", "setseed", "pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared", "pg_advisory_unlock", "pg_advisory_unlock_shared",
    "currval", "lastval", "loread", "lowrite", "pg_backup_start", "pg_backup_stop", "pg_start_backup",
    "pg_stop_backup",
];

const STATEFUL_PREFIXES: &[&str] = &[
    "lo_",
    "dblink",
    "pg_replication_origin_",
    // Slots may be temporary, and then belong to the connection.
    "pg_copy_logical_",
    "pg_copy_physical_",
    "pg_create_logical_",
    "pg_create_physical_",
];

const DYNAMIC: &[&str] = &["currtid2", "ts_stat", "ts_rewrite"];

const DYNAMIC_PREFIXES: &[&str] = &[
    "query_to_xml",
    "table_to_xml",
    "schema_to_xml",
    "database_to_xml",
    "cursor_to_xml",
];
