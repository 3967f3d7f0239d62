//! One connection to the broker, and what is known of its state.

mod error;
mod reports;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{ConnectOptions, HeaderMap, Message, Request};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use self::reports::on_event;
use crate::Names;
use crate::answer::{Answer, read_answer};
use crate::clock::Clock;
use crate::elections::Elections;
use crate::options::{Auth, Options};
use crate::publish::Gathered;
use crate::silence::Silence;
use crate::storing::Storing;
use crate::unread::Unread;

pub use self::error::{Cause, Error};

/// Whether we are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// Now.
    pub connected: bool,
    /// How many times we have been: grows with each (re)connection.
    pub epoch: u64,
    /// The client has given up and must be made anew; so must whatever holds it.
    pub closed: bool,
}

/// A connection. Clones share it, and are cheap: each message has one.
#[derive(Clone)]
pub struct Broker {
    shared: Arc<Shared>,
}

struct Shared {
    client: async_nats::Client,
    jetstream: async_nats::jetstream::Context,
    names: Names,
    api_prefix: String,
    status: watch::Receiver<Status>,
    denied: watch::Receiver<Denied>,
    /// Room for jobs whose short timers wait in this process.
    soon: Arc<Semaphore>,
    gathered: Gathered,
    known: Known,
}

/// What was learnt on this connection.
#[derive(Default)]
struct Known {
    clock: Clock,
    silence: Arc<Silence>,
    storing: Storing,
    unread: Unread,
    elections: Elections,
}

/// What the broker last refused for lack of rights; it says so beside the request, not as its answer.
#[derive(Debug, Clone, Default)]
struct Denied {
    count: u64,
    text: String,
}

/// Refusals of requests on one subject, for lack of a right.
#[derive(Debug)]
pub struct Denials {
    denied: watch::Receiver<Denied>,
    seen: u64,
    quoted: String,
}

/// How long an answer is waited for before it is listened for a refusal as well.
const LISTEN_AFTER: Duration = Duration::from_millis(100);
/// Where an account has its own JetStream's API.
const API_PREFIX: &str = "$JS.API";
/// Between two tries to connect again.
const LONGEST_RECONNECT_DELAY: Duration = Duration::from_millis(500);

// === impl Broker ===

impl Broker {
    /// Connects, once. Later the connection comes back by itself.
    pub async fn connect(options: Options) -> Result<Self, Error> {
        let (status_tx, status) = watch::channel(Status::default());
        let (denied_tx, denied) = watch::channel(Denied::default());
        let mut connect = match &options.auth {
            Auth::None => ConnectOptions::new(),
            Auth::UserPassword { user, password } => {
                ConnectOptions::with_user_and_password(user.clone(), password.reveal().to_owned())
            }
            Auth::Token(token) => ConnectOptions::with_token(token.reveal().to_owned()),
            Auth::CredentialsFile(path) => ConnectOptions::with_credentials_file(path)
                .await
                .map_err(|source| Error::Credentials { path: path.clone(), source })?,
        };
        connect = connect
            .name(&options.client_name)
            .connection_timeout(options.connect_timeout)
            // Half-open connections are found within twice this.
            .ping_interval(Duration::from_secs(10))
            // Quick at first, never slow: a fleet should be back within a second of its broker.
            .reconnect_delay_callback(|attempts| {
                if attempts < 4 {
                    Duration::from_millis(50 * attempts as u64)
                } else {
                    LONGEST_RECONNECT_DELAY
                }
            })
            .request_timeout(Some(Duration::from_secs(10)))
            .event_callback(move |event| {
                on_event(&event, &status_tx, &denied_tx);
                std::future::ready(())
            });
        let servers: Vec<&str> = options.url.split(',').map(str::trim).collect();
        if let Some(bound) = options.give_up_after {
            let each = options.connect_timeout.min(Duration::from_secs(1));
            let tries = bound.as_millis() / (each + LONGEST_RECONNECT_DELAY).as_millis();
            let tries = usize::try_from(tries).unwrap_or(usize::MAX).max(servers.len());
            connect = connect.connection_timeout(each).max_reconnects(tries);
        }
        if let Some(prefix) = &options.inbox_prefix {
            connect = connect.custom_inbox_prefix(prefix);
        }
        if let Some(ca) = options.tls_ca {
            connect = connect.add_root_certificates(ca).require_tls(true);
        }
        let client = connect
            .connect(servers)
            .await
            .map_err(|error| Error::Connect { url: options.url.clone(), source: error.into() })?;
        let mut status = status;
        // The event may come after the connection is handed out.
        let connected = status.wait_for(|s| s.connected);
        if tokio::time::timeout(options.connect_timeout, connected).await.is_err() {
            return Err(Error::Closed);
        }
        let api_prefix = options.api_prefix.unwrap_or_else(|| API_PREFIX.to_owned());
        let jetstream = async_nats::jetstream::with_prefix(client.clone(), &api_prefix);
        let soon = Arc::new(Semaphore::new(crate::jobs::soon::ROOM_KIB));
        let (names, known, gathered) = (options.names, Known::default(), Gathered::default());
        let shared = Shared { client, jetstream, names, api_prefix, status, denied, soon, gathered, known };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(crate) fn client(&self) -> &async_nats::Client {
        &self.shared.client
    }

    pub(crate) fn jetstream(&self) -> &async_nats::jetstream::Context {
        &self.shared.jetstream
    }

    /// The names of this fleet.
    pub fn names(&self) -> &Names {
        &self.shared.names
    }

    pub(crate) fn soon(&self) -> Arc<Semaphore> {
        Arc::clone(&self.shared.soon)
    }

    pub(crate) fn unread(&self) -> &Unread {
        &self.shared.known.unread
    }

    pub(crate) fn elections_heard(&self) -> &Elections {
        &self.shared.known.elections
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.shared.known.clock
    }

    pub(crate) fn silence(&self) -> &Arc<Silence> {
        &self.shared.known.silence
    }

    pub(crate) fn storing(&self) -> &Storing {
        &self.shared.known.storing
    }

    pub(crate) fn gathered(&self) -> &Gathered {
        &self.shared.gathered
    }

    /// Whether the streams are in our own account, not imported from another.
    pub(crate) fn is_in_account_of_streams(&self) -> bool {
        self.shared.api_prefix == API_PREFIX
    }

    /// Where JetStream's API has a call.
    pub(crate) fn api_subject(&self, call: &str) -> String {
        format!("{}.{call}", self.shared.api_prefix)
    }

    /// Whether we are connected, and how often we have been.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.status.clone()
    }

    /// A bucket by its name, unseen.
    pub fn bucket(&self, name: String) -> crate::kv::Bucket {
        crate::kv::Bucket::new(self.clone(), name)
    }

    /// The most that one message may have.
    pub fn max_payload_bytes(&self) -> usize {
        self.client().max_payload()
    }

    /// How many times we have been connected.
    pub(crate) fn epoch(&self) -> u64 {
        self.shared.status.borrow().epoch
    }

    /// Sends what is buffered and closes, within a bound.
    pub async fn drain(&self) {
        let flushed = tokio::time::timeout(Duration::from_secs(2), self.client().flush()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("the connection closed before everything was sent");
        }
        let _ = tokio::time::timeout(Duration::from_secs(2), self.client().drain()).await;
    }

    /// Whether something can be sent now.
    pub(crate) fn is_connected(&self) -> bool {
        self.shared.status.borrow().connected
    }

    /// Waits until something can be sent.
    pub(crate) async fn connected(&self, until: Instant) -> Result<(), Error> {
        if self.is_connected() {
            return Ok(());
        }
        let mut status = self.status();
        match timeout_at(until, status.wait_for(|s| s.connected || s.closed)).await {
            Ok(Ok(status)) if status.connected => Ok(()),
            Ok(_) => Err(Error::Closed),
            Err(_) => Err(Error::Disconnected),
        }
    }

    /// Asks and waits for one answer.
    pub(crate) async fn request(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Message, Error> {
        // The bound here is the only one: a timer of the library's own would be paid for by each request.
        let mut request = Request::new().payload(payload).timeout(None);
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        let seen = self.shared.denied.borrow().count;
        let asked = Instant::now();
        let bound = asked + timeout;
        // What is asked for while disconnected would lie in the client's buffer and be sent when nobody wants it any
        // more; and the client counts its time only from when there is room in that buffer.
        if !self.is_connected() {
            Box::pin(self.connected(bound)).await?;
        }
        let mut asking = std::pin::pin!(self.client().send_request(subject.clone(), request));
        let soon = bound.min(Instant::now() + LISTEN_AFTER);
        let answer = if let Ok(answer) = timeout_at(soon, &mut asking).await {
            answer
        } else {
            // A missing right is said beside the request, which is never answered: do not wait for that. To listen from
            // the start would cost every request that is answered at once. Boxed: a part of each job's future otherwise.
            let late = Box::pin(async {
                let mut denied = self.shared.denied.clone();
                let denial = denied.wait_for(|d| d.count > seen && d.text.contains(&subject));
                tokio::select! {
                    answer = timeout_at(bound, asking) => answer.map_err(|_| {
                        self.silence().unanswered(asked);
                        Error::TimedOut { subject: subject.clone(), timeout }
                    }),
                    Ok(denied) = denial => Err(Error::PermissionDenied(denied.text.clone())),
                }
            });
            late.await?
        };
        self.silence().answered();
        answer.map_err(|error| Self::request_error(subject, timeout, &error))
    }

    fn request_error(subject: String, timeout: Duration, error: &async_nats::RequestError) -> Error {
        use async_nats::RequestErrorKind as Kind;
        match error.kind() {
            Kind::TimedOut => Error::TimedOut { subject, timeout },
            Kind::NoResponders => Error::NoResponders(subject),
            Kind::MaxPayloadExceeded => Error::TooLarge(error.to_string()),
            Kind::InvalidSubject => Error::Malformed { subject, reason: "is not a subject".to_owned() },
            Kind::Other => Error::Closed,
        }
    }

    /// What the broker refuses from now on, for lack of a right, of requests on this subject.
    pub(crate) fn denials(&self, subject: &str) -> Denials {
        let denied = self.shared.denied.clone();
        let seen = denied.borrow().count;
        Denials { denied, seen, quoted: format!("\"{subject}\"") }
    }

    /// What this resolves to, or that the broker has refused a right meanwhile, in a text that names this: the library's
    /// own calls are not told, and would wait for their time-out.
    pub(crate) async fn unless_denied<T>(
        &self,
        about: &str,
        calling: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let mut denied = self.shared.denied.clone();
        let seen = denied.borrow().count;
        tokio::select! {
            answer = calling => Ok(answer),
            Ok(denied) = denied.wait_for(|d| d.count > seen && d.text.contains(about)) => {
                Err(Error::PermissionDenied(denied.text.clone()))
            }
        }
    }

    /// Asks JetStream's API.
    pub(crate) async fn api<T: DeserializeOwned>(
        &self,
        call: &str,
        request: &impl serde::Serialize,
        timeout: Duration,
    ) -> Result<T, Error> {
        let subject = self.api_subject(call);
        let malformed =
            |e: serde_json::Error| Error::Malformed { subject: subject.clone(), reason: e.to_string() };
        let body = serde_json::to_vec(request).map_err(malformed)?;
        let answer = self.request(subject.clone(), None, body.into(), timeout).await?;
        read_answer(&answer.payload).map_err(|e| match e {
            Answer::Refused { code, description } => Error::Refused { code, description },
            Answer::Malformed(e) => malformed(e),
        })
    }
}

// === impl Denials ===

impl Denials {
    /// Waits for the next, and returns the broker's words. Cancel-safe.
    pub async fn next(&mut self) -> String {
        let Self { denied, seen, quoted } = self;
        let denial = denied.wait_for(|d| d.count > *seen && d.text.contains(quoted.as_str())).await;
        let denial = denial.ok().map(|denial| denial.clone());
        let Some(Denied { count, text }) = denial else { return std::future::pending().await };
        *seen = count;
        text
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("status", &*self.shared.status.borrow()).finish_non_exhaustive()
    }
}
