//! How to reach the private server.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;

/// The address and the credentials of the private server. `Debug` does not show the password.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Connection {
    /// The directory of the Unix socket; there is no TCP address.
    pub socket_dir: PathBuf,
    /// A part of the name of the socket file.
    pub port: u16,
    /// A superuser of the private server.
    pub user: String,
    /// Its password.
    pub password: SecretString,
    /// The database of the service.
    pub database: String,
}

impl Connection {
    /// The same as options for sqlx.
    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        self.connect_options_for(&self.database)
    }

    /// Options for another database of the same server.
    #[must_use]
    pub fn connect_options_for(&self, database: &str) -> PgConnectOptions {
        // `new` would read `~/.pgpass` and complain about its permissions.
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket_dir)
            .port(self.port)
            .username(&self.user)
            .password(self.password.expose_secret())
            .database(database)
    }

    /// A URL that sqlx, psql and every program on libpq accept.
    #[must_use]
    pub fn url(&self) -> SecretString {
        SecretString::from(format!(
            "postgres://{}:{}@{}:{}/{}",
            encode(&self.user),
            encode(self.password.expose_secret()),
            // A host that begins with an encoded slash is a socket directory.
            encode(&self.socket_dir.to_string_lossy()),
            self.port,
            encode(&self.database),
        ))
    }
}

/// Percent-encodes everything that is not unreserved in a URL.
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |url, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            url + &char::from(byte).to_string()
        } else {
            url + &format!("%{byte:02X}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::Connection;
    use secrecy::{ExposeSecret, SecretString};

    #[test]
    fn the_url_encodes_every_part_and_debug_hides_the_password() {
        let connection = Connection {
            socket_dir: "/tmp/a b".into(),
            port: 5432,
            user: "postgres".to_owned(),
            password: SecretString::from("s/cret"),
            database: "pfa vanguard?".to_owned(),
        };
        let url = "postgres://postgres:s%2Fcret@%2Ftmp%2Fa%20b:5432/pfa%20vanguard%3F";
        assert_eq!(connection.url().expose_secret(), url);
        assert!(!format!("{connection:?}").contains("s/cret"));
    }
}
