//! The few calls of the server's API that provisioning makes, with settings as they are on the wire: a typed
//! configuration would drop the settings that this program does not know.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::difference::Difference;
use super::{InvalidLayout, MIN_SERVER_VERSION};
use crate::connect::{self, Broker};

/// A stream or consumer could not be read, made or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The layout is not valid.
    #[error("the layout of streams is not valid")]
    Layout(#[from] InvalidLayout),
    /// No answer: the broker is away, or this user has no right to ask.
    #[error("no answer from the broker about {object}")]
    NoAnswer {
        /// What was asked about.
        object: String,
        /// Why.
        source: connect::Error,
    },
    /// The server refused.
    #[error("the broker refused to {action} {object}: {description} ({code}){}", advice(*code))]
    Refused {
        /// `read`, `create`, `update` or `remove`.
        action: &'static str,
        /// What.
        object: String,
        /// The server's error code.
        code: u64,
        /// The server's text.
        description: String,
    },
    /// The change would weaken what exists, and that was not allowed.
    #[error("would be made weaker, which only `allow_weaker` does: {}", list(.0))]
    Weaker(Vec<Difference>),
    /// It differs still after it was changed.
    #[error("differs after the change: {}", list(.0))]
    Unchanged(Vec<Difference>),
    /// A pool has as many queues as it may.
    #[error("stream {stream} has as many queues as it may ({max_queues}): `{queue}` is one too many")]
    TooManyQueues {
        /// The pool's stream.
        stream: String,
        /// The queue that was asked for.
        queue: String,
        /// The bound.
        max_queues: usize,
    },
}

/// JetStream: the bounds of all streams together exceed what the server may store.
const NO_SPACE: u64 = 10_047;

fn advice(code: u64) -> &'static str {
    if code == NO_SPACE {
        ". It reserves the bounds of all streams, and by default has three quarters of the free space: lower \
         layout.events.max_bytes, layout.tasks_max_bytes or layout.dead.max_bytes, or set its max_file_store"
    } else {
        ""
    }
}

/// What exists under a name.
pub(super) enum Found {
    /// With this configuration; a stream says how many consumers it has.
    Config { config: Map<String, Value>, consumers: usize },
    /// Nothing.
    Missing,
}

/// What a call to create came to.
pub(super) enum Created {
    /// It exists as wished.
    Yes,
    /// A rival made it, otherwise: look again.
    Otherwise,
    /// The stream has as many consumers as it may.
    TooMany,
}

/// Of one call: longer than the election of a stream's leader.
const TIMEOUT: Duration = Duration::from_secs(10);

const CONSUMER_NOT_FOUND: u64 = 10_014;
const MAX_CONSUMERS: u64 = 10_026;
const STREAM_NAME_IN_USE: u64 = 10_058;
const STREAM_NOT_FOUND: u64 = 10_059;
const CONSUMER_NAME_IN_USE: u64 = 10_013;
const CONSUMER_EXISTS: u64 = 10_148;

#[derive(Deserialize)]
struct Answer {
    #[serde(skip)]
    error: Option<ApiError>,
    config: Option<Map<String, Value>>,
    state: Option<State>,
}

#[derive(Deserialize)]
struct State {
    #[serde(default)]
    consumer_count: usize,
}

struct ApiError {
    code: u64,
    description: String,
}

/// The API, as one user may call it.
pub(super) struct Api<'a> {
    broker: &'a Broker,
}

/// A consumer on its stream.
pub(super) struct ConsumerRef<'a> {
    pub(super) stream: &'a str,
    pub(super) name: &'a str,
    pub(super) filter: &'a str,
}

// === impl Api ===

impl<'a> Api<'a> {
    pub(super) fn new(broker: &'a Broker) -> Self {
        Self { broker }
    }

    /// The difference if the server that we are connected to is too old.
    pub(super) fn old_server(&self) -> Option<Difference> {
        let version = self.broker.client().server_info().version;
        (parse_version(&version) < Some(MIN_SERVER_VERSION)).then(|| {
            let (major, minor, patch) = MIN_SERVER_VERSION;
            Difference::new("server", "version", &format!("{major}.{minor}.{patch} or newer"), &version)
        })
    }

    pub(super) async fn stream(&self, name: &str) -> Result<Found, Error> {
        let object = stream_object(name);
        let answer = self.call(&object, &format!("STREAM.INFO.{name}"), &json!({})).await?;
        found(answer, &object)
    }

    pub(super) async fn consumer(&self, consumer: &ConsumerRef<'_>) -> Result<Found, Error> {
        let object = consumer.to_string();
        let subject = format!("CONSUMER.INFO.{}.{}", consumer.stream, consumer.name);
        let answer = self.call(&object, &subject, &json!({})).await?;
        found(answer, &object)
    }

    pub(super) async fn create_stream(
        &self,
        name: &str,
        config: Map<String, Value>,
    ) -> Result<Created, Error> {
        let object = stream_object(name);
        let answer = self.call(&object, &format!("STREAM.CREATE.{name}"), &Value::Object(config)).await?;
        created(answer, object)
    }

    pub(super) async fn update_stream(&self, name: &str, config: Map<String, Value>) -> Result<(), Error> {
        let object = stream_object(name);
        let answer = self.call(&object, &format!("STREAM.UPDATE.{name}"), &Value::Object(config)).await?;
        answer.error.map_or(Ok(()), |error| Err(refused("update", object, error)))
    }

    /// With all that it holds. What does not exist is removed already.
    pub(super) async fn delete_stream(&self, name: &str) -> Result<(), Error> {
        let object = stream_object(name);
        let answer = self.call(&object, &format!("STREAM.DELETE.{name}"), &json!({})).await?;
        match answer.error {
            Some(error) if error.code != STREAM_NOT_FOUND => Err(refused("remove", object, error)),
            _ => Ok(()),
        }
    }

    pub(super) async fn create_consumer(
        &self,
        consumer: &ConsumerRef<'_>,
        config: Map<String, Value>,
    ) -> Result<Created, Error> {
        created(self.write_consumer(consumer, "create", config).await?, consumer.to_string())
    }

    pub(super) async fn update_consumer(
        &self,
        consumer: &ConsumerRef<'_>,
        config: Map<String, Value>,
    ) -> Result<(), Error> {
        let answer = self.write_consumer(consumer, "update", config).await?;
        answer.error.map_or(Ok(()), |error| Err(refused("update", consumer.to_string(), error)))
    }

    /// The subject names the filter, so that a right to create can name it too.
    async fn write_consumer(
        &self,
        consumer: &ConsumerRef<'_>,
        action: &str,
        config: Map<String, Value>,
    ) -> Result<Answer, Error> {
        let ConsumerRef { stream, name, filter } = consumer;
        let request = json!({ "stream_name": stream, "action": action, "config": config });
        self.call(&consumer.to_string(), &format!("CONSUMER.CREATE.{stream}.{name}.{filter}"), &request).await
    }

    async fn call(&self, object: &str, call: &str, request: &Value) -> Result<Answer, Error> {
        match self.broker.api(call, request, TIMEOUT).await {
            Ok(answer) => Ok(answer),
            Err(connect::Error::Refused { code, description }) => {
                Ok(Answer { error: Some(ApiError { code, description }), config: None, state: None })
            }
            Err(source) => Err(Error::NoAnswer { object: object.to_owned(), source }),
        }
    }
}

// === impl ConsumerRef ===

impl fmt::Display for ConsumerRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "consumer {} of stream {}", self.name, self.stream)
    }
}

/// As it stands in errors and differences.
pub(super) fn stream_object(name: &str) -> String {
    format!("stream {name}")
}

fn found(answer: Answer, object: &str) -> Result<Found, Error> {
    match answer {
        Answer { error: Some(error), .. } => match error.code {
            CONSUMER_NOT_FOUND | STREAM_NOT_FOUND => Ok(Found::Missing),
            _ => Err(refused("read", object.to_owned(), error)),
        },
        Answer { config, state, .. } => Ok(Found::Config {
            config: config.unwrap_or_default(),
            consumers: state.map_or(0, |state| state.consumer_count),
        }),
    }
}

fn created(answer: Answer, object: String) -> Result<Created, Error> {
    match answer.error {
        None => Ok(Created::Yes),
        Some(error) => match error.code {
            STREAM_NAME_IN_USE | CONSUMER_NAME_IN_USE | CONSUMER_EXISTS => Ok(Created::Otherwise),
            MAX_CONSUMERS => Ok(Created::TooMany),
            _ => Err(refused("create", object, error)),
        },
    }
}

fn refused(action: &'static str, object: String, error: ApiError) -> Error {
    Error::Refused { action, object, code: error.code, description: error.description }
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// `2.15.1`, and what follows a dash left out.
fn parse_version(text: &str) -> Option<(u64, u64, u64)> {
    let mut parts = text.split('-').next()?.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, is_enough) in [
            ("2.15.1", true),
            ("2.16.0-RC.1", true),
            ("3.0.0", true),
            ("2.15.0", false),
            ("2.9.99", false),
            ("x", false),
        ] {
            assert_eq!(parse_version(text) >= Some(MIN_SERVER_VERSION), is_enough, "{text}");
        }
    }
}
