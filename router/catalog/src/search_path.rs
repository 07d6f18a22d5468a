//! The default of search_path for each role, as a login would have it.
//!
//! Postgres takes the first that is set: role in database, role, database, all roles and databases, server
//! (`process_settings` in its source applies them in the opposite order, the later ones winning).

use crate::raw::RawPathSetting;
use std::collections::HashMap;

/// Paths by role; None is for every role that has none of its own.
pub(crate) fn defaults(
    settings: &[RawPathSetting],
    server: &str,
) -> HashMap<Option<String>, Vec<String>> {
    let find = |role: Option<&str>, in_database: bool| {
        settings
            .iter()
            .find(|s| s.role.as_deref() == role && s.in_database == in_database)
            .map(|s| s.value.as_str())
    };
    let everybody = find(None, true).or(find(None, false)).unwrap_or(server);
    let mut paths = HashMap::from([(None, items(everybody))]);
    for role in settings.iter().filter_map(|s| s.role.as_deref()) {
        let value = find(Some(role), true)
            .or(find(Some(role), false))
            .unwrap_or(everybody);
        paths.insert(Some(role.to_owned()), items(value));
    }
    paths
}

/// The items of a search_path's value: unquoted, or folded to lower case. `$user` is kept.
pub(crate) fn items(value: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = value.trim_start();
    while !rest.is_empty() {
        let (item, tail) = match rest.strip_prefix('"') {
            Some(after) => quoted(after),
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (word, tail) = rest.split_at(end);
                (word.trim().to_lowercase(), tail)
            }
        };
        if !item.is_empty() {
            out.push(item);
        }
        rest = tail
            .trim_start()
            .strip_prefix(',')
            .unwrap_or_default()
            .trim_start();
    }
    out
}

/// The text up to the closing quote, and what stands after it.
fn quoted(after: &str) -> (String, &str) {
    let mut item = String::new();
    let mut rest = after;
    loop {
        match rest.split_once('"') {
            None => return (item + rest, ""),
            Some((inside, tail)) => {
                item.push_str(inside);
                match tail.strip_prefix('"') {
                    Some(more) => {
                        item.push('"');
                        rest = more;
                    }
                    None => return (item, tail),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_split_as_postgres_does() {
        let check = |value: &str, expect: &[&str]| assert_eq!(items(value), expect, "{value}");
        check("\"$user\", public", &["$user", "public"]);
        check("A,\"B\" , \"c\"\"d\"", &["a", "B", "c\"d"]);
        check("", &[]);
        check("\"\"", &[]);
    }

    #[test]
    fn the_nearest_setting_wins() {
        let set = |role: Option<&str>, in_database, value: &str| RawPathSetting {
            role: role.map(str::to_owned),
            in_database,
            value: value.to_owned(),
        };
        let paths = defaults(
            &[
                set(None, false, "z"),
                set(None, true, "d"),
                set(Some("a"), false, "r"),
                set(Some("b"), true, "rd"),
                set(Some("b"), false, "x"),
            ],
            "public",
        );
        let path = |role: Option<&str>| paths.get(&role.map(str::to_owned)).map(|p| p.join(","));
        assert_eq!(path(None).as_deref(), Some("d"));
        assert_eq!(path(Some("a")).as_deref(), Some("r"));
        assert_eq!(path(Some("b")).as_deref(), Some("rd"));
    }
}
