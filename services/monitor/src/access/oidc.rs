//! Sign-in by OpenID Connect (Core 1.0): the authorization code flow with PKCE (RFC 7636), and the provider's tokens on the
//! API.
//!
//! Nothing is stored. A sign-in that is under way and the session that comes of it are cookies, sealed with a key that
//! follows from the client's secret and from who has which role: whoever changes either ends all of them. The provider is
//! asked only for what needs it (`provider`), so nothing else waits for it.

mod attempt;
mod error;
mod options;
mod person;
mod provider;
mod token;

use std::time::Duration;

use jiff::Timestamp;
use ring::hmac;

pub use error::Error;
pub use options::{Options, Roles};
pub use person::Person;

use self::attempt::Attempt;
use self::error::said;
use self::provider::{Credentials, Provider, with_query};
use super::ended::Ended;
use super::{Session, Token, TokenError};

/// Sign-in at one provider.
pub struct Oidc {
    options: Options,
    provider: Provider,
    secret: Token,
    /// What seals.
    key: Vec<u8>,
    /// As `https://windlass.example.com`.
    public_url: String,
    /// Sign-ins that have been answered, by their states.
    answered: Ended,
}

/// What the provider sends a browser back with.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// What can be redeemed for a token.
    pub code: String,
    /// Which sign-in it answers.
    pub state: String,
    /// Who answers (RFC 9207); not all say it.
    pub issuer: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
    /// The same for people.
    pub error_description: String,
}

/// Why sign-in cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The client's secret is not there.
    #[error("monitor.oidc.client_secret")]
    Secret(#[from] TokenError),
    /// There is no TLS.
    #[error("no HTTP client can be made")]
    Http(#[from] reqwest::Error),
}

/// How long somebody may take to sign in at the provider.
pub(super) const LASTS: Duration = attempt::LASTS;
/// A page waits so long for what is said beside it.
const SOON: Duration = Duration::from_secs(2);
/// Where the provider sends a browser back to.
pub const CALLBACK: &str = "/sign-in/oidc/callback";

// === impl Oidc ===

impl Oidc {
    /// As configured. The provider is not asked before somebody needs it.
    pub fn new(options: &Options, public_url: &str) -> Result<Self, Unusable> {
        let secret = options.secret()?;
        let (issuer, client) = (&options.issuer, &options.client_id);
        let purpose =
            format!("windlass oidc\n{issuer}\n{client}\n{}\n{:?}", options.roles_claim, options.roles);
        let key = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), purpose.as_bytes());
        Ok(Self {
            options: options.clone(),
            provider: Provider::new(issuer)?,
            key: key.as_ref().to_vec(),
            secret,
            public_url: public_url.trim_end_matches('/').to_owned(),
            answered: Ended::default(),
        })
    }

    /// Whose it is, for people: the provider's host.
    pub fn host(&self) -> &str {
        let issuer = self.options.issuer.split_once("://").map_or("", |(_, rest)| rest);
        issuer.split('/').next().unwrap_or_default()
    }

    /// Begins a sign-in that leads there: where the browser has to go, and the value of its cookie.
    pub async fn begin(&self, next: &str, now: Timestamp) -> Result<(String, String), Error> {
        let document = self.provider.document().await?;
        let attempt = Attempt::begin(next, now).ok_or(Error::Stray)?;
        let scopes = self.options.scopes.iter().filter(|scope| *scope != "openid");
        let scope = scopes.fold("openid".to_owned(), |all, one| format!("{all} {one}"));
        let (nonce, challenge) = (attempt.nonce(&self.key), attempt.challenge(&self.key));
        let pairs = [
            ("response_type", "code"),
            ("client_id", &self.options.client_id),
            ("redirect_uri", &self.redirect()),
            ("scope", &scope),
            ("state", attempt.state()),
            ("nonce", &nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let url = with_query(&document.authorization_endpoint, &pairs).ok_or(Error::Stray)?;
        Ok((url, attempt.value(&self.key)))
    }

    /// Ends a sign-in of this cookie: who it was, and where it leads.
    pub async fn finish(
        &self,
        cookie: Option<&str>,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<(Person, String), Error> {
        let attempt = cookie.and_then(|value| Attempt::open(value, &self.key, &answer.state, now));
        let attempt = attempt.ok_or(Error::Stray)?;
        if answer.issuer.as_ref().is_some_and(|issuer| *issuer != self.options.issuer) {
            return Err(Error::Stray);
        }
        // Once, whatever comes of it.
        if !self.answered.end(attempt.state(), attempt.expires_at(), now) {
            return Err(Error::Stray);
        }
        if let Some(error) = &answer.error {
            let description = &answer.error_description;
            return Err(Error::Refused(said(&format!("{error} {description}")).trim_end().to_owned()));
        }
        let (client_id, client_secret) = (self.options.client_id.as_str(), self.secret.expose());
        let credentials = Credentials { client_id, client_secret };
        let verifier = attempt.verifier(&self.key);
        let token = self.provider.redeem(&answer.code, &verifier, &self.redirect(), credentials).await?;
        let claims = token::read(&self.provider, &token, &[client_id]).await?;
        token::check_answer(&claims, client_id, &attempt.nonce(&self.key))?;
        let person = token::person(&claims, &self.options)?;
        Ok((person, attempt.next().to_owned()))
    }

    /// Who shows this token of the provider.
    pub async fn bearer(&self, token: &str) -> Result<Person, Error> {
        let others = self.options.audiences.iter().map(String::as_str);
        let audiences: Vec<_> = std::iter::once(self.options.client_id.as_str()).chain(others).collect();
        let claims = token::read(&self.provider, token, &audiences).await?;
        token::person(&claims, &self.options)
    }

    /// Where one signs out of the provider too, if it has such a place and says so before long.
    pub async fn end_session_url(&self) -> Option<String> {
        let document = tokio::time::timeout(SOON, self.provider.document()).await.ok()?.ok()?;
        let back = format!("{}/sign-in", self.public_url);
        let pairs = [("client_id", self.options.client_id.as_str()), ("post_logout_redirect_uri", &back)];
        with_query(document.end_session_endpoint.as_deref()?, &pairs)
    }

    /// A session of this person.
    pub(super) fn session(&self, person: &Person, lives: Duration, now: Timestamp) -> Option<Session> {
        Session::begin(&person.to_holder(), &self.key, lives, now)
    }

    /// The session that a cookie holds, and whose it is.
    pub(super) fn open(&self, value: &str, now: Timestamp) -> Option<(Person, Session)> {
        let person = Person::of_holder(Session::holder_in(value)?)?;
        Some((person, Session::open(value, &self.key, now)?))
    }

    fn redirect(&self) -> String {
        format!("{}{CALLBACK}", self.public_url)
    }
}
