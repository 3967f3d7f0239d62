//! The section `monitor.access` of the configuration.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass_service::Problems;

use super::{Role, SHARED, Token};

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// What is shown to whoever shows no token; unless told, everything on a loopback address and nothing on another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<Anonymous>,
    /// How long a browser stays signed in.
    #[serde(with = "humantime_serde")]
    pub session_lifetime: Duration,
    /// Whether browsers send the session over TLS only; unless told, if `public_url` is an https one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secure_cookies: Option<bool>,
    /// Who is shown payloads, and may search in them.
    pub payloads: Role,
    /// Who has a token.
    pub tokens: Vec<TokenOptions>,
}

/// Whoever has a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenOptions {
    /// As histories and the log of actions name it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// A file of one line, the token: at least 32 visible ASCII characters.
    pub file: PathBuf,
}

/// What whoever shows no token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum Anonymous {
    /// Read everything.
    Viewer,
    /// Nothing.
    Nobody,
}

const LEAST_LIFETIME: Duration = Duration::from_mins(1);
const MOST_LIFETIME: Duration = Duration::from_hours(24 * 30);
const MOST_TOKENS: usize = 100;
const MOST_NAME: usize = 64;

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            anonymous: None,
            session_lifetime: Duration::from_hours(12),
            secure_cookies: None,
            payloads: Role::Viewer,
            tokens: Vec::new(),
        }
    }
}

impl Options {
    pub(crate) fn validate(&self, problems: &mut Problems) {
        if !(LEAST_LIFETIME..=MOST_LIFETIME).contains(&self.session_lifetime) {
            problems.add("access.session_lifetime", "expected a duration of 1m to 30days");
        }
        if self.tokens.len() > MOST_TOKENS {
            problems
                .add("access.tokens", format!("found {}, expected at most {MOST_TOKENS}", self.tokens.len()));
        }
        for (place, TokenOptions { name, file, .. }) in self.tokens.iter().enumerate() {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-@+".contains(&byte);
            let key = format!("access.tokens.{place}");
            if name.is_empty() || name.len() > MOST_NAME || !name.bytes().all(good) {
                problems
                    .add(&format!("{key}.name"), "expected 1 to 64 letters, digits, `_`, `-`, `@` and `+`");
            }
            let twice = self.tokens[..place].iter().any(|before| before.name == *name);
            if twice || [SHARED, "api", "dashboard"].contains(&name.as_str()) {
                problems.add(&format!("{key}.name"), format!("`{name}` is taken: expected another name"));
            }
            if let Err(error) = Token::read(file) {
                problems.add(&format!("{key}.file"), format!("{:#}", anyhow::Error::new(error)));
            }
        }
    }

    /// What is reached from elsewhere shows nothing to strangers unless somebody has said so.
    pub(crate) fn validate_listening(&self, listens: SocketAddr, has_others: bool, problems: &mut Problems) {
        let decided = has_others || !self.tokens.is_empty() || self.anonymous == Some(Anonymous::Viewer);
        if !listens.ip().is_loopback() && !decided {
            problems.add(
                "access",
                format!(
                    "nobody could be told apart on {listens}, which other machines reach: expected \
                     monitor.operator_token_file, monitor.access.tokens or monitor.oidc, an http.listen on 127.0.0.1, or \
                     monitor.access.anonymous = \"viewer\" to show everything to whoever reaches it"
                ),
            );
        }
    }
}

// === impl Anonymous ===

impl TryFrom<String> for Anonymous {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "viewer" => Ok(Self::Viewer),
            "nobody" => Ok(Self::Nobody),
            _ => Err(format!("found `{text}`, expected `viewer` or `nobody`")),
        }
    }
}
