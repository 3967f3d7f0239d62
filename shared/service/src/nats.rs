//! The `[nats]` section: how to reach the broker.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass_broker::{Auth, Names, Options};

use crate::config::check_duration;
use crate::problem::{Problems, Validate};
use crate::secret::{Secret, ServerUrl, UserInfo};

/// How to reach the broker. At most one way to say who we are.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nats {
    /// As `nats://127.0.0.1:4222`; several servers of one cluster with commas between them.
    pub url: ServerUrl,
    /// A user of the broker.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A file that holds the user's password, read at each connection.
    pub password_file: Option<PathBuf>,
    /// A token.
    pub token: Option<Secret>,
    /// A file with a JWT and its seed, as `nsc` writes it.
    pub credentials_file: Option<PathBuf>,
    /// Where answers arrive. Default: `_INBOX`; a user with least rights has a prefix of its own, as
    /// `_INBOX_dispatcher`.
    pub inbox_prefix: Option<String>,
    /// Where JetStream's API is. Default: `$JS.API`; a worker's account imports it as `JS.windlass.API`.
    pub api_prefix: Option<String>,
    /// A file of certificates to trust.
    pub tls_ca: Option<PathBuf>,
    /// For each attempt to connect.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
}

/// A secret's file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the password file {}", path.display())]
pub struct Error {
    path: PathBuf,
    source: std::io::Error,
}

// === impl Nats ===

impl Default for Nats {
    fn default() -> Self {
        Self {
            url: ServerUrl::new("nats://127.0.0.1:4222"),
            user: None,
            password: None,
            password_file: None,
            token: None,
            credentials_file: None,
            inbox_prefix: None,
            api_prefix: None,
            tls_ca: None,
            connect_timeout: Duration::from_secs(5),
        }
    }
}

impl Nats {
    /// What the broker's client takes. Reads the password's file.
    pub fn broker_options(&self, names: Names, client_name: String) -> Result<Options, Error> {
        let (url, user_info) = self.url.split();
        let hide = |secret: &Secret| windlass_broker::Secret::new(secret.expose());
        let auth = if let Some(path) = &self.credentials_file {
            Auth::CredentialsFile(path.clone())
        } else if let Some(token) = &self.token {
            Auth::Token(hide(token))
        } else if let Some(user) = &self.user {
            Auth::UserPassword { user: user.clone(), password: hide(&self.read_password()?) }
        } else {
            match user_info {
                Some(UserInfo::Password(user, password)) => {
                    Auth::UserPassword { user, password: hide(&password) }
                }
                Some(UserInfo::Token(token)) => Auth::Token(hide(&token)),
                None => Auth::None,
            }
        };
        Ok(Options {
            url,
            auth,
            inbox_prefix: self.inbox_prefix.clone(),
            api_prefix: self.api_prefix.clone(),
            client_name,
            names,
            connect_timeout: self.connect_timeout,
            tls_ca: self.tls_ca.clone(),
            give_up_after: None,
        })
    }

    fn read_password(&self) -> Result<Secret, Error> {
        match (&self.password, &self.password_file) {
            (Some(password), _) => Ok(password.clone()),
            (None, Some(path)) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(Secret::new(text.trim_end_matches(['\r', '\n']))),
                Err(source) => Err(Error { path: path.clone(), source }),
            },
            (None, None) => Ok(Secret::new("")),
        }
    }

    fn check_url(&self, problems: &mut Problems) {
        let (urls, _) = self.url.split();
        for url in urls.split(',') {
            let (scheme, address) = url.split_once("://").unwrap_or(("nats", url));
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            let port = address.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
            let port_is_wrong =
                port.is_some_and(|(_, port)| port.trim_end_matches('/').parse::<u16>().is_err());
            let known = ["nats", "tls", "ws", "wss"].contains(&scheme);
            if !known || host.is_empty() || port_is_wrong || url.contains(char::is_whitespace) {
                problems.add(
                    "url",
                    format!("`{url}` is not an address: expected nats://HOST:PORT or tls://HOST:PORT"),
                );
            }
        }
    }

    fn check_identity(&self, problems: &mut Problems) {
        let ways: Vec<&str> = [
            ("user", self.user.is_some()),
            ("token", self.token.is_some()),
            ("credentials_file", self.credentials_file.is_some()),
            ("a user in url", self.url.split().1.is_some()),
        ]
        .into_iter()
        .filter_map(|(way, given)| given.then_some(way))
        .collect();
        if ways.len() > 1 {
            problems.add("", format!("has {}: expected one of them", ways.join(" and ")));
        }
        let passwords =
            [("password", self.password.is_some()), ("password_file", self.password_file.is_some())];
        let given: Vec<&str> =
            passwords.into_iter().filter_map(|(key, given)| given.then_some(key)).collect();
        match (self.user.is_some(), given.as_slice()) {
            (true, []) => {
                problems.add("user", "has no password: expected password or password_file beside it");
            }
            (true, [_, _]) => problems.add("password_file", "stands beside password: expected one of them"),
            (false, [key, ..]) => problems.add(key, "has no user: expected user beside it"),
            _ => {}
        }
    }
}

impl Validate for Nats {
    fn validate(&self, problems: &mut Problems) {
        self.check_url(problems);
        self.check_identity(problems);
        for (key, path) in [
            ("password_file", &self.password_file),
            ("credentials_file", &self.credentials_file),
            ("tls_ca", &self.tls_ca),
        ] {
            if let Some(Err(error)) = path.as_ref().map(std::fs::File::open) {
                problems.add(key, format!("cannot be read ({error}): expected a file"));
            }
        }
        for (key, prefix) in [("inbox_prefix", &self.inbox_prefix), ("api_prefix", &self.api_prefix)] {
            let Some(prefix) = prefix else { continue };
            let token = |part: &str| {
                !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c == '*' || c == '>')
            };
            if !prefix.split('.').all(token) {
                problems
                    .add(key, format!("`{prefix}` is not a subject: expected words such as _INBOX_worker"));
            }
        }
        check_duration(
            problems,
            "connect_timeout",
            self.connect_timeout,
            Duration::from_millis(100),
            Duration::from_mins(5),
        );
    }
}
