//! Making streams what they must be, or saying how they differ.

use serde_json::{Map, Value, json};
use windlass_core::QueueName;

use super::api::{Api, ConsumerRef, Created, Error, Found, stream_object};
use super::desired::{ConsumerSpec, Desired, Settings, StreamSpec, desired, flow_consumer, queue_consumer};
use super::difference::{Difference, compare};
use super::{Layout, Mode, Part};
use crate::connect::Broker;

/// How often one object is looked at again after a write, its own or a rival's.
const ROUNDS: usize = 5;

/// What is to be done about one object that was found.
enum Next {
    Done,
    Update { config: Map<String, Value>, differences: Vec<Difference> },
}

impl Broker {
    /// Does what the mode says about these parts, and returns what differs: none after `apply`, nor with `off`.
    pub async fn provision(
        &self,
        mode: Mode,
        layout: &Layout,
        parts: &[Part],
    ) -> Result<Vec<Difference>, Error> {
        if mode == Mode::Off {
            return Ok(Vec::new());
        }
        layout.validate()?;
        let wanted = desired(self.names(), layout).only(parts);
        if mode == Mode::Verify {
            return verify(self, &wanted).await;
        }
        apply(self, &wanted, false).await.map(|()| Vec::new())
    }
}

/// Creates what is missing and changes what differs. Metadata and other settings that are not named stay.
///
/// `allow_weaker` lets it also lower a bound, take copies away or turn something off.
pub async fn apply(broker: &Broker, wanted: &Desired, allow_weaker: bool) -> Result<(), Error> {
    let api = Api::new(broker);
    if let Some(old) = api.old_server() {
        return Err(Error::Unchanged(vec![old]));
    }
    for stream in &wanted.streams {
        apply_stream(&api, stream, allow_weaker).await?;
        for consumer in &stream.consumers {
            apply_consumer(&api, stream, consumer, allow_weaker).await?;
        }
    }
    Ok(())
}

/// Every difference between what is wanted and what is.
pub async fn verify(broker: &Broker, wanted: &Desired) -> Result<Vec<Difference>, Error> {
    let api = Api::new(broker);
    let mut differences = Vec::from_iter(api.old_server());
    for stream in &wanted.streams {
        let object = stream_object(&stream.name);
        match api.stream(&stream.name).await? {
            Found::Config { config, .. } => report(&mut differences, &object, &stream.settings, config),
            Found::Missing => {
                differences.push(missing(&object));
                continue;
            }
        }
        for consumer in &stream.consumers {
            let reference = reference(stream, consumer);
            let object = reference.to_string();
            match api.consumer(&reference).await? {
                Found::Config { config, .. } => report(&mut differences, &object, &consumer.settings, config),
                Found::Missing => differences.push(missing(&object)),
            }
        }
    }
    Ok(differences)
}

/// Makes the consumer of a queue unless it exists, as far as the pool has room for one more. What exists is left as
/// it is: its settings are provisioning's.
pub async fn ensure_queue(broker: &Broker, layout: &Layout, queue: &QueueName) -> Result<(), Error> {
    let spec = queue_consumer(broker.names(), layout, &layout.pool_of(queue), queue);
    ensure(broker, layout, queue, &spec).await
}

/// Makes the consumer of what is for a queue's owner unless it exists, as [`ensure_queue`].
pub async fn ensure_flow(broker: &Broker, layout: &Layout, queue: &QueueName) -> Result<(), Error> {
    let spec = flow_consumer(broker.names(), layout, &layout.pool_of(queue), queue);
    ensure(broker, layout, queue, &spec).await
}

async fn ensure(
    broker: &Broker,
    layout: &Layout,
    queue: &QueueName,
    spec: &ConsumerSpec,
) -> Result<(), Error> {
    let api = Api::new(broker);
    let stream = broker.names().jobs_stream(&layout.pool_of(queue));
    let reference = ConsumerRef { stream: &stream, name: &spec.name, filter: &spec.filter };
    if let Found::Config { .. } = api.consumer(&reference).await? {
        return Ok(());
    }
    let too_many = || Error::TooManyQueues {
        stream: stream.clone(),
        queue: queue.to_string(),
        max_queues: layout.max_queues,
    };
    // The stream's own `max_consumers` holds where two dispatchers pass this at once.
    match api.stream(&stream).await? {
        // One of them is not a queue's but the dispatchers'.
        Found::Config { consumers, .. } if consumers > layout.max_queues => return Err(too_many()),
        _ => {}
    }
    match api.create_consumer(&reference, owned(&spec.settings)).await? {
        Created::Yes | Created::Otherwise => Ok(()),
        Created::TooMany => Err(too_many()),
    }
}

async fn apply_stream(api: &Api<'_>, stream: &StreamSpec, allow_weaker: bool) -> Result<(), Error> {
    let object = stream_object(&stream.name);
    for _ in 0..ROUNDS {
        match api.stream(&stream.name).await? {
            Found::Config { config, .. } => match next(&object, &stream.settings, config, allow_weaker)? {
                Next::Done => return Ok(()),
                Next::Update { config, differences } => {
                    say(&differences);
                    tracing::info!(stream = stream.name, "updating stream");
                    api.update_stream(&stream.name, config).await?;
                }
            },
            Found::Missing => {
                tracing::info!(stream = stream.name, "creating stream");
                let mut config = owned(&stream.settings);
                config.insert("name".to_owned(), json!(stream.name));
                api.create_stream(&stream.name, config).await?;
            }
        }
    }
    Err(unchanged(&object, &stream.settings, api.stream(&stream.name).await?))
}

async fn apply_consumer(
    api: &Api<'_>,
    stream: &StreamSpec,
    consumer: &ConsumerSpec,
    allow_weaker: bool,
) -> Result<(), Error> {
    let reference = reference(stream, consumer);
    let object = reference.to_string();
    for _ in 0..ROUNDS {
        match api.consumer(&reference).await? {
            Found::Config { config, .. } => match next(&object, &consumer.settings, config, allow_weaker)? {
                Next::Done => return Ok(()),
                Next::Update { config, differences } => {
                    say(&differences);
                    tracing::info!(stream = stream.name, consumer = consumer.name, "updating consumer");
                    api.update_consumer(&reference, config).await?;
                }
            },
            Found::Missing => {
                tracing::info!(stream = stream.name, consumer = consumer.name, "creating consumer");
                api.create_consumer(&reference, owned(&consumer.settings)).await?;
            }
        }
    }
    Err(unchanged(&object, &consumer.settings, api.consumer(&reference).await?))
}

fn next(
    object: &str,
    wanted: &Settings,
    found: Map<String, Value>,
    allow_weaker: bool,
) -> Result<Next, Error> {
    let found = Value::Object(found);
    let differences = compare(object, wanted, &found);
    if differences.is_empty() {
        return Ok(Next::Done);
    }
    let weaker: Vec<_> = differences.iter().filter(|(_, weaker)| *weaker).map(|(d, _)| d.clone()).collect();
    if !weaker.is_empty() && !allow_weaker {
        return Err(Error::Weaker(weaker));
    }
    let Value::Object(mut config) = found else { return Ok(Next::Done) };
    config.extend(owned(wanted));
    let differences = differences.into_iter().map(|(difference, _)| difference).collect();
    Ok(Next::Update { config, differences })
}

/// What was found may be what another program of the fleet has configured: then each start would change it again.
fn say(differences: &[Difference]) {
    for Difference { object, setting, expected, found } in differences {
        tracing::warn!(
            object,
            setting,
            own = expected,
            found,
            "a setting differs from this program's layout and is changed to its value: all programs of a fleet must \
             have the same layout"
        );
    }
}

fn unchanged(object: &str, wanted: &Settings, found: Found) -> Error {
    Error::Unchanged(match found {
        Found::Config { config, .. } => {
            compare(object, wanted, &Value::Object(config)).into_iter().map(|(d, _)| d).collect()
        }
        Found::Missing => vec![missing(object)],
    })
}

fn report(differences: &mut Vec<Difference>, object: &str, wanted: &Settings, found: Map<String, Value>) {
    differences.extend(compare(object, wanted, &Value::Object(found)).into_iter().map(|(d, _)| d));
}

fn missing(object: &str) -> Difference {
    Difference::new(object, "existence", "present", "missing")
}

fn reference<'a>(stream: &'a StreamSpec, consumer: &'a ConsumerSpec) -> ConsumerRef<'a> {
    ConsumerRef { stream: &stream.name, name: &consumer.name, filter: &consumer.filter }
}

fn owned(settings: &Settings) -> Map<String, Value> {
    settings.iter().map(|(setting, value)| ((*setting).to_owned(), value.clone())).collect()
}
