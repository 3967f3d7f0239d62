//! The provider: its discovery document (OpenID Connect Discovery 1.0), its keys (RFC 7517), its token endpoint.
//!
//! What it has said is kept for an hour, so it is asked rarely; a key that is not known yet (it has changed its keys) is
//! looked for at once, but then not again for ten seconds, whatever strangers show. While it is away, what is
//! known already holds on for a day, and whoever needs more is told after one time-out, not each after one of their own.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, Response, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::{Error, said};
use super::options::checked;

/// A provider, and what is known of it.
pub(super) struct Provider {
    issuer: String,
    http: Client,
    document: Mutex<Asked<Document>>,
    keys: Mutex<Asked<Vec<Jwk>>>,
}

/// What a provider says of itself: the parts that are used here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Document {
    issuer: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    pub(super) end_session_endpoint: Option<String>,
    #[serde(default = "basic")]
    token_endpoint_auth_methods_supported: Vec<String>,
}

/// Who asks for a token.
pub(super) struct Credentials<'a> {
    pub(super) client_id: &'a str,
    pub(super) client_secret: &'a str,
}

/// What the token endpoint gives.
#[derive(Deserialize)]
struct Tokens {
    id_token: Option<String>,
}

/// Why it gives none (RFC 6749, section 5.2).
#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_description: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// Something that is asked for now and then.
struct Asked<T> {
    found: Option<(Arc<T>, Instant)>,
    failed: Option<(Error, Instant)>,
    /// When something that was not there was last looked for anew.
    sought: Option<Instant>,
}

/// For one call.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What is known is fresh for so long,
const FRESH: Duration = Duration::from_hours(1);
/// and good for so long, if the provider does not answer.
const GOOD: Duration = Duration::from_hours(24);
/// So long nobody asks again after a failure,
const AFTER_FAILURE: Duration = Duration::from_secs(3);
/// or longer while what is known is good,
const WHILE_GOOD: Duration = Duration::from_mins(1);
/// and for a key that was not there.
const AFTER_SEARCH: Duration = Duration::from_secs(10);
/// Of an answer.
const MOST_BYTES: usize = 512 * 1024;
const FORM: &str = "application/x-www-form-urlencoded";

// === impl Provider ===

impl Provider {
    pub(super) fn new(issuer: &str) -> Result<Self, reqwest::Error> {
        let mut http = Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
        if issuer.starts_with("http://") {
            // It is on this machine, and a proxy of the environment leads out of it.
            http = http.no_proxy();
        }
        let http = http.build()?;
        Ok(Self {
            issuer: issuer.to_owned(),
            http,
            document: Mutex::new(Asked::new()),
            keys: Mutex::new(Asked::new()),
        })
    }

    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What it says of itself.
    pub(super) async fn document(&self) -> Result<Arc<Document>, Error> {
        self.document.lock().await.get(FRESH, self.discover()).await
    }

    /// The key that a token was signed with; none if the provider has no such key.
    pub(super) async fn key(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Option<DecodingKey>, Error> {
        let mut keys = self.keys.lock().await;
        let known = keys.get(FRESH, self.ask_keys()).await?;
        if let Some(found) = choose(&known, id, algorithm) {
            return Ok(Some(found));
        }
        let failed_lately = keys.failed.as_ref().is_some_and(|(_, at)| at.elapsed() < AFTER_FAILURE);
        if !failed_lately && keys.sought.is_none_or(|at| at.elapsed() >= AFTER_SEARCH) {
            // The provider may have changed its keys. That those of before are good does not help here.
            keys.failed = None;
            let known = keys.get(Duration::ZERO, self.ask_keys()).await?;
            keys.sought = keys.failed.is_none().then(Instant::now);
            if let Some(found) = choose(&known, id, algorithm) {
                return Ok(Some(found));
            }
        }
        // Whoever cannot be asked may have it.
        keys.failed.as_ref().map_or(Ok(None), |(error, _)| Err(error.clone()))
    }

    /// Redeems a code for an ID token.
    pub(super) async fn redeem(
        &self,
        code: &str,
        verifier: &str,
        redirect: &str,
        Credentials { client_id, client_secret }: Credentials<'_>,
    ) -> Result<String, Error> {
        let document = self.document().await?;
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect),
            ("code_verifier", verifier),
        ];
        let request = self.http.post(&document.token_endpoint).header(CONTENT_TYPE, FORM);
        let takes =
            |name: &str| document.token_endpoint_auth_methods_supported.iter().any(|known| known == name);
        let request = if takes("client_secret_basic") {
            // RFC 6749, section 2.3.1: both are encoded as a form's fields are.
            request.basic_auth(encoded(client_id), Some(encoded(client_secret)))
        } else if takes("client_secret_post") {
            pairs.extend([("client_id", client_id), ("client_secret", client_secret)]);
            request
        } else {
            let methods = said(&document.token_endpoint_auth_methods_supported.join(", "));
            let reason = format!(
                "it takes {methods}, expected client_secret_basic or client_secret_post for this client"
            );
            return Err(self.away(reason));
        };
        let answer = self.send(request.body(form(&pairs))).await?;
        if !answer.status().is_success() {
            let status = answer.status();
            return Err(match self.read::<Refusal>(answer).await {
                Ok(Refusal { error, error_description }) => {
                    Error::Refused(said(&format!("{error} {error_description}")).trim_end().to_owned())
                }
                Err(_) => self.away(format!("its token endpoint answers {status}")),
            });
        }
        let tokens: Tokens = self.read(answer).await?;
        tokens.id_token.ok_or_else(|| self.away("its token endpoint gave no id_token"))
    }

    async fn discover(&self) -> Result<Document, Error> {
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let document: Document = self.fetch(&url).await?;
        if document.issuer != self.issuer {
            let found = said(&document.issuer);
            let reason =
                format!("its discovery document names the issuer `{found}`: expected monitor.oidc.issuer");
            return Err(self.away(reason));
        }
        for url in [&document.authorization_endpoint, &document.token_endpoint, &document.jwks_uri] {
            // An authorization endpoint may have a query (RFC 6749, section 3.1).
            if checked(url.split('?').next().unwrap_or_default()).is_err() {
                return Err(
                    self.away(format!("its discovery document names `{}`: expected https", said(url)))
                );
            }
        }
        Ok(document)
    }

    async fn ask_keys(&self) -> Result<Vec<Jwk>, Error> {
        let document = self.document().await?;
        let set: KeySet = self.fetch(&document.jwks_uri).await?;
        // A key of a sort that is not known here is none that a token could be checked with.
        Ok(set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect())
    }

    async fn fetch<T: DeserializeOwned>(&self, url: &str) -> Result<T, Error> {
        let answer = self.send(self.http.get(url)).await?;
        if !answer.status().is_success() {
            return Err(self.away(format!("{url} answers {}", answer.status())));
        }
        self.read(answer).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let sent = request.header(ACCEPT, "application/json").send().await;
        sent.map_err(|error| self.away(chain(&error)))
    }

    async fn read<T: DeserializeOwned>(&self, mut answer: Response) -> Result<T, Error> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.away(chain(&error)))? {
            if body.len() + chunk.len() > MOST_BYTES {
                return Err(self.away(format!("an answer is longer than {MOST_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        // What the answer is, is not repeated: it may hold a token.
        let place =
            |error: serde_json::Error| format!("an answer is not as expected at column {}", error.column());
        serde_json::from_slice(&body).map_err(|error| self.away(place(error)))
    }

    fn away(&self, reason: impl Into<String>) -> Error {
        Error::Away { issuer: self.issuer.clone(), reason: reason.into() }
    }
}

// === impl Asked ===

impl<T> Asked<T> {
    const fn new() -> Self {
        Self { found: None, failed: None, sought: None }
    }

    /// What is known, if it is no older than this; else what is answered now.
    async fn get(
        &mut self,
        no_older: Duration,
        ask: impl Future<Output = Result<T, Error>>,
    ) -> Result<Arc<T>, Error> {
        let fit = |most: Duration, found: &Option<(Arc<T>, Instant)>| {
            found.as_ref().filter(|(_, at)| at.elapsed() < most).map(|(value, _)| value.clone())
        };
        if let Some(value) = fit(no_older, &self.found) {
            return Ok(value);
        }
        // Whoever has something that is good still need not wait for the next.
        let pause = if fit(GOOD, &self.found).is_some() { WHILE_GOOD } else { AFTER_FAILURE };
        let failed = match self.failed.clone().filter(|(_, at)| at.elapsed() < pause) {
            Some((error, _)) => error,
            None => match ask.await {
                Ok(value) => {
                    let value = Arc::new(value);
                    (self.found, self.failed) = (Some((value.clone(), Instant::now())), None);
                    return Ok(value);
                }
                Err(error) => {
                    tracing::warn!(error = error.to_string(), "the identity provider could not be asked");
                    self.failed = Some((error.clone(), Instant::now()));
                    error
                }
            },
        };
        fit(GOOD, &self.found).ok_or(failed)
    }
}

/// The key of this id that fits the algorithm; of a token without one, the only key that does.
fn choose(keys: &[Jwk], id: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
    let fits = |key: &&Jwk| {
        let signs = key.common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
        let same = key.common.key_algorithm.is_none_or(|of| of.to_string() == format!("{algorithm:?}"));
        let sort = match (&key.algorithm, algorithm) {
            (AlgorithmParameters::RSA(_), _) => algorithm.family() == AlgorithmFamily::Rsa,
            (AlgorithmParameters::EllipticCurve(curve), Algorithm::ES256) => {
                curve.curve == EllipticCurve::P256
            }
            (AlgorithmParameters::EllipticCurve(curve), Algorithm::ES384) => {
                curve.curve == EllipticCurve::P384
            }
            (AlgorithmParameters::OctetKeyPair(pair), Algorithm::EdDSA) => {
                pair.curve == EllipticCurve::Ed25519
            }
            _ => false,
        };
        signs && same && sort
    };
    let mut fitting = keys.iter().filter(fits);
    let found = match id {
        Some(id) => fitting.find(|key| key.common.key_id.as_deref() == Some(id)),
        None => fitting.next().filter(|_| fitting.next().is_none()),
    };
    found.and_then(|key| DecodingKey::from_jwk(key).ok())
}

fn basic() -> Vec<String> {
    vec!["client_secret_basic".to_owned()]
}

/// An error of the client with its causes, without the address.
fn chain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", TIMEOUT.as_secs());
    }
    let mut causes = vec![error.to_string()];
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    said(&causes.join(": "))
}

/// The fields of a form, encoded.
pub(super) fn form(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    pairs.join("&")
}

/// An address with these parameters added to its query.
pub(super) fn with_query(address: &str, pairs: &[(&str, &str)]) -> Option<String> {
    Url::parse_with_params(address, pairs).ok().map(String::from)
}

/// What RFC 3986 leaves as it is, stays.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let part = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(part).collect()
}
