//! The section `monitor` of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass_service::{Problems, Validate};

use crate::access::{self, Token, oidc};
use crate::alerts;
use crate::database_url::{self, DatabaseUrl};
use crate::reports;
use crate::retention::Retention;
use crate::trace_url::TraceUrl;
use crate::web_address::is_web_address;

/// What can be configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The database: a path, a URL as `sqlite:windlass-monitor.db`, or one as `postgres://USER@HOST/DATABASE`. A relative
    /// path is under the working directory.
    pub database: DatabaseUrl,
    /// A file that holds one line, the password for the database server. Read at the start.
    pub database_password_file: Option<PathBuf>,
    /// Where a trace can be seen, as `http://localhost:16686/trace/{trace_id}`; without it pages show the bare id.
    pub trace_url: Option<TraceUrl>,
    /// How many messages of EVENTS (of up to 250 events) are stored in one transaction.
    pub batch_size: usize,
    /// A file that holds one line, the token that who acts by the HTTP API must show: at least 32 visible ASCII
    /// characters. Without it nobody may.
    pub operator_token_file: Option<PathBuf>,
    /// Who may do what.
    pub access: access::Options,
    /// Sign-in by OpenID Connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc: Option<oidc::Options>,
    /// How long what has ended is kept in the database.
    pub retention: Retention,
    /// How often it is audited whether a job was lost.
    #[serde(with = "humantime_serde")]
    pub audit_every: Duration,
    /// When somebody is told, and where.
    pub alerts: alerts::Options,
    /// Reports that are made by themselves.
    pub reports: reports::Options,
    /// Where others reach the HTTP endpoint, if not at the address that it listens on.
    pub public_url: Option<String>,
}

const LEAST_AUDIT: Duration = Duration::from_secs(1);
const MOST_AUDIT: Duration = Duration::from_hours(1);
const MOST_BATCH_SIZE: usize = 1000;

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            database: DatabaseUrl::new("windlass-monitor.db"),
            database_password_file: None,
            trace_url: None,
            batch_size: 500,
            operator_token_file: None,
            access: access::Options::default(),
            oidc: None,
            retention: Retention::default(),
            audit_every: Duration::from_secs(10),
            alerts: alerts::Options::default(),
            reports: reports::Options::default(),
            public_url: None,
        }
    }
}

impl Validate for Options {
    fn validate(&self, problems: &mut Problems) {
        match self.database.read(self.database_password_file.as_ref()) {
            Err(error @ database_url::Error::Database(_)) => problems.add("database", error),
            Err(error) => problems.add("database_password_file", format!("{:#}", anyhow::Error::new(error))),
            Ok(database) if self.database_password_file.is_some() && !database.is_postgres() => {
                let key = "database_password_file";
                problems
                    .add(key, "stands beside a file: expected a database as postgres://USER@HOST/DATABASE");
            }
            Ok(_) => {}
        }
        if !(1..=MOST_BATCH_SIZE).contains(&self.batch_size) {
            problems.add("batch_size", format!("found {}, expected 1 to {MOST_BATCH_SIZE}", self.batch_size));
        }
        self.retention.validate(problems);
        self.alerts.validate(problems);
        self.reports.validate(problems);
        self.access.validate(problems);
        if let Some(oidc) = &self.oidc {
            oidc.validate(self.public_url.as_deref(), problems);
        }
        if !(LEAST_AUDIT..=MOST_AUDIT).contains(&self.audit_every) {
            problems.add("audit_every", "expected a duration of 1s to 1h");
        }
        if let Some(Err(error)) = self.operator_token_file.as_deref().map(Token::read) {
            problems.add("operator_token_file", format!("{:#}", anyhow::Error::new(error)));
        }
        if self.public_url.as_ref().is_some_and(|url| !is_web_address(url) || url.len() > 2048) {
            problems.add("public_url", "expected an http or https URL of at most 2048 bytes");
        }
    }

    fn validate_listening(&self, listens: SocketAddr, problems: &mut Problems) {
        let others = self.operator_token_file.is_some() || self.oidc.is_some();
        self.access.validate_listening(listens, others, problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(options: &Options, expected: &[&str]) {
        let mut problems = Problems::default();
        options.validate(&mut problems);
        assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), expected, "{options:?}");
    }

    #[test]
    fn everything_wrong_is_named() {
        check(&Options::default(), &[]);
        let of = |database: &str| DatabaseUrl::new(database);
        check(&Options { database: of(":memory:"), ..Options::default() }, &["database"]);
        let file = Some("/nowhere/password".into());
        check(
            &Options { database: of("postgres://db/x"), database_password_file: file, ..Options::default() },
            &["database_password_file"],
        );
        check(
            &Options { batch_size: 0, public_url: Some("file:///x".to_owned()), ..Options::default() },
            &["batch_size", "public_url"],
        );
    }

    #[test]
    fn a_file_without_a_token_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let options = Options { operator_token_file: Some(file.path().to_owned()), ..Options::default() };
        check(&options, &["operator_token_file"]);
        std::fs::write(file.path(), "x".repeat(32)).unwrap();
        check(&options, &[]);
    }

    #[test]
    fn unknown_keys_and_bad_trace_addresses_are_errors() {
        assert!(serde_json::from_str::<Options>(r#"{"databse": "x"}"#).is_err());
        assert!(serde_json::from_str::<Options>(r#"{"trace_url": "http://localhost/"}"#).is_err());
    }
}
