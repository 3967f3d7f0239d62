//! How to reach the broker, and as whom.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::Names;

/// How to reach the broker.
#[derive(Debug, Clone)]
pub struct Options {
    /// As `nats://127.0.0.1:4222`; several, with commas between them, are one cluster.
    pub url: String,
    /// Who we are.
    pub auth: Auth,
    /// Where answers arrive. A user with least rights may subscribe to its own prefix only.
    pub inbox_prefix: Option<String>,
    /// Where JetStream's API is: `$JS.API`, or what the user's account imports it as.
    pub api_prefix: Option<String>,
    /// Shown by the broker.
    pub client_name: String,
    /// Of the fleet.
    pub names: Names,
    /// For the first connection.
    pub connect_timeout: Duration,
    /// A file of certificates to trust.
    pub tls_ca: Option<PathBuf>,
    /// How long a lost connection is sought before the client is closed, with whatever it has buffered; for ever, if
    /// none. For who must not send late what was asked for early: a create's condition, "the job does not exist",
    /// becomes true again once the job is forgotten.
    pub give_up_after: Option<Duration>,
}

/// Who we are.
#[derive(Debug, Clone, Default)]
pub enum Auth {
    /// A broker without users.
    #[default]
    None,
    /// A user of the broker's configuration.
    UserPassword {
        /// Its name.
        user: String,
        /// Its password.
        password: Secret,
    },
    /// A token.
    Token(Secret),
    /// A file with a JWT and its seed.
    CredentialsFile(PathBuf),
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

// === impl Secret ===

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

// === impl Options ===

impl Options {
    /// A broker without users at this address, for the default namespace.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            auth: Auth::None,
            inbox_prefix: None,
            api_prefix: None,
            client_name: "windlass".to_owned(),
            names: Names::default(),
            connect_timeout: Duration::from_secs(5),
            tls_ca: None,
            give_up_after: None,
        }
    }
}
