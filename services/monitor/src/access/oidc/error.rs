//! Why nobody was let in, in words for people.

/// Why nobody was let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The provider does not answer, or not as OpenID Connect has it.
    #[error("the identity provider {issuer} cannot be asked just now: {reason}")]
    Away {
        /// Which.
        issuer: String,
        /// Why.
        reason: String,
    },
    /// The provider says no.
    #[error("the identity provider says no: {0}")]
    Refused(String),
    /// The sign-in was not begun in this browser, is over, or has been used.
    #[error(
        "this sign-in was not begun in this browser, has been used, or took longer than 10 minutes: begin again"
    )]
    Stray,
    /// The token does not hold.
    #[error("the identity provider's token does not hold: {0}")]
    Token(String),
    /// The person is known there, and has no role here.
    #[error(
        "the identity provider knows {who}, but none of the groups in the claim `{claim}` has a role here: ask \
         whoever runs Windlass to name one of your groups in monitor.oidc.roles"
    )]
    NoRole {
        /// As the log would name it.
        who: String,
        /// What was looked at.
        claim: String,
    },
}

/// Of what others say.
const MOST_CHARACTERS: usize = 300;

/// What another program says, bounded, as one line.
pub(super) fn said(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MOST_CHARACTERS).map(plain).collect()
}
