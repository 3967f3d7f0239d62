//! Whoever the provider vouches for, as a session's cookie holds it: `oidc~ROLE~NAME`.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::access::Role;

/// No token's holder has a name that begins so.
const BEGINS: &str = "oidc~";

/// Whoever the provider vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// As histories and the log of actions name it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// As the provider knows it (`sub`); empty where only a session tells of it.
    pub subject: String,
}

// === impl Person ===

impl Person {
    /// For a session.
    pub(super) fn to_holder(&self) -> String {
        format!("{BEGINS}{}~{}", self.role, BASE64_URL_SAFE_NO_PAD.encode(&self.name))
    }

    /// Of a session whose seal is right; none for a session of a token.
    pub(super) fn of_holder(text: &str) -> Option<Self> {
        let (role, name) = text.strip_prefix(BEGINS)?.split_once('~')?;
        let name = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(name).ok()?).ok()?;
        Some(Self { name, role: role.parse().ok()?, subject: String::new() })
    }
}
