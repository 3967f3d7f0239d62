//! Uniqueness and aggregation.

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;
use windlass_core::JobId;
use windlass_core::flow::FlowKey;
use windlass_core::unique::{self, Aggregate, Gathered, Of, OnConflict, Unique};

use crate::{Error, time, v1};

/// Who holds a unique key, or collects the tasks of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyMarker {
    /// Which job.
    pub job_id: JobId,
    /// When the first of those that replaced each other was accepted.
    pub since: Timestamp,
    /// From when the job may, or might, run.
    pub due_at: Timestamp,
    /// Until when it counts, ended or not.
    pub until: Option<Timestamp>,
    /// Until when the marker is kept, ended or not.
    pub window_until: Option<Timestamp>,
}

// === impl KeyMarker ===

impl KeyMarker {
    /// As bytes of a `windlass.v1.KeyMarker`.
    pub fn encode(&self) -> Bytes {
        v1::KeyMarker {
            job_id: self.job_id.to_string(),
            since: Some(time::to_wire(self.since)),
            due_at: Some(time::to_wire(self.due_at)),
            until: self.until.map(time::to_wire),
            window_until: self.window_until.map(time::to_wire),
        }
        .encode_to_vec()
        .into()
    }

    /// Reads a `windlass.v1.KeyMarker`.
    pub fn decode(body: Bytes) -> Result<Self, Error> {
        let wire = v1::KeyMarker::decode(body)?;
        Ok(Self {
            job_id: wire.job_id.parse().map_err(|e| Error::new("job_id", e))?,
            since: time::required("since", wire.since)?,
            due_at: time::required("due_at", wire.due_at)?,
            until: time::optional("until", wire.until)?,
            window_until: time::optional("window_until", wire.window_until)?,
        })
    }
}

/// The body that says which job was replaced.
pub fn replaced(job_id: JobId) -> Bytes {
    v1::Replaced { job_id: job_id.to_string() }.encode_to_vec().into()
}

/// Reads it.
pub fn read_replaced(body: Bytes) -> Result<JobId, Error> {
    v1::Replaced::decode(body)?.job_id.parse().map_err(|e| Error::new("job_id", e))
}

pub(crate) fn optional_id(field: &'static str, text: &str) -> Result<Option<JobId>, Error> {
    (!text.is_empty()).then(|| text.parse().map_err(|e| Error::new(field, e))).transpose()
}

pub(crate) fn gathered_to_wire(gathered: Gathered) -> v1::Gathered {
    v1::Gathered { members: gathered.members, first_at: Some(time::to_wire(gathered.first_at)) }
}

pub(crate) fn gathered_from_wire(wire: v1::Gathered) -> Result<Gathered, Error> {
    Ok(Gathered { members: wire.members, first_at: time::required("gathered.first_at", wire.first_at)? })
}

pub(crate) fn to_wire(unique: &Unique) -> v1::Unique {
    let (key, over) = match &unique.of {
        Of::Key(key) => (key.to_string(), Vec::new()),
        Of::Fields(fields) => (String::new(), fields.iter().map(ToString::to_string).collect()),
    };
    v1::Unique {
        key,
        over,
        states: unique.states.iter().map(|state| state.as_str().to_owned()).collect(),
        r#for: unique.lasts.map(time::duration_to_wire),
        on_conflict: match unique.on_conflict {
            OnConflict::Reject => v1::OnConflict::Reject,
            OnConflict::Replace => v1::OnConflict::Replace,
            OnConflict::KeepEarlier => v1::OnConflict::KeepEarlier,
        }
        .into(),
        max_delay: unique.max_delay.map(time::duration_to_wire),
        period: unique.period.map(time::duration_to_wire),
    }
}

pub(crate) fn from_wire(wire: &v1::Unique) -> Result<Unique, Error> {
    let duration =
        |field: &str, time: Option<_>| time.map(|time| time::duration_from_wire(field, time)).transpose();
    let of = match (wire.key.as_str(), wire.over.as_slice()) {
        ("", []) => return Err(Error::new("unique.key", "is missing: expected it, or unique.over")),
        (key, []) => Of::Key(key_of("unique.key", key)?),
        ("", over) => Of::Fields(unique::fields(over.iter().map(String::as_str))?),
        _ => return Err(Error::new("unique.over", "stands beside unique.key: expected one of them")),
    };
    Ok(Unique {
        of,
        states: unique::states(wire.states.iter().map(String::as_str))?,
        lasts: duration("unique.for", wire.r#for)?,
        on_conflict: match v1::OnConflict::try_from(wire.on_conflict) {
            Ok(v1::OnConflict::Unspecified | v1::OnConflict::Reject) => OnConflict::Reject,
            Ok(v1::OnConflict::Replace) => OnConflict::Replace,
            Ok(v1::OnConflict::KeepEarlier) => OnConflict::KeepEarlier,
            Err(_) => return Err(Error::unknown("unique.on_conflict", wire.on_conflict, "0 to 3")),
        },
        max_delay: duration("unique.max_delay", wire.max_delay)?,
        period: duration("unique.period", wire.period)?,
    })
}

pub(crate) fn aggregate_to_wire(aggregate: &Aggregate) -> v1::Aggregate {
    v1::Aggregate {
        key: aggregate.key.to_string(),
        grace: Some(time::duration_to_wire(aggregate.grace)),
        max_delay: Some(time::duration_to_wire(aggregate.max_delay)),
        max_size: aggregate.max_size,
    }
}

pub(crate) fn aggregate_from_wire(wire: &v1::Aggregate) -> Result<Aggregate, Error> {
    let duration = |field: &'static str, time: Option<prost_types::Duration>| {
        time::duration_from_wire(field, time.ok_or_else(|| Error::missing(field))?)
    };
    Ok(Aggregate {
        key: key_of("aggregate.key", &wire.key)?,
        grace: duration("aggregate.grace", wire.grace)?,
        max_delay: duration("aggregate.max_delay", wire.max_delay)?,
        max_size: if wire.max_size == 0 { Aggregate::DEFAULT_SIZE } else { wire.max_size },
    })
}

pub(crate) fn key_of(field: &str, text: &str) -> Result<FlowKey, Error> {
    text.parse().map_err(|e| Error::new(field, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let wire = v1::Unique { key: "k".into(), ..Default::default() };
        let field = |wire: v1::Unique| from_wire(&wire).unwrap_err().field;
        assert_eq!(from_wire(&wire).unwrap().on_conflict, OnConflict::Reject);
        assert_eq!(field(v1::Unique::default()), "unique.key");
        assert_eq!(field(v1::Unique { key: "k".repeat(10_000), ..wire.clone() }), "unique.key");
        assert_eq!(field(v1::Unique { over: vec!["kind".into()], ..wire.clone() }), "unique.over");
        assert_eq!(
            field(v1::Unique { key: String::new(), over: vec!["x".into()], ..wire.clone() }),
            "unique.over"
        );
        assert_eq!(field(v1::Unique { states: vec!["ended".into()], ..wire.clone() }), "unique.states");
        assert_eq!(field(v1::Unique { on_conflict: 9, ..wire }), "unique.on_conflict");
        let field = |wire: &v1::Aggregate| aggregate_from_wire(wire).unwrap_err().field;
        assert_eq!(field(&v1::Aggregate::default()), "aggregate.key");
        assert_eq!(field(&v1::Aggregate { key: "k".into(), ..Default::default() }), "aggregate.grace");
    }

    #[test]
    fn a_marker_reads_back() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let marker = KeyMarker {
            job_id: JobId::of_message(at(1), 2),
            since: at(3),
            due_at: at(4),
            until: None,
            window_until: Some(at(5)),
        };
        assert_eq!(KeyMarker::decode(marker.encode()).unwrap(), marker);
        assert_eq!(read_replaced(replaced(marker.job_id)).unwrap(), marker.job_id);
        assert_eq!(KeyMarker::decode(Bytes::new()).unwrap_err().field, "job_id");
    }
}
