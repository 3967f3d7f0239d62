//! The setting `database`.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};

use crate::store::{self, Database};

/// Which database: a path or a URL. A password in it is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

/// What is shown in place of a password.
const HIDDEN: &str = "***";

/// What is configured cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It names no database.
    #[error(transparent)]
    Database(#[from] store::Error),
    /// The password cannot be read.
    #[error("cannot read the password file {}", path.display())]
    PasswordFile {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

// === impl DatabaseUrl ===

impl DatabaseUrl {
    /// Takes it as it is.
    pub fn new(database: impl Into<String>) -> Self {
        Self(database.into())
    }

    /// The database, with the password of a file that has one line.
    pub fn read(&self, password_file: Option<&PathBuf>) -> Result<Database, Error> {
        let database = Database::parse(&self.0)?;
        let Some(path) = password_file else { return Ok(database) };
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::PasswordFile { path: path.clone(), source })?;
        Ok(database.with_password(text.trim_end_matches(['\r', '\n'])))
    }

    /// As it stands, but for a password.
    fn shown(&self) -> String {
        match Database::parse(&self.0) {
            Ok(database) if database.is_postgres() => redact(&self.0),
            Ok(_) => self.0.clone(),
            Err(error) => error.to_string(),
        }
    }
}

/// Hides the passwords of a URL (RFC 3986, sections 3.2.1 and 3.4).
fn redact(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let authority = match authority.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:{HIDDEN}@{host}"),
            None => authority.to_owned(),
        },
        None => authority.to_owned(),
    };
    let hidden = |pair: &str| match pair.split_once('=') {
        Some((name @ "password", _)) => format!("{name}={HIDDEN}"),
        _ => pair.to_owned(),
    };
    let query = query.map(|query| format!("?{}", query.split('&').map(hidden).collect::<Vec<_>>().join("&")));
    format!("{scheme}://{authority}{path}{}", query.unwrap_or_default())
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("monitor.db", "monitor.db"),
            ("sqlite:monitor.db", "sqlite:monitor.db"),
            ("postgres://me@db/jobs?sslmode=require", "postgres://me@db/jobs?sslmode=require"),
            ("postgres://me:secret@db/jobs", "postgres://me:***@db/jobs"),
            ("postgres://me:se%40cret:secret@db:6000/jobs", "postgres://me:***@db:6000/jobs"),
            ("postgres://db/jobs?user=me&password=secret", "postgres://db/jobs?user=me&password=***"),
        ] {
            let url = DatabaseUrl::new(url);
            assert_eq!(format!("{url:?}"), shown);
            assert_eq!(serde_json::to_value(&url).unwrap(), shown);
        }
        for bad in [
            "postgres://me:secret@db:port/x",
            "postgres://me:secret@db/x?sslmode=secret",
            "mysql://a:secret@b",
        ] {
            let url = DatabaseUrl::new(bad);
            let error = anyhow::Error::new(url.read(None).unwrap_err());
            assert!(!format!("{url:?} {error:#} {error:?}").contains("secret"), "{error:#}");
        }
    }

    #[test]
    fn a_password_can_stand_in_a_file() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"secret\n").unwrap();
        let url = DatabaseUrl::new("postgres://me@db/jobs");
        let database = url.read(Some(&file.path().to_owned())).unwrap();
        assert_eq!(database.to_string(), "postgres://me@db:5432/jobs");
        let missing = url.read(Some(&"/nowhere/password".into())).unwrap_err().to_string();
        assert!(missing.contains("/nowhere/password"), "{missing}");
    }
}
