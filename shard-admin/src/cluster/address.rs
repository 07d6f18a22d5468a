//! How a server is reached: the libpq URL of a role and a database on a host and port.

use std::fmt::Write;

/// A role and, where the server asks for one, its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: Option<String>,
}

impl Login {
    /// The superuser of the servers that this module starts.
    pub fn superuser(password: Option<&str>) -> Login {
        Login {
            user: "postgres".to_owned(),
            password: password.map(str::to_owned),
        }
    }
}

/// `postgresql://user:password@host:port/database`, each part percent-encoded where it must be.
pub fn connection_url(login: &Login, host: &str, port: u16, database: &str) -> String {
    let password = login
        .password
        .as_ref()
        .map(|p| format!(":{}", encode(p)))
        .unwrap_or_default();
    format!(
        "postgresql://{}{password}@{host}:{port}/{}",
        encode(&login.user),
        encode(database)
    )
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _infallible = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_survive_the_parser() {
        let check = |user: &str, password: Option<&str>, database: &str| {
            let login = Login {
                user: user.to_owned(),
                password: password.map(str::to_owned),
            };
            let url = connection_url(&login, "127.0.0.1", 6432, database);
            let parsed: tokio_postgres::Config = url.parse().unwrap();
            assert_eq!(parsed.get_user(), Some(user), "{url}");
            assert_eq!(parsed.get_password(), password.map(str::as_bytes), "{url}");
            assert_eq!(parsed.get_dbname(), Some(database), "{url}");
            assert_eq!(parsed.get_ports(), [6432], "{url}");
        };
        check("postgres", None, "app");
        check("a b@c", Some("p/w:d@%"), "d?b#1");
        check("ülf", Some("ß"), "größe");
    }
}
