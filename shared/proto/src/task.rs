//! Tasks.

use bytes::Bytes;
use prost::Message as _;
use windlass_core::dependency::{Dependency, OnFailure};
use windlass_core::flow::FlowKey;
use windlass_core::retry::{Backoff, Parts, RetryPolicy};
use windlass_core::task::Parent;
use windlass_core::{JobId, Priority, Start, Task};

use crate::{Error, form, time, unique, v1};

impl From<&Task<Bytes>> for v1::Task {
    fn from(task: &Task<Bytes>) -> Self {
        let (payload_encoding, payload_object) = form::to_wire(&task.form);
        Self {
            id: task.id.to_string(),
            kind: task.kind.to_string(),
            payload: task.payload.clone(),
            content_type: task.content_type.clone(),
            priority: v1::Priority::from(task.priority).into(),
            start: match task.start {
                Start::Now => None,
                Start::After(delay) => Some(v1::task::Start::Delay(time::duration_to_wire(delay))),
                Start::At(at) => Some(v1::task::Start::RunAt(time::to_wire(at))),
            },
            retry: task.retry.as_ref().map(Into::into),
            attempt_timeout: task.attempt_timeout.map(time::duration_to_wire),
            max_wait: task.max_wait.map(time::duration_to_wire),
            parent: task.parent.as_ref().map(Into::into),
            payload_encoding,
            payload_object,
            origin_id: task.origin.map(|id| id.to_string()).unwrap_or_default(),
            key: task.key.as_ref().map(ToString::to_string).unwrap_or_default(),
            tenant: task.tenant.as_ref().map(ToString::to_string).unwrap_or_default(),
            points: task.points,
            after: task.after.iter().map(Into::into).collect(),
            schedule_id: task.schedule_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            labels: task.labels.clone().into(),
            unique: task.unique.as_deref().map(unique::to_wire),
            aggregate: task.aggregate.as_deref().map(unique::aggregate_to_wire),
        }
    }
}

/// Reads a `windlass.v1.Task` that has an id, as jobs and dead letters hold it.
pub fn decode_task(body: Bytes) -> Result<Task<Bytes>, Error> {
    from_wire(v1::Task::decode(body)?, None)
}

/// Reads a task. `derived` makes its id where it carries none.
pub(crate) fn from_wire(task: v1::Task, derived: Option<&dyn Fn() -> JobId>) -> Result<Task<Bytes>, Error> {
    let form = form::from_wire("payload", task.payload_encoding, task.payload_object)?;
    let id = match (task.id.as_str(), derived) {
        ("", Some(_)) if form.encoding.key_id.is_some() => return Err(form::no_id("id")),
        ("", Some(derived)) => derived(),
        ("", None) => return Err(Error::missing("id")),
        (text, _) => text.parse().map_err(|e| Error::new("id", e))?,
    };
    Ok(Task {
        id,
        kind: task.kind.parse().map_err(|e| Error::new("kind", e))?,
        payload: task.payload,
        form,
        content_type: content_type(task.content_type)?,
        priority: priority(task.priority)?,
        start: match task.start {
            None => Start::Now,
            Some(v1::task::Start::Delay(delay)) => Start::After(time::duration_from_wire("delay", delay)?),
            Some(v1::task::Start::RunAt(at)) => Start::At(time::from_wire("run_at", at)?),
        },
        retry: task.retry.as_ref().map(retry_policy).transpose()?,
        attempt_timeout: task
            .attempt_timeout
            .map(|t| time::duration_from_wire("attempt_timeout", t))
            .transpose()?,
        max_wait: task.max_wait.map(|wait| time::duration_from_wire("max_wait", wait)).transpose()?,
        parent: task.parent.as_ref().map(parent).transpose()?,
        origin: match task.origin_id.as_str() {
            "" => None,
            id => Some(id.parse().map_err(|e| Error::new("origin_id", e))?),
        },
        key: flow_key("key", &task.key)?,
        tenant: flow_key("tenant", &task.tenant)?,
        points: task.points.max(1),
        after: task.after.iter().map(dependency).collect::<Result<_, _>>()?,
        // For people: what cannot be read leads nowhere.
        schedule_id: task.schedule_id.parse().ok(),
        labels: task.labels.try_into().map_err(|e| Error::new("labels", e))?,
        unique: task.unique.as_ref().map(unique::from_wire).transpose()?.map(Box::new),
        aggregate: task.aggregate.as_ref().map(unique::aggregate_from_wire).transpose()?.map(Box::new),
    })
}

/// Of a job; none if the text is empty.
pub(crate) fn flow_key(field: &'static str, text: &str) -> Result<Option<FlowKey>, Error> {
    (!text.is_empty()).then(|| text.parse().map_err(|e| Error::new(field, e))).transpose()
}

impl From<&Parent> for v1::Parent {
    fn from(parent: &Parent) -> Self {
        Self { queue: parent.queue.to_string(), job_id: parent.job_id.to_string(), detached: parent.detached }
    }
}

pub(crate) fn parent(parent: &v1::Parent) -> Result<Parent, Error> {
    Ok(Parent {
        queue: parent.queue.parse().map_err(|e| Error::new("parent.queue", e))?,
        job_id: parent.job_id.parse().map_err(|e| Error::new("parent.job_id", e))?,
        detached: parent.detached,
    })
}

impl From<&Dependency> for v1::Dependency {
    fn from(dependency: &Dependency) -> Self {
        let on_failure = match dependency.on_failure {
            OnFailure::Fail => v1::OnFailure::Fail,
            OnFailure::Continue => v1::OnFailure::Continue,
            OnFailure::Ignore => v1::OnFailure::Ignore,
        };
        Self {
            queue: dependency.queue.as_ref().map(ToString::to_string).unwrap_or_default(),
            job_id: dependency.job_id.to_string(),
            on_failure: on_failure.into(),
        }
    }
}

pub(crate) fn dependency(wire: &v1::Dependency) -> Result<Dependency, Error> {
    let queue = (!wire.queue.is_empty()).then(|| wire.queue.parse());
    Ok(Dependency {
        queue: queue.transpose().map_err(|e| Error::new("after.queue", e))?,
        job_id: wire.job_id.parse().map_err(|e| Error::new("after.job_id", e))?,
        on_failure: match v1::OnFailure::try_from(wire.on_failure) {
            Ok(v1::OnFailure::Unspecified | v1::OnFailure::Fail) => OnFailure::Fail,
            Ok(v1::OnFailure::Continue) => OnFailure::Continue,
            Ok(v1::OnFailure::Ignore) => OnFailure::Ignore,
            Err(_) => return Err(Error::unknown("after.on_failure", wire.on_failure, "0 to 3")),
        },
    })
}

/// A media type is a header's value wherever the job goes: printable ASCII of a bounded length.
pub(crate) fn content_type(text: String) -> Result<String, Error> {
    if text.len() > 128 || !text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Err(Error::new("content_type", "expected at most 128 printable ASCII characters"));
    }
    Ok(text)
}

pub(crate) fn priority(value: i32) -> Result<Priority, Error> {
    match v1::Priority::try_from(value) {
        Ok(v1::Priority::Unspecified | v1::Priority::Normal) => Ok(Priority::Normal),
        Ok(v1::Priority::Critical) => Ok(Priority::Critical),
        Ok(v1::Priority::High) => Ok(Priority::High),
        Ok(v1::Priority::Low) => Ok(Priority::Low),
        Err(_) => Err(Error::unknown("priority", value, "0 to 4")),
    }
}

impl From<Priority> for v1::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Critical => Self::Critical,
            Priority::High => Self::High,
            Priority::Normal => Self::Normal,
            Priority::Low => Self::Low,
        }
    }
}

impl From<&RetryPolicy> for v1::RetryPolicy {
    fn from(policy: &RetryPolicy) -> Self {
        let parts = policy.parts();
        let wire = |seconds| time::duration_to_wire(std::time::Duration::from_secs_f64(seconds));
        Self {
            max_attempts: parts.max_attempts,
            initial_delay: Some(wire(parts.initial_delay_seconds)),
            max_delay: Some(wire(parts.max_delay_seconds)),
            multiplier: parts.multiplier,
            jitter: Some(parts.jitter),
            backoff: match parts.backoff {
                Backoff::Exponential => v1::Backoff::Exponential,
                Backoff::Linear => v1::Backoff::Linear,
                Backoff::Fixed => v1::Backoff::Fixed,
            }
            .into(),
            delays: parts.delays_seconds.iter().copied().map(wire).collect(),
            max_elapsed: parts.max_elapsed_seconds.map(wire),
        }
    }
}

/// What the message leaves out is as in the default policy.
pub(crate) fn retry_policy(wire: &v1::RetryPolicy) -> Result<RetryPolicy, Error> {
    let default = Parts::default();
    let seconds = |field: &str, duration: Option<_>, default| match duration {
        None => Ok(default),
        Some(d) => time::duration_from_wire(field, d).map(|d| d.as_secs_f64()),
    };
    let parts = Parts {
        max_attempts: if wire.max_attempts == 0 { default.max_attempts } else { wire.max_attempts },
        initial_delay_seconds: seconds(
            "retry.initial_delay",
            wire.initial_delay,
            default.initial_delay_seconds,
        )?,
        max_delay_seconds: seconds("retry.max_delay", wire.max_delay, default.max_delay_seconds)?,
        multiplier: if wire.multiplier == 0.0 { default.multiplier } else { wire.multiplier },
        jitter: wire.jitter.unwrap_or(default.jitter),
        backoff: match v1::Backoff::try_from(wire.backoff) {
            Ok(v1::Backoff::Unspecified) => default.backoff,
            Ok(v1::Backoff::Exponential) => Backoff::Exponential,
            Ok(v1::Backoff::Linear) => Backoff::Linear,
            Ok(v1::Backoff::Fixed) => Backoff::Fixed,
            Err(_) => return Err(Error::unknown("retry.backoff", wire.backoff, "0 to 3")),
        },
        delays_seconds: wire
            .delays
            .iter()
            .map(|delay| time::duration_from_wire("retry.delays", *delay).map(|d| d.as_secs_f64()))
            .collect::<Result<_, _>>()?,
        max_elapsed_seconds: wire
            .max_elapsed
            .map(|elapsed| time::duration_from_wire("retry.max_elapsed", elapsed).map(|d| d.as_secs_f64()))
            .transpose()?,
    };
    RetryPolicy::try_from(parts).map_err(|e| Error::new("retry", e))
}
