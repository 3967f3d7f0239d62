//! Finding a job of which only the id is known: an id is unique within its queue, and so may be in several.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use windlass_core::{JobId, PoolName, QueueName};

use crate::connect::{self, Broker};
use crate::jobs::{Error, Jobs};
use crate::names::Names;

/// For each call. Looking by wildcard visits every queue of a stream.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// JetStream: there is no such stream.
const NO_STREAM: u64 = 10059;
/// JetStream: there is no such consumer.
const NO_CONSUMER: u64 = 10014;

/// Where messages of a job are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Whose stream.
    pub pool: PoolName,
    /// Its queue.
    pub queue: QueueName,
}

#[derive(serde::Deserialize)]
struct StreamNames {
    #[serde(default)]
    streams: Option<Vec<String>>,
}

#[derive(serde::Deserialize)]
struct StreamInfo {
    state: StreamState,
}

#[derive(serde::Deserialize)]
struct StreamState {
    #[serde(default)]
    subjects: Option<BTreeMap<String, u64>>,
}

/// The pools that have a stream of jobs. Who has no right to list streams is shown the default pool.
pub async fn pools(broker: &Broker) -> Result<Vec<PoolName>, Error> {
    let found = broker.api::<StreamNames>("STREAM.NAMES", &serde_json::json!({}), CALL_TIMEOUT).await;
    let streams = match found {
        Ok(names) => names.streams.unwrap_or_default(),
        Err(connect::Error::PermissionDenied(_)) => return Ok(vec![PoolName::default()]),
        Err(source) => {
            return Err(Error::Broker { stream: broker.names().jobs_stream(&PoolName::default()), source });
        }
    };
    Ok(streams.iter().filter_map(|stream| pool_of(broker.names(), stream)).collect())
}

/// The pool that serves a queue: whose stream has the queue's consumer; the default one, if none has.
pub async fn serving(broker: &Broker, queue: &QueueName) -> Result<PoolName, Error> {
    for pool in pools(broker).await?.into_iter().filter(|pool| *pool != PoolName::default()) {
        let stream = broker.names().jobs_stream(&pool);
        let call = format!("CONSUMER.INFO.{stream}.{}", broker.names().worker_consumer(queue));
        match broker.api::<serde_json::Value>(&call, &serde_json::json!({}), CALL_TIMEOUT).await {
            Ok(_) => return Ok(pool),
            Err(connect::Error::Refused { code: NO_STREAM | NO_CONSUMER, .. }) => {}
            Err(source) => return Err(Error::Broker { stream, source }),
        }
    }
    Ok(PoolName::default())
}

/// The pool whose jobs a stream holds.
fn pool_of(names: &Names, stream: &str) -> Option<PoolName> {
    match stream.strip_prefix(&names.jobs_stream(&PoolName::default()))? {
        "" => Some(PoolName::default()),
        rest => rest.strip_prefix('_')?.parse().ok(),
    }
}

/// Every place where a job of this id has a message, in the given queue or in any.
pub async fn places(
    broker: &Broker,
    queue: Option<&QueueName>,
    job_id: JobId,
) -> Result<BTreeSet<Place>, Error> {
    let names = broker.names();
    let mut places = BTreeSet::new();
    for pool in pools(broker).await? {
        let jobs = Jobs::new(broker, pool);
        let filter = match queue {
            Some(queue) => names.job_filter(jobs.pool(), queue, job_id),
            None => names.job_filter_any_queue(jobs.pool(), job_id),
        };
        let call = format!("STREAM.INFO.{}", jobs.stream());
        let request = serde_json::json!({ "subjects_filter": filter });
        let info = match broker.api::<StreamInfo>(&call, &request, CALL_TIMEOUT).await {
            Err(connect::Error::Refused { code: NO_STREAM, .. }) => continue,
            other => other.map_err(|source| Error::Broker { stream: jobs.stream().to_owned(), source })?,
        };
        let subjects = info.state.subjects.unwrap_or_default();
        places.extend(
            subjects
                .keys()
                .filter_map(|subject| names.parse_job_subject(subject))
                .map(|subject| Place { pool: subject.pool, queue: subject.queue }),
        );
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_jobs_tells_its_pool() {
        let check = |names: &Names, stream: &str, expected: Option<&str>| {
            assert_eq!(pool_of(names, stream).as_ref().map(PoolName::as_str), expected, "{stream}");
        };
        let names = Names::default();
        check(&names, "JOBS", Some("default"));
        check(&names, "JOBS_billing", Some("billing"));
        for other in ["TASKS", "JOBSX", "JOBS_", "acme_JOBS", "KV_windlass_queues"] {
            check(&names, other, None);
        }
        let acme = Names::new("acme").unwrap();
        check(&acme, "acme_JOBS_b", Some("b"));
        check(&acme, "JOBS", None);
    }
}
