//! An OpenID provider: real discovery, keys, an authorization endpoint that asks nobody, and a token endpoint that checks
//! the client, the code and PKCE. It can be told to be wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) const CLIENT: &str = "windlass";
/// With characters that a form has to encode.
pub(crate) const SECRET: &str = "the+secret/of:the%client-of-32-characters";

/// What is wrong with the tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    /// Signed with a key that nobody knows, under the id of one that is known.
    Signature,
    Audience,
    Nonce,
    Issuer,
    Expired,
    /// `alg: none`.
    Unsigned,
    /// Signed with what whoever checks knows: the client's secret.
    Symmetric,
    /// For several, made for another client.
    OtherClient,
    /// The person says no.
    Denied,
    /// Its discovery document names somebody else.
    Discovery,
}

enum Key {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

struct Code {
    challenge: String,
    redirect: String,
    nonce: String,
}

struct Inner {
    url: String,
    /// The one that signs, by its id.
    key: (String, Key),
    codes: BTreeMap<String, Code>,
    fault: Fault,
    claims: Value,
    begun: u64,
}

pub(crate) struct Provider {
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    serving: Option<JoinHandle<()>>,
}

// === impl Key ===

impl Key {
    fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn algorithm(&self) -> &'static str {
        if matches!(self, Self::Rsa(_)) { "RS256" } else { "ES256" }
    }

    fn public(&self, id: &str) -> Value {
        match self {
            Self::Rsa(pair) => {
                let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
                let [n, e] = [n, e].map(|part| encode(part.big_endian_without_leading_zero()));
                json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": id, "n": n, "e": e })
            }
            Self::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": encode(x), "y": encode(y) })
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Self::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
        }
    }
}

// === impl Inner ===

impl Inner {
    /// A token with these claims besides those of the person, wrong as it was told.
    fn token(&self, others: &Value) -> String {
        let now = Timestamp::now().as_second();
        let (id, key) = &self.key;
        let mut claims = json!({ "iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300 });
        for more in [&self.claims, others] {
            for (name, value) in more.as_object().unwrap() {
                claims[name] = value.clone();
            }
        }
        match self.fault {
            Fault::Audience => claims["aud"] = "somebody-else".into(),
            Fault::Nonce => claims["nonce"] = "of-another-sign-in".into(),
            Fault::Issuer => claims["iss"] = "https://another.example.com".into(),
            Fault::Expired => claims["exp"] = (now - 3600).into(),
            Fault::OtherClient => {
                claims["aud"] = json!([CLIENT, "x"]);
                claims["azp"] = "x".into();
            }
            _ => {}
        }
        let algorithm = match self.fault {
            Fault::Unsigned => "none",
            Fault::Symmetric => "HS256",
            _ => key.algorithm(),
        };
        let header = json!({ "typ": "JWT", "alg": algorithm, "kid": id });
        let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = match self.fault {
            Fault::Unsigned => Vec::new(),
            Fault::Signature => Key::rsa().sign(message.as_bytes()),
            Fault::Symmetric => {
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
                ring::hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
            }
            _ => key.sign(message.as_bytes()),
        };
        format!("{message}.{}", encode(signature))
    }
}

// === impl Provider ===

impl Provider {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{address}/realms/main");
        let inner = Inner {
            url: url.clone(),
            key: ("first".to_owned(), Key::rsa()),
            codes: BTreeMap::new(),
            fault: Fault::None,
            claims: json!({}),
            begun: 0,
        };
        let mut provider = Self { url, address, inner: Arc::new(Mutex::new(inner)), serving: None };
        provider.serve(listener);
        provider
    }

    fn serve(&mut self, listener: TcpListener) {
        let routes = Router::new()
            .route("/realms/main/.well-known/openid-configuration", get(discovery))
            .route("/realms/main/keys", get(keys))
            .route("/realms/main/authorize", get(authorize))
            .route("/realms/main/token", post(token))
            .with_state(self.inner.clone());
        self.serving = Some(tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() }));
    }

    /// Ends it; connections are refused from then on.
    pub(crate) async fn stop(&mut self) {
        let serving = self.serving.take().unwrap();
        serving.abort();
        assert!(serving.await.unwrap_err().is_cancelled());
    }

    /// Starts it again where it was.
    pub(crate) async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serve(listener);
    }

    pub(crate) fn fail_by(&self, fault: Fault) {
        self.inner.lock().unwrap().fault = fault;
    }

    /// Who signs in from now on.
    pub(crate) fn person(&self, email: &str, groups: &[&str]) {
        self.inner.lock().unwrap().claims = json!({
            "sub": format!("subject-of-{email}"), "email": email, "email_verified": true, "groups": groups,
        });
    }

    /// Signs with another key from now on, of another sort, and forgets the one before.
    pub(crate) fn change_key(&self) {
        self.inner.lock().unwrap().key = ("second".to_owned(), Key::ec());
    }

    /// A token for a program, with these claims besides.
    #[allow(clippy::needless_pass_by_value, reason = "they are made where they are passed")]
    pub(crate) fn token(&self, claims: Value) -> String {
        self.inner.lock().unwrap().token(&claims)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

type Shared = State<Arc<Mutex<Inner>>>;
type Pairs = Query<BTreeMap<String, String>>;

async fn discovery(State(inner): Shared) -> Json<Value> {
    let inner = inner.lock().unwrap();
    let (url, other) = (&inner.url, inner.fault == Fault::Discovery);
    Json(json!({
        "issuer": if other { "https://another.example.com" } else { url },
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/keys"),
        "end_session_endpoint": format!("{url}/logout"),
    }))
}

async fn keys(State(inner): Shared) -> Json<Value> {
    let inner = inner.lock().unwrap();
    // Beside it one of a sort that nobody knows, and one that does not sign.
    let mut encrypts = Key::rsa().public("encrypts");
    encrypts["use"] = "enc".into();
    let unknown = json!({ "kty": "XYZ", "kid": "unknown", "alg": "XY999" });
    Json(json!({ "keys": [unknown, encrypts, inner.key.1.public(&inner.key.0)] }))
}

async fn authorize(State(inner): Shared, Query(asked): Pairs) -> Response {
    let mut inner = inner.lock().unwrap();
    let of = |name: &str| asked.get(name).cloned().unwrap_or_default();
    assert_eq!((of("response_type").as_str(), of("client_id").as_str()), ("code", CLIENT));
    assert_eq!(of("code_challenge_method"), "S256");
    assert!(of("scope").split(' ').any(|scope| scope == "openid"), "{asked:?}");
    let (redirect, state, issuer) = (of("redirect_uri"), of("state"), encoded(&inner.url));
    if inner.fault == Fault::Denied {
        let why = "error=access_denied&error_description=%3Cb%3Eyou+may+not%3C%2Fb%3E";
        return Redirect::to(&format!("{redirect}?{why}&state={state}&iss={issuer}")).into_response();
    }
    inner.begun += 1;
    let code = format!("code-{}", inner.begun);
    let given = Code { challenge: of("code_challenge"), redirect: redirect.clone(), nonce: of("nonce") };
    inner.codes.insert(code.clone(), given);
    Redirect::to(&format!("{redirect}?code={code}&state={state}&iss={issuer}")).into_response()
}

async fn token(State(inner): Shared, headers: HeaderMap, body: String) -> Response {
    let mut inner = inner.lock().unwrap();
    let asked: BTreeMap<String, String> =
        reqwest::Url::parse(&format!("http://x/?{body}")).unwrap().query_pairs().into_owned().collect();
    let of = |name: &str| asked.get(name).cloned().unwrap_or_default();
    let refuse = |error: &str, why: &str| {
        let body = json!({ "error": error, "error_description": why });
        (StatusCode::BAD_REQUEST, Json(body)).into_response()
    };
    // RFC 6749, section 2.3.1.
    let right = BASE64_STANDARD.encode(format!("{CLIENT}:{}", encoded(SECRET)));
    if headers.get("authorization").is_none_or(|shown| shown.to_str().unwrap() != format!("Basic {right}")) {
        return refuse("invalid_client", "wrong secret");
    }
    let Some(code) = inner.codes.remove(&of("code")) else { return refuse("invalid_grant", "no such code") };
    let digest = ring::digest::digest(&ring::digest::SHA256, of("code_verifier").as_bytes());
    if encode(digest) != code.challenge || of("code_verifier").len() < 43 {
        return refuse("invalid_grant", "wrong code_verifier");
    }
    if of("redirect_uri") != code.redirect || of("grant_type") != "authorization_code" {
        return refuse("invalid_grant", "wrong redirect_uri");
    }
    let id_token = inner.token(&json!({ "nonce": code.nonce }));
    Json(json!({ "access_token": "opaque", "token_type": "Bearer", "expires_in": 300, "id_token": id_token }))
        .into_response()
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
