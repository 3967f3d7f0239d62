//! Who may do what: the holders of tokens, their roles, and the sessions of browsers.
//!
//! A token is shown in a header, or once on the sign-in page, which begins a session: a cookie that holds whose it is and
//! until when, sealed with that holder's token (HMAC-SHA256, RFC 2104). So nothing of a session is stored, and it ends
//! with its token. What a browser sends by itself is never enough to act: a form must show the session's form token.
//! Where an OpenID provider is configured (`oidc`), whoever it vouches for has a session, or shows its token, likewise.

mod ended;
pub mod oidc;
mod options;
mod role;
mod session;
mod token;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use jiff::Timestamp;

use self::ended::Ended;
use self::oidc::{Oidc, Person};
pub use options::{Anonymous, Options, TokenOptions};
pub use role::{InvalidRole, Role};
pub use session::Session;
pub use token::{Token, TokenError};

/// Who may do what. Clones share it.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

struct Inner {
    holders: Vec<Holder>,
    oidc: Option<Oidc>,
    anonymous: bool,
    /// Nobody said that anonymous readers are welcome: the browser's user must have meant this machine.
    only_local_names: bool,
    /// As `https://windlass.example.com`.
    public_url: Option<String>,
    secure: bool,
    lifetime: Duration,
    payloads: Role,
    /// Sessions that were ended before their time, by their nonces.
    ended: Ended,
}

/// Whoever has a token.
struct Holder {
    name: String,
    role: Role,
    token: Token,
    /// Of `operator_token_file`: many may hold it.
    is_shared: bool,
}

/// Whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// What it may do.
    pub role: Role,
    /// As configured; empty for who has shown no token.
    pub name: String,
    is_shared: bool,
    session: Option<Session>,
}

/// Why a request comes from nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// It shows nothing, and that is not enough here.
    Nobody,
    /// It shows a token that is none.
    WrongToken,
    /// It shows a token that the OpenID provider should have made.
    Oidc(oidc::Error),
}

/// The holder of `operator_token_file`.
const SHARED: &str = "operator";
/// The cookie of a session, and of a sign-in that is under way.
const SESSION_COOKIE: &str = "windlass";
const ATTEMPT_COOKIE: &str = "windlass-oidc";

// === impl Access ===

impl Access {
    /// As configured, for an endpoint that listens there.
    pub fn new(
        options: &Options,
        shared: Option<Token>,
        oidc: Option<Oidc>,
        public_url: Option<&str>,
        listens: SocketAddr,
    ) -> Result<Self, TokenError> {
        let mut holders: Vec<Holder> = shared.into_iter().map(Holder::of_all).collect();
        for TokenOptions { name, role, file } in &options.tokens {
            holders.push(Holder {
                name: name.clone(),
                role: *role,
                token: Token::read(file)?,
                is_shared: false,
            });
        }
        let is_local = listens.ip().is_loopback();
        Ok(Self(Arc::new(Inner {
            holders,
            oidc,
            anonymous: options.anonymous.map_or(is_local, |anonymous| anonymous == Anonymous::Viewer),
            only_local_names: options.anonymous.is_none(),
            public_url: public_url.map(|url| url.trim_end_matches('/').to_owned()),
            secure: options
                .secure_cookies
                .unwrap_or_else(|| public_url.is_some_and(|url| url.starts_with("https://"))),
            lifetime: options.session_lifetime,
            payloads: options.payloads,
            ended: Ended::default(),
        })))
    }

    /// Who is shown payloads, at least.
    pub fn payloads(&self) -> Role {
        self.0.payloads
    }

    /// On this machine: everybody reads, and whoever has the token, if there is one, does all.
    pub fn local(shared: Option<Token>) -> Self {
        let inner = Inner {
            holders: shared.into_iter().map(Holder::of_all).collect(),
            oidc: None,
            anonymous: true,
            only_local_names: true,
            public_url: None,
            secure: false,
            lifetime: Options::default().session_lifetime,
            payloads: Role::Viewer,
            ended: Ended::default(),
        };
        Self(Arc::new(inner))
    }

    /// Whether anybody has a token of the monitor's own.
    pub fn has_tokens(&self) -> bool {
        !self.0.holders.is_empty()
    }

    /// Whether there is any way to say who one is.
    pub fn can_be_told(&self) -> bool {
        self.has_tokens() || self.0.oidc.is_some()
    }

    /// The OpenID provider, if there is one.
    pub fn oidc(&self) -> Option<&Oidc> {
        self.0.oidc.as_ref()
    }

    /// Who asks with these headers. Only who shows a token of the OpenID provider may have to wait for it.
    pub async fn identify(&self, headers: &HeaderMap, now: Timestamp) -> Result<Principal, Unknown> {
        let found = self.who(headers, now);
        let (Err(Unknown::WrongToken), Some(oidc)) = (&found, &self.0.oidc) else { return found };
        match only(headers, &header::AUTHORIZATION).and_then(bearer) {
            Some(token) if token.split('.').count() == 3 => {
                let person = oidc.bearer(token).await.map_err(Unknown::Oidc)?;
                Ok(Principal::of(person, None))
            }
            _ => found,
        }
    }

    /// Who asks with these headers, as far as it is known here.
    pub fn who(&self, headers: &HeaderMap, now: Timestamp) -> Result<Principal, Unknown> {
        if headers.contains_key(header::AUTHORIZATION) && self.can_be_told() {
            let token = only(headers, &header::AUTHORIZATION).and_then(bearer);
            let holder = token.and_then(|token| self.holder_of(token)).ok_or(Unknown::WrongToken)?;
            return Ok(holder.principal(None));
        }
        if let Some(found) =
            cookies(headers, &self.cookie_name(SESSION_COOKIE)).find_map(|value| self.session(value, now))
        {
            return Ok(found);
        }
        if self.0.anonymous && (!self.0.only_local_names || self.is_local_name(headers)) {
            return Ok(Principal::anonymous());
        }
        Err(Unknown::Nobody)
    }

    /// Begins a session for who shows this token; returns who that is and the cookie to set.
    pub fn sign_in(&self, token: &str, now: Timestamp) -> Option<(Principal, String)> {
        let holder = self.holder_of(token.trim())?;
        let session = Session::begin(&holder.name, holder.token.as_bytes(), self.0.lifetime, now)?;
        let cookie = self.cookie(SESSION_COOKIE, session.value(), "Strict", self.0.lifetime);
        Some((holder.principal(Some(session)), cookie))
    }

    /// Begins a session for whom the OpenID provider vouches; returns who that is and the cookie to set. Browsers come
    /// from the provider's site, and bring no `Strict` cookie on the way to the page that they wanted.
    pub fn sign_in_person(&self, person: Person, now: Timestamp) -> Option<(Principal, String)> {
        let session = self.0.oidc.as_ref()?.session(&person, self.0.lifetime, now)?;
        let cookie = self.cookie(SESSION_COOKIE, session.value(), "Lax", self.0.lifetime);
        Some((Principal::of(person, Some(session)), cookie))
    }

    /// The cookie that holds a sign-in at the OpenID provider while it is under way; an empty one removes it.
    pub fn attempt_cookie(&self, value: &str) -> String {
        let lives = if value.is_empty() { Duration::ZERO } else { oidc::LASTS };
        self.cookie(ATTEMPT_COOKIE, value, "Lax", lives)
    }

    /// What that cookie holds.
    pub fn attempt_in<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let name = self.cookie_name(ATTEMPT_COOKIE);
        cookies(headers, &name).next()
    }

    /// Ends a session; returns the cookie that removes it.
    pub fn sign_out(&self, principal: &Principal) -> String {
        if let Some(session) = &principal.session {
            self.0.ended.end(session.nonce(), session.expires_at(), Timestamp::now());
        }
        self.cookie(SESSION_COOKIE, "", "Strict", Duration::ZERO)
    }

    /// Whether a request that a browser sends comes from a page of ours (Fetch Metadata; RFC 6454). What is no browser
    /// says neither, and has to show more than a cookie anyway.
    pub fn is_same_site(&self, headers: &HeaderMap) -> bool {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let fetch = text("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
        let ours = |origin: &str| {
            let host = origin.split_once("://").map(|(_, host)| host);
            (host.is_some() && host == text("host")) || Some(origin) == self.0.public_url.as_deref()
        };
        fetch && text("origin").is_none_or(ours)
    }

    fn holder_of(&self, token: &str) -> Option<&Holder> {
        // All are compared, so that how long it takes tells nothing of which.
        let holders = self.0.holders.iter();
        holders.fold(None, |found, holder| if holder.token.is(token) { Some(holder) } else { found })
    }

    fn session(&self, value: &str, now: Timestamp) -> Option<Principal> {
        let of_person = self.0.oidc.as_ref().and_then(|oidc| oidc.open(value, now));
        let found = if let Some((person, session)) = of_person {
            Principal::of(person, Some(session))
        } else {
            let name = Session::holder_in(value)?;
            let holder = self.0.holders.iter().find(|holder| holder.name == name)?;
            holder.principal(Some(Session::open(value, holder.token.as_bytes(), now)?))
        };
        found.session().is_none_or(|session| !self.0.ended.has(session.nonce())).then_some(found)
    }

    /// A name that another site cannot have point here (DNS rebinding).
    fn is_local_name(&self, headers: &HeaderMap) -> bool {
        let Some(host) = headers.get(header::HOST).and_then(|value| value.to_str().ok()) else { return true };
        if self
            .0
            .public_url
            .as_deref()
            .and_then(|url| url.split_once("://"))
            .is_some_and(|(_, ours)| ours == host)
        {
            return true;
        }
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
            _ => host,
        };
        let address = name.trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost") || address.parse::<std::net::IpAddr>().is_ok()
    }

    /// The prefix has browsers refuse it from anybody else (RFC 6265bis, section 4.1.3.2).
    fn cookie_name(&self, name: &str) -> String {
        let prefix = if self.0.secure { "__Host-" } else { "" };
        format!("{prefix}{name}")
    }

    fn cookie(&self, name: &str, value: &str, same_site: &str, lives: Duration) -> String {
        let (name, seconds) = (self.cookie_name(name), lives.as_secs());
        let secure = if self.0.secure { "; Secure" } else { "" };
        format!("{name}={value}; Path=/; HttpOnly; SameSite={same_site}; Max-Age={seconds}{secure}")
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.holders.iter().map(|holder| (&holder.name, holder.role)).collect();
        f.debug_struct("Access").field("holders", &names).field("anonymous", &self.0.anonymous).finish()
    }
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().filter(|_| values.next().is_none())?;
    first.to_str().ok()
}

/// The token of an `Authorization` header. The scheme's name has no case (RFC 9110, section 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

/// The values of the cookies of this name.
fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(found, _)| *found == name).map(|(_, value)| value)
}

// === impl Holder ===

impl Holder {
    fn of_all(token: Token) -> Self {
        Self { name: SHARED.to_owned(), role: Role::Admin, token, is_shared: true }
    }

    fn principal(&self, session: Option<Session>) -> Principal {
        Principal { role: self.role, name: self.name.clone(), is_shared: self.is_shared, session }
    }
}

// === impl Principal ===

impl Principal {
    /// Whoever has shown no token.
    pub fn anonymous() -> Self {
        Self { role: Role::Viewer, name: String::new(), is_shared: false, session: None }
    }

    /// Whom the OpenID provider vouches for.
    fn of(Person { name, role, .. }: Person, session: Option<Session>) -> Self {
        Self { role, name, is_shared: false, session }
    }

    /// Whether it has shown no token.
    pub fn is_anonymous(&self) -> bool {
        self.name.is_empty()
    }

    /// As histories and the log of actions name it: of the shared token, the way that it came by.
    pub fn who(&self) -> &str {
        match (self.is_shared, &self.session) {
            (true, None) => "api",
            (true, Some(_)) => "dashboard",
            (false, _) => &self.name,
        }
    }

    /// The browser's session, if it came by one.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// What a form of its session must show; empty where there is none.
    pub fn form_token(&self) -> &str {
        self.session.as_ref().map_or("", Session::form_token)
    }
}

#[cfg(test)]
mod tests;
