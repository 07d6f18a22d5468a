//! What a start-up packet may set, and how `options` is taken apart.
//!
//! Names and values only become a list; nothing of the text is passed on as it came.

use shardgate_wire::PgError;

pub(super) fn is_false(value: &str) -> bool {
    matches!(
        value.to_ascii_lowercase().as_str(),
        "false" | "off" | "no" | "0" | "f" | "n"
    )
}

/// Letters, digits, `_`, `$` and dots, as Postgres allows it for a setting; anything else is not passed on as a name.
pub(super) fn setting_name(name: &str) -> Result<String, PgError> {
    let legal = |part: &str| {
        let mut chars = part.chars();
        chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
            && chars.all(|c| c.is_alphanumeric() || c == '_' || c == '$')
    };
    if name.split('.').all(legal) {
        Ok(name.to_owned())
    } else {
        Err(PgError::error(
            "42704",
            format!("unrecognized configuration parameter \"{name}\""),
        ))
    }
}

/// Takes the start-up parameter `options` apart: `-c name=value`, `-cname=value` and `--name=value`. Every other switch
/// of the server's command line changes what a connection is (`-W 2` makes each login wait), so it is refused.
pub(super) fn read_options(options: &str) -> Result<Vec<(String, String)>, PgError> {
    let mut words = split_options(options).into_iter();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let (setting, shown) = if word == "-c" {
            (words.next().unwrap_or_default(), "-c ")
        } else if let Some(rest) = word.strip_prefix("--") {
            (rest.to_owned(), "--")
        } else if let Some(rest) = word.strip_prefix("-c") {
            (rest.to_owned(), "-c ")
        } else {
            return Err(PgError::error(
                "0A000",
                format!("command-line option \"{word}\" is not supported"),
            )
            .hint("In \"options\", only -c name=value and --name=value are supported."));
        };
        let Some((name, value)) = setting.split_once('=') else {
            return Err(PgError::error(
                "42601",
                format!("{shown}{setting} requires a value"),
            ));
        };
        settings.push((setting_name(&name.replace('-', "_"))?, value.to_owned()));
    }
    Ok(settings)
}

/// Words are separated by white space; a backslash takes the next character as it is (pg_split_opts).
fn split_options(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = options.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_ascii_whitespace() || c == '\x0b' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}
