//! Prints facts in one short line, so that a table of tests can be read.
#![allow(dead_code, reason = "not every test file prints everything")]

use shardgate_sql::analyze;
use shardgate_sql::facts::*;

/// Analyses and prints.
pub fn show(sql: &str) -> String {
    statement(&analyze(sql).statement)
}

/// Runs a table of `(text, expected)`.
pub fn check(cases: &[(&str, &str)]) {
    let mut failed = Vec::new();
    for (sql, expected) in cases {
        let got = show(sql);
        if got != *expected {
            failed.push(format!("{sql}\n  expected {expected}\n  got      {got}"));
        }
    }
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

pub fn statement(s: &Statement) -> String {
    match s {
        Statement::Empty => "empty".to_owned(),
        Statement::Query(q) => query(q),
        Statement::Explain {
            analyze,
            route,
            inner,
            ..
        } => {
            let flags = format!(
                "{}{}",
                if *analyze { " analyze" } else { "" },
                if *route { " route" } else { "" }
            );
            format!("explain{flags}: {}", statement(&inner.statement))
        }
        Statement::Command(c) => command(c),
        Statement::Utility(u) => utility(u),
        Statement::Unparsed { keywords, .. } => {
            format!("unparsed {keywords}").trim_end().to_owned()
        }
    }
}

fn command(c: &Command) -> String {
    match c {
        Command::Prepare { name, body, .. } => {
            format!("prepare {name}: {}", statement(&body.statement))
        }
        Command::Declare {
            name, hold, query, ..
        } => {
            format!(
                "declare {name}{}: {}",
                if *hold { " hold" } else { "" },
                statement(&query.statement)
            )
        }
        Command::Execute { name, args } => format!("execute {name}({})", list(args)),
        Command::Set { local, name, value } => {
            let value = value
                .as_ref()
                .map_or("default".to_owned(), |v| v.items.join("|"));
            format!("set {}{name}={value}", if *local { "local " } else { "" })
        }
        Command::Copy(c) => {
            let what = match (&c.relation, &c.query) {
                (Some(r), _) => qualified(r),
                (None, Some(q)) => format!("({})", query(q)),
                (None, None) => String::new(),
            };
            let columns = if c.columns.is_empty() {
                String::new()
            } else {
                format!("({})", c.columns.join(" "))
            };
            let direction = if c.from { "from" } else { "to" };
            format!(
                "copy {what}{columns} {direction} {}",
                if c.client { "client" } else { "server" }
            )
        }
        Command::Lock(names) => format!(
            "lock {}",
            names.iter().map(qualified).collect::<Vec<_>>().join(", ")
        ),
        Command::Begin(m) => format!("begin{}", modes(m)),
        Command::SetTransaction { session, modes: m } => {
            format!(
                "set {}transaction{}",
                if *session { "session " } else { "" },
                modes(m)
            )
        }
        other => format!("{other:?}"),
    }
}

fn modes(m: &TransactionModes) -> String {
    let mut out = String::new();
    if let Some(i) = m.isolation {
        out += &format!(" {i:?}");
    }
    if let Some(r) = m.read_only {
        out += if r { " ro" } else { " rw" };
    }
    if let Some(d) = m.deferrable {
        out += if d { " deferrable" } else { " not-deferrable" };
    }
    if m.snapshot {
        out += " snapshot";
    }
    out
}

fn utility(u: &Utility) -> String {
    let mut out = format!("{} {:?}", u.tag, u.scope).replace("Refuse(\"", "Refuse(");
    if let Scope::Refuse(_) = u.scope {
        out = format!("{} Refuse", u.tag);
    }
    let names = |names: &[Name]| names.iter().map(qualified).collect::<Vec<_>>().join(",");
    if !u.targets.is_empty() {
        out += &format!(" [{}]", names(&u.targets));
    }
    if !u.others.is_empty() {
        out += &format!(" others[{}]", names(&u.others));
    }
    if u.temporary {
        out += " temp";
    }
    if u.no_transaction {
        out += " alone";
    }
    if !u.changed_columns.is_empty() {
        out += &format!(" columns[{}]", u.changed_columns.join(","));
    }
    for stored in &u.stored {
        let ty = stored.ty.as_ref().map(|ty| format!(" {}", type_name(ty)));
        let value = match &stored.value {
            StoredValue::Added(e) => format!("added {}", expr(e)),
            StoredValue::Default(e) => format!("default {}", expr(e)),
            StoredValue::Retyped(Some(e)) => format!("retyped {}", expr(e)),
            StoredValue::Retyped(None) => "retyped".to_owned(),
            StoredValue::Drawn => "drawn".to_owned(),
            StoredValue::Unread => "unread".to_owned(),
        };
        out += &format!(
            " stored[{}{}: {value}]",
            stored.column,
            ty.unwrap_or_default()
        );
    }
    if let Some(q) = &u.query {
        out += &format!(" as {}", query(q));
    }
    out
}

pub fn qualified(n: &Name) -> String {
    match &n.schema {
        Some(s) => format!("{s}.{}", n.name),
        None => n.name.clone(),
    }
}

pub fn query(q: &Query) -> String {
    let mut out = String::new();
    if !q.ctes.is_empty() {
        out += if q.recursive {
            "with-recursive "
        } else {
            "with "
        };
        let cte = |c: &Cte| {
            let columns = if c.columns.is_empty() {
                String::new()
            } else {
                format!("({})", c.columns.join(" "))
            };
            format!("{}{columns}={{{}}} ", c.name, query(&c.query))
        };
        out += &q.ctes.iter().map(cte).collect::<String>();
    }
    out += &body(&q.body);
    if !q.order_by.is_empty() {
        out += &format!(" order[{}]", list(&q.order_by));
    }
    if let Some(e) = &q.limit {
        out += &format!(" limit {}", expr(e));
    }
    if let Some(e) = &q.offset {
        out += &format!(" offset {}", expr(e));
    }
    if q.with_ties {
        out += " ties";
    }
    if q.locking {
        out += " locking";
    }
    out
}

fn rows(rows: &[Vec<Expr>]) -> String {
    rows.iter()
        .map(|r| format!("({})", list(r)))
        .collect::<Vec<_>>()
        .join(" ")
}

fn body(b: &Body) -> String {
    match b {
        Body::Select(s) => select(s),
        Body::Values(r) => format!("values {}", rows(r)),
        Body::SetOperation {
            kind,
            all,
            left,
            right,
        } => {
            let op = format!("{kind:?}").to_lowercase();
            format!(
                "({op}{} {{{}}} {{{}}})",
                if *all { "-all" } else { "" },
                query(left),
                query(right)
            )
        }
        Body::Insert(i) => {
            let mut out = format!("insert {}", relation(&i.target));
            if !i.columns.is_empty() {
                out += &format!("({})", i.columns.join(" "));
            }
            if i.overriding {
                out += " overriding";
            }
            out += &match &i.source {
                InsertSource::DefaultValues => " default".to_owned(),
                InsertSource::Values(r) => format!(" values {}", rows(r)),
                InsertSource::Query(q) => format!(" {{{}}}", query(q)),
            };
            if let Some(c) = &i.on_conflict {
                out += &format!(
                    " conflict({})",
                    if c.other_target {
                        "?".to_owned()
                    } else {
                        c.columns.join(" ")
                    }
                );
                match &c.update {
                    None => out += " nothing",
                    Some((sets, filter)) => {
                        out += &format!(" set[{}]", assignments(sets));
                        out += &filter
                            .as_ref()
                            .map_or(String::new(), |f| format!(" where {}", expr(f)));
                    }
                }
            }
            out + &returning(&i.returning)
        }
        Body::Update(u) => {
            let mut out = format!(
                "update {} set[{}]",
                relation(&u.target),
                assignments(&u.assignments)
            );
            if !u.from.is_empty() {
                out += &format!(" from[{}]", from(&u.from));
            }
            out += &u
                .filter
                .as_ref()
                .map_or(String::new(), |f| format!(" where {}", expr(f)));
            out + &returning(&u.returning)
        }
        Body::Delete(d) => {
            let mut out = format!("delete {}", relation(&d.target));
            if !d.using.is_empty() {
                out += &format!(" using[{}]", from(&d.using));
            }
            out += &d
                .filter
                .as_ref()
                .map_or(String::new(), |f| format!(" where {}", expr(f)));
            out + &returning(&d.returning)
        }
        Body::Opaque(o) => opaque(o),
    }
}

fn opaque(o: &Opaque) -> String {
    let names = o
        .relations
        .iter()
        .map(qualified)
        .collect::<Vec<_>>()
        .join(",");
    let subqueries = o
        .subqueries
        .iter()
        .map(|q| format!(" {{{}}}", query(q)))
        .collect::<String>();
    format!(
        "opaque<{}>[{names}]{subqueries} ({})",
        o.what,
        list(&o.children)
    )
}

fn returning(r: &[Item]) -> String {
    if r.is_empty() {
        String::new()
    } else {
        format!(" returning[{}]", items(r))
    }
}

fn assignments(a: &[Assignment]) -> String {
    a.iter()
        .map(|a| format!("{}={}", a.columns.join(","), expr(&a.value)))
        .collect::<Vec<_>>()
        .join(" ")
}

fn items(i: &[Item]) -> String {
    let item = |i: &Item| match i {
        Item::Expr {
            expr: e,
            alias: None,
        } => expr(e),
        Item::Expr {
            expr: e,
            alias: Some(a),
        } => format!("{} as {a}", expr(e)),
        Item::Star => "*".to_owned(),
        Item::QualifiedStar(n) => format!("{}.*", qualified(n)),
    };
    i.iter().map(item).collect::<Vec<_>>().join(", ")
}

fn select(s: &Select) -> String {
    let mut out = match &s.distinct {
        Distinct::No => "select".to_owned(),
        Distinct::All => "select-distinct".to_owned(),
        Distinct::On(e) => format!("select-distinct-on({})", list(e)),
    };
    out += &format!("[{}]", items(&s.items));
    if let Some(n) = &s.into {
        out += &format!(" into {}", qualified(n));
    }
    if !s.from.is_empty() {
        out += &format!(" from[{}]", from(&s.from));
    }
    if let Some(f) = &s.filter {
        out += &format!(" where {}", expr(f));
    }
    match &s.group_by {
        GroupBy::None => {}
        GroupBy::Exprs(e) => out += &format!(" group[{}]", list(e)),
        GroupBy::Sets(e) => out += &format!(" group-sets[{}]", list(e)),
    }
    if let Some(h) = &s.having {
        out += &format!(" having {}", expr(h));
    }
    if !s.windows.is_empty() {
        out += &format!(" windows[{}]", list(&s.windows));
    }
    out
}

fn alias(a: &Option<Alias>) -> String {
    match a {
        None => String::new(),
        Some(a) if a.columns.is_empty() => format!(" {}", a.name),
        Some(a) => format!(" {}({})", a.name, a.columns.join(" ")),
    }
}

fn relation(r: &Relation) -> String {
    let only = if r.only { "only " } else { "" };
    let sample = if r.sample { " sample" } else { "" };
    format!("{only}{}{}{sample}", qualified(&r.name), alias(&r.alias))
}

fn from(items: &[FromItem]) -> String {
    items.iter().map(from_item).collect::<Vec<_>>().join(", ")
}

fn from_item(item: &FromItem) -> String {
    match item {
        FromItem::Relation(r) => relation(r),
        FromItem::Derived {
            query: q,
            alias: a,
            lateral,
        } => {
            format!(
                "{}{{{}}}{}",
                if *lateral { "lateral " } else { "" },
                query(q),
                alias(a)
            )
        }
        FromItem::Function { calls, alias: a } => format!("{}{}", list(calls), alias(a)),
        FromItem::Join(j) => {
            let condition = match &j.condition {
                JoinCondition::None => String::new(),
                JoinCondition::On(e) => format!(" on {}", expr(e)),
                JoinCondition::Using(c) => format!(" using({})", c.join(" ")),
                JoinCondition::Natural => " natural".to_owned(),
            };
            let kind = format!("{:?}", j.kind).to_lowercase();
            format!(
                "<{} {kind} {}{condition}>{}",
                from_item(&j.left),
                from_item(&j.right),
                alias(&j.alias)
            )
        }
        FromItem::Opaque(o) => opaque(o),
    }
}

fn list(e: &[Expr]) -> String {
    e.iter().map(expr).collect::<Vec<_>>().join(" ")
}

fn not(negated: bool) -> &'static str {
    if negated { "not-" } else { "" }
}

pub fn expr(e: &Expr) -> String {
    match e {
        Expr::Column {
            schema,
            table,
            column,
        } => [schema.as_deref(), table.as_deref(), Some(column)]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("."),
        Expr::Literal(Literal::Null) => "null".to_owned(),
        Expr::Literal(Literal::Bool(b)) => b.to_string(),
        Expr::Literal(Literal::Number(n)) => n.clone(),
        Expr::Literal(Literal::String(s)) => format!("'{s}'"),
        Expr::Literal(Literal::Other(s)) => format!("<{s}>"),
        Expr::Param(n) => format!("${n}"),
        Expr::Default => "default".to_owned(),
        Expr::Cast { expr: e, ty } => format!("{}::{}", expr(e), type_name(ty)),
        Expr::And(l) => format!("(and {})", list(l)),
        Expr::Or(l) => format!("(or {})", list(l)),
        Expr::Not(e) => format!("(not {})", expr(e)),
        Expr::Binary {
            op,
            schema,
            left,
            right,
        } => {
            let schema = schema.as_ref().map_or(String::new(), |s| format!("{s}."));
            format!("({schema}{op} {} {})", expr(left), expr(right))
        }
        Expr::Unary { op, expr: e } => format!("({op} {})", expr(e)),
        Expr::IsNull { expr: e, negated } => format!("({}null {})", not(*negated), expr(e)),
        Expr::IsDistinct {
            left,
            right,
            negated,
        } => {
            format!("({}distinct {} {})", not(*negated), expr(left), expr(right))
        }
        Expr::InList {
            expr: e,
            list: l,
            negated,
        } => format!("({}in {} [{}])", not(*negated), expr(e), list(l)),
        Expr::InSubquery {
            expr: e,
            query: q,
            negated,
        } => {
            format!("({}in {} {{{}}})", not(*negated), expr(e), query(q))
        }
        Expr::Quantified {
            op,
            schema,
            all,
            left,
            right,
        } => {
            let schema = schema.as_ref().map_or(String::new(), |s| format!("{s}."));
            let right = match right {
                Quantifier::Array(e) => expr(e),
                Quantifier::Subquery(q) => format!("{{{}}}", query(q)),
            };
            format!(
                "({schema}{op}-{} {} {right})",
                if *all { "all" } else { "any" },
                expr(left)
            )
        }
        Expr::Between {
            expr: e,
            low,
            high,
            negated,
            symmetric,
        } => {
            let symmetric = if *symmetric { "-symmetric" } else { "" };
            format!(
                "({}between{symmetric} {} {} {})",
                not(*negated),
                expr(e),
                expr(low),
                expr(high)
            )
        }
        Expr::Exists { query: q, negated } => format!("({}exists {{{}}})", not(*negated), query(q)),
        Expr::Subquery(q) => format!("{{{}}}", query(q)),
        Expr::Row(l) => format!("row({})", list(l)),
        Expr::Array(l) => format!("array[{}]", list(l)),
        Expr::Collate { expr: e, collation } => {
            format!("(collate {} {})", expr(e), qualified(collation))
        }
        Expr::Function(f) => {
            let mut args: Vec<String> = f.args.iter().map(expr).collect();
            for (arg, name) in args.iter_mut().zip(&f.arg_names) {
                if let Some(name) = name {
                    *arg = format!("{name}=>{arg}");
                }
            }
            let mut out = format!("{}(", qualified(&f.name));
            out += if f.distinct { "distinct " } else { "" };
            out += &args.join(" ");
            out += if f.star { "*)" } else { ")" };
            if !f.extra.is_empty() {
                out += &format!(" extra[{}]", list(&f.extra));
            }
            if let Some(over) = &f.over {
                out += &format!(" over[{}]", list(over));
            }
            out
        }
        Expr::Case {
            operand,
            whens,
            otherwise,
        } => {
            let mut out = "(case".to_owned();
            out += &operand
                .as_ref()
                .map_or(String::new(), |e| format!(" {}", expr(e)));
            out += &whens
                .iter()
                .map(|(w, t)| format!(" {}->{}", expr(w), expr(t)))
                .collect::<String>();
            out += &otherwise
                .as_ref()
                .map_or(String::new(), |e| format!(" else {}", expr(e)));
            out + ")"
        }
        Expr::Other { what, children } if children.is_empty() => format!("<{what}>"),
        Expr::Other { what, children } => format!("<{what} {}>", list(children)),
        Expr::Opaque(o) => opaque(o),
    }
}

fn type_name(t: &TypeName) -> String {
    let modifiers: Vec<String> = t.modifiers.iter().map(i64::to_string).collect();
    let name = match t.name.schema.as_deref() {
        Some("pg_catalog") => t.name.name.clone(),
        _ => qualified(&t.name),
    };
    let modifiers = if modifiers.is_empty() {
        String::new()
    } else {
        format!("({})", modifiers.join(","))
    };
    format!("{name}{modifiers}{}", if t.array { "[]" } else { "" })
}
