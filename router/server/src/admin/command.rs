//! The console's grammar: text -> command. What it does not know it refuses, with the place to look.

use shardgate_wire::PgError;

/// What can be shown, in the order of `SHOW HELP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Help,
    Clients,
    Config,
    Databases,
    Distributions,
    Epoch,
    Map,
    Moves,
    Pools,
    Routers,
    Servers,
    Shards,
    Stats,
    Tables,
    Version,
}

impl View {
    /// Name and description of every view.
    pub const ALL: [(View, &str, &str); 15] = [
        (View::Clients, "CLIENTS", "connected clients"),
        (
            View::Config,
            "CONFIG",
            "settings of this router, and where they came from",
        ),
        (
            View::Databases,
            "DATABASES",
            "the databases that are served",
        ),
        (
            View::Distributions,
            "DISTRIBUTIONS",
            "distributions and their methods",
        ),
        (
            View::Epoch,
            "EPOCH",
            "the catalog's version in use, and how the catalog is followed",
        ),
        (View::Map, "MAP", "which shard owns which keys"),
        (
            View::Moves,
            "MOVES",
            "moves of data between shards, and how far they are",
        ),
        (
            View::Pools,
            "POOLS",
            "connections to servers by role, and who waits for one",
        ),
        (View::Routers, "ROUTERS", "this router"),
        (View::Servers, "SERVERS", "connections to servers"),
        (
            View::Shards,
            "SHARDS",
            "shards, their servers, roles and lag",
        ),
        (View::Stats, "STATS", "totals since the start"),
        (View::Tables, "TABLES", "tables and where their rows are"),
        (View::Version, "VERSION", "the version of this router"),
        (View::Help, "HELP", "this list"),
    ];
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Show(View),
    Kill(u32),
    Reload,
    /// A setting that drivers send when they connect and that changes nothing that is shown here.
    Set,
}

impl Command {
    /// The tag of CommandComplete. `rows` counts for SHOW alone.
    pub fn tag(&self) -> &'static str {
        match self {
            Command::Show(_) => "SHOW",
            Command::Kill(_) => "KILL",
            Command::Reload => "RELOAD",
            Command::Set => "SET",
        }
    }
}

/// Settings that drivers send unasked.
const DRIVER_SETTINGS: [&str; 5] = [
    "application_name",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "extra_float_digits",
];

/// The commands of one query text, which may be empty.
pub(super) fn parse(text: &str) -> Result<Vec<Command>, PgError> {
    let text = without_comments(text)?;
    let statements = text.split(';').map(str::trim);
    statements
        .filter(|s| !s.is_empty())
        .map(parse_one)
        .collect()
}

fn parse_one(statement: &str) -> Result<Command, PgError> {
    let upper = statement.to_ascii_uppercase();
    let words: Vec<&str> = upper.split_whitespace().collect();
    match words.as_slice() {
        ["SHOW"] => Ok(Command::Show(View::Help)),
        ["SHOW", name] => {
            let found = View::ALL.iter().find(|(_, known, _)| known == name);
            found
                .map(|(view, _, _)| Command::Show(*view))
                .ok_or_else(|| unknown(statement))
        }
        ["RELOAD"] => Ok(Command::Reload),
        ["KILL", pid] => pid.parse().map(Command::Kill).map_err(|_| {
            PgError::error("22023", "KILL takes the number of a client")
                .hint("The number is the column \"pid\" of SHOW CLIENTS.")
        }),
        ["KILL"] => Err(PgError::error("42601", "KILL takes the number of a client")
            .hint("The number is the column \"pid\" of SHOW CLIENTS.")),
        [
            "PAUSE" | "RESUME" | "SUSPEND" | "WAIT_CLOSE" | "RECONNECT" | "DISABLE" | "ENABLE"
            | "SHUTDOWN",
            ..,
        ] => {
            let name = words.first().copied().unwrap_or_default();
            Err(PgError::error("0A000", format!("{name} is not supported"))
                .hint("SHOW HELP lists the commands."))
        }
        ["SET", rest @ ..] => {
            let rest = rest.join(" ").to_ascii_lowercase();
            let rest = rest.strip_prefix("session ").unwrap_or(&rest);
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let name = rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest);
            match DRIVER_SETTINGS.contains(&name) {
                true => Ok(Command::Set),
                false => Err(PgError::error("0A000", "settings cannot be changed here")
                    .hint("Change the configuration file, then use RELOAD.")),
            }
        }
        _other => Err(unknown(statement)),
    }
}

fn unknown(statement: &str) -> PgError {
    let shown: String = statement.chars().take(60).map(super::text::plain).collect();
    PgError::error("42601", format!("unknown command \"{shown}\"")).hint("Use SHOW HELP.")
}

/// The text with its comments taken out, as Postgres reads them: `--` to the end of the line, `/* */` nested.
fn without_comments(text: &str) -> Result<String, PgError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['-', '/']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if from.starts_with("--") {
            rest = from.find('\n').map_or("", |end| &from[end..]);
        } else if from.starts_with("/*") {
            let end = comment_end(from);
            let end = end.ok_or_else(|| PgError::error("42601", "unterminated /* comment"))?;
            out.push(' ');
            rest = &from[end..];
        } else {
            out.push_str(&from[..1]);
            rest = &from[1..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Where the comment at the beginning of `text` has ended.
fn comment_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    let mut at = 0;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Some(at);
                }
            }
            [_, ..] | [] => at += 1,
        }
    }
    None
}
