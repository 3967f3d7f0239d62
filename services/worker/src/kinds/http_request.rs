//! `http.request`: one HTTP request.
//!
//! Takes `{"url": "…"}` and, if wanted, `"method"` (default `GET`), `"headers"` (names and values), `"body"` (text) and
//! `"timeout_seconds"` (default: the setting `timeout`; at most the attempt's time limit).
//!
//! Gives `{"status": n, "headers": {…}, "body": "…", "truncated": false}`. **Every answer below 500 but 408 and 429 is
//! a result**: the job succeeds, and who asked decides what a 404 means. 408, 429 and everything from 500 up fail the
//! attempt, with the code `http_<status>`; where a 429 or 503 says `Retry-After`, the next attempt comes then, at most
//! `retry_after_limit` later. No connection, or no answer in time, fails the attempt as well.
//!
//! Header names are in lower case, values of the same name joined by `, `. Of headers and body the beginning is kept.
//! Redirections are results unless `max_redirects` says to follow them.
//!
//! Unless `allow_hosts` names the hosts, whoever may publish to the queue reaches whatever the worker's network reaches.
//! It compares names; what they resolve to is for the network's own rules.

mod retry_after;
mod settings;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use jiff::Timestamp;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Request, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};
use windlass::worker::context::Context;
use windlass::{Failure, Job, State};

use super::excerpt::{Excerpt, json_bytes};
use super::failing::{Failing, failure};
use super::payload::Invalid;
use super::time_limit::time_limit;
pub use settings::Settings;

/// The payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpRequest {
    /// Of `http` or `https`.
    pub url: String,
    /// One of GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS; GET, if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// What is sent beside the body.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// From the connection to the answer's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
}

/// The result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// As 200.
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its beginning.
    pub body: String,
    /// Whether something of headers or body is left out.
    pub truncated: bool,
}

/// A request gave no result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The payload asks for what cannot be.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The settings forbid it.
    #[error("the host `{host}` is not in worker.http.allow_hosts")]
    NotAllowed {
        /// As the URL names it.
        host: String,
    },
    /// An answer that another attempt may better.
    #[error("the server answered {status}{}{body}", if body.is_empty() { "" } else { ": " })]
    Status {
        /// 408, 429, or from 500 up.
        status: StatusCode,
        /// As the server wishes, within the settings.
        retry_after: Option<Duration>,
        /// Its beginning.
        body: String,
    },
    /// A redirection that is not followed.
    #[error("redirected where this worker does not go")]
    Redirected(#[source] reqwest::Error),
    /// No answer.
    #[error("no answer within {} s", limit.as_secs_f64())]
    TimedOut {
        /// The most that it might take.
        limit: Duration,
    },
    /// No connection, or one that broke.
    #[error("the request failed")]
    Failed(#[source] reqwest::Error),
    /// This worker cannot make requests at all.
    #[error("this worker cannot make requests")]
    NoClient(#[source] Arc<reqwest::Error>),
    /// The attempt was told to stop.
    #[error("stopped")]
    Stopped,
}

/// Requests, within the settings.
#[derive(Debug)]
pub(crate) struct Requester {
    settings: Settings,
    /// Without it, as on a machine without any certificates, the other kinds still work.
    client: Result<Client, Arc<reqwest::Error>>,
}

const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
/// These say where a message goes or ends, which is not the task's to say: `host` would get around `allow_hosts`.
const RESERVED_HEADERS: [HeaderName; 6] = [
    http::header::HOST,
    http::header::CONNECTION,
    http::header::CONTENT_LENGTH,
    http::header::TRANSFER_ENCODING,
    http::header::TE,
    http::header::UPGRADE,
];
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Of an answer's headers, as JSON.
const HEADERS_LIMIT_BYTES: usize = 16 * 1024;
/// Of an answer's body that goes into an error.
const ERROR_BODY_BYTES: usize = 512;

impl Job for HttpRequest {
    const KIND: &'static str = "http.request";
}

pub(crate) async fn handle(
    job: HttpRequest,
    context: Context,
    State(requester): State<Arc<Requester>>,
) -> Result<Answered, Failure> {
    let answered = requester.request(job, context.timeout());
    tokio::select! {
        answered = answered => answered,
        () = context.cancelled() => Err(Error::Stopped),
    }
    .map_err(failure)
}

// === impl Requester ===

impl Requester {
    pub(crate) fn new(settings: Settings) -> Self {
        let mut client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(policy(settings.clone()))
            .user_agent(concat!("windlass-worker/", env!("CARGO_PKG_VERSION")));
        if !settings.proxy_from_environment {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| {
            tracing::warn!(error = ?error, "requests cannot be made: jobs of the kind http.request will fail");
            Arc::new(error)
        });
        Self { settings, client }
    }

    async fn request(&self, job: HttpRequest, attempt_timeout: Duration) -> Result<Answered, Error> {
        let limit = time_limit(job.timeout_seconds, self.settings.timeout, attempt_timeout)?;
        let request = self.build(job)?;
        let client = self.client.as_ref().map_err(|error| Error::NoClient(Arc::clone(error)))?;
        let exchange = async {
            let response = client.execute(request).await.map_err(from_client)?;
            self.read(response).await
        };
        tokio::time::timeout(limit, exchange).await.unwrap_or(Err(Error::TimedOut { limit }))
    }

    fn build(&self, job: HttpRequest) -> Result<Request, Error> {
        let url: Url =
            job.url.parse().map_err(|error| Invalid::new("url", format!("`{}`: {error}", job.url)))?;
        if !matches!(url.scheme(), "http" | "https") {
            let reason = format!("has the scheme `{}`: expected http or https", url.scheme());
            return Err(Invalid::new("url", reason).into());
        }
        if !self.settings.allows(&url) {
            return Err(Error::NotAllowed { host: url.host_str().unwrap_or_default().to_owned() });
        }
        let method = match job.method {
            None => Method::GET,
            Some(name) => METHODS.into_iter().find(|method| method.as_str() == name).ok_or_else(|| {
                let names = METHODS.map(|method| method.to_string()).join(", ");
                Invalid::new("method", format!("is `{name}`: expected one of {names}"))
            })?,
        };
        let mut request = Request::new(method, url);
        for (name, value) in &job.headers {
            let invalid = |reason: &str| Invalid::new("headers", format!("`{name}` {reason}"));
            let name = HeaderName::try_from(name).map_err(|_| invalid("is not the name of a header"))?;
            if RESERVED_HEADERS.contains(&name) {
                return Err(invalid("is not for tasks to set").into());
            }
            let value =
                HeaderValue::try_from(value).map_err(|_| invalid("has a value that no header may have"))?;
            request.headers_mut().insert(name, value);
        }
        *request.body_mut() = job.body.map(Into::into);
        Ok(request)
    }

    async fn read(&self, mut response: Response) -> Result<Answered, Error> {
        let status = response.status();
        let retry = status.is_server_error()
            || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
            || status.as_u16() >= 600;
        let limit = if retry { ERROR_BODY_BYTES } else { self.settings.body_limit_bytes };
        let mut body = Excerpt::new(limit);
        // What comes after the excerpt is not waited for; the connection is closed then.
        while !body.is_full()
            && let Some(chunk) = response.chunk().await.map_err(from_client)?
        {
            body.push(&chunk);
        }
        let (body, body_cut) = body.into_text();
        if retry {
            let retry_after = match status {
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    retry_after::parse(response.headers().get(RETRY_AFTER), Timestamp::now())
                }
                _ => None,
            };
            let retry_after = retry_after.map(|delay| delay.min(self.settings.retry_after_limit));
            return Err(Error::Status { status, retry_after, body });
        }
        let (headers, headers_cut) = headers_within(response.headers(), HEADERS_LIMIT_BYTES);
        Ok(Answered { status: status.as_u16(), headers, body, truncated: body_cut || headers_cut })
    }
}

/// As many headers as the limit has room for, and whether some are left out.
fn headers_within(all: &HeaderMap, limit: usize) -> (BTreeMap<String, String>, bool) {
    let (mut kept, mut used, mut cut) = (BTreeMap::new(), 0, false);
    for name in all.keys() {
        let values: Vec<_> =
            all.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        let value = values.join(", ");
        // Quotes, a colon and a comma.
        let needed = name.as_str().len() + json_bytes(&value) + 6;
        if used + needed > limit {
            cut = true;
            continue;
        }
        used += needed;
        kept.insert(name.to_string(), value);
    }
    (kept, cut)
}

/// Follows as the settings say; no further than hosts that they allow.
fn policy(settings: Settings) -> Policy {
    if settings.max_redirects == 0 {
        return Policy::none();
    }
    Policy::custom(move |attempt| {
        if attempt.previous().len() > settings.max_redirects {
            return attempt.error("there are too many redirections");
        }
        if !settings.allows(attempt.url()) {
            return attempt.error("the host is not in worker.http.allow_hosts");
        }
        attempt.follow()
    })
}

fn from_client(error: reqwest::Error) -> Error {
    // A URL may hold a password.
    let error = error.without_url();
    if error.is_redirect() { Error::Redirected(error) } else { Error::Failed(error) }
}

// === impl Error ===

impl Failing for Error {
    fn code(&self) -> String {
        let code = match self {
            Self::Invalid(invalid) => return invalid.code(),
            Self::Status { status, .. } => return format!("http_{}", status.as_u16()),
            Self::NotAllowed { .. } => "not_allowed",
            Self::Redirected(_) => "redirected",
            Self::TimedOut { .. } => "timeout",
            Self::Failed(error) if error.is_timeout() => "timeout",
            Self::Failed(error) if error.is_connect() => "connect",
            Self::Failed(_) | Self::NoClient(_) => "http",
            Self::Stopped => "stopped",
        };
        code.to_owned()
    }

    fn is_terminal(&self) -> bool {
        match self {
            Self::Invalid(_) | Self::NotAllowed { .. } | Self::Redirected(_) => true,
            Self::Failed(error) => error.is_builder(),
            Self::Status { .. } | Self::TimedOut { .. } | Self::NoClient(_) | Self::Stopped => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
