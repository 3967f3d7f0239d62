//! Schedules and their cursors.

use bytes::Bytes;
use jiff::Timestamp;
use windlass_core::JobId;
use windlass_core::schedule::{Cron, Cursor, InDoubt, Interval, Schedule, Spec, Template};

use crate::{Error, task, time, v1};

impl From<&Schedule<Bytes>> for v1::Schedule {
    fn from(schedule: &Schedule<Bytes>) -> Self {
        let template = &schedule.task;
        Self {
            id: schedule.id.to_string(),
            queue: schedule.queue.to_string(),
            task: Some(v1::Task {
                id: String::new(),
                kind: template.kind.to_string(),
                payload: template.payload.clone(),
                content_type: template.content_type.clone(),
                priority: v1::Priority::from(template.priority).into(),
                start: None,
                retry: template.retry.as_ref().map(Into::into),
                attempt_timeout: template.attempt_timeout.map(time::duration_to_wire),
                max_wait: template.max_wait.map(time::duration_to_wire),
                ..v1::Task::default()
            }),
            spec: Some(match &schedule.spec {
                Spec::Cron(cron) => v1::schedule::Spec::Cron(v1::Cron {
                    expression: cron.expression().to_owned(),
                    zone: cron.zone().to_owned(),
                }),
                Spec::Interval(interval) => {
                    v1::schedule::Spec::Interval(time::duration_to_wire(interval.period()))
                }
            }),
            paused: schedule.paused,
            created_at: Some(time::to_wire(schedule.created_at)),
        }
    }
}

impl TryFrom<v1::Schedule> for Schedule<Bytes> {
    type Error = Error;

    fn try_from(wire: v1::Schedule) -> Result<Self, Error> {
        Ok(Self {
            id: wire.id.parse().map_err(|e| Error::new("id", e))?,
            queue: wire.queue.parse().map_err(|e| Error::new("queue", e))?,
            task: template(wire.task.ok_or_else(|| Error::missing("task"))?)?,
            spec: spec(
                wire.spec.ok_or_else(|| Error::new("spec", "is missing: expected cron or interval"))?,
            )?,
            paused: wire.paused,
            created_at: time::required("created_at", wire.created_at)?,
        })
    }
}

fn template(wire: v1::Task) -> Result<Template<Bytes>, Error> {
    if !wire.id.is_empty() {
        return Err(Error::new("task.id", "is given: expected none, as each fire derives one"));
    }
    if wire.start.is_some() {
        return Err(Error::new("task.start", "is given: expected none, as the schedule says when"));
    }
    // What is sealed belongs to one job, and each fire is another; an object goes with its job.
    if wire.payload_encoding.is_some() || wire.payload_object.is_some() {
        return Err(Error::new(
            "task.payload",
            "is encoded: expected a plain payload, as each fire has its own id",
        ));
    }
    // The id is left out again below.
    let any = "any".parse().map_err(|e| Error::new("task.id", e))?;
    let task = task::from_wire(wire, Some(&|| JobId::of_fire(&any, Timestamp::UNIX_EPOCH)))
        .map_err(|e| Error { field: format!("task.{}", e.field), ..e })?;
    Ok(Template {
        kind: task.kind,
        payload: task.payload,
        content_type: task.content_type,
        priority: task.priority,
        retry: task.retry,
        attempt_timeout: task.attempt_timeout,
        max_wait: task.max_wait,
    })
}

fn spec(wire: v1::schedule::Spec) -> Result<Spec, Error> {
    let spec = match wire {
        v1::schedule::Spec::Cron(cron) => Cron::new(&cron.expression, &cron.zone).map(Spec::Cron),
        v1::schedule::Spec::Interval(period) => {
            Interval::new(time::duration_from_wire("interval", period)?).map(Spec::Interval)
        }
    };
    spec.map_err(|e| Error::new(e.field, format!("is `{}`: expected {}", e.value, e.expected)))
}

impl From<&Cursor> for v1::Cursor {
    fn from(cursor: &Cursor) -> Self {
        Self {
            last_instant: Some(time::to_wire(cursor.last_instant)),
            misfires: cursor.misfires,
            in_doubt_through: cursor.in_doubt.map(|doubt| time::to_wire(doubt.through)),
            in_doubt_since: cursor.in_doubt.map(|doubt| time::to_wire(doubt.since)),
        }
    }
}

impl TryFrom<v1::Cursor> for Cursor {
    type Error = Error;

    fn try_from(wire: v1::Cursor) -> Result<Self, Error> {
        let through = time::optional("in_doubt_through", wire.in_doubt_through)?;
        Ok(Self {
            last_instant: time::required("last_instant", wire.last_instant)?,
            misfires: wire.misfires,
            in_doubt: match through {
                None => None,
                Some(through) => {
                    Some(InDoubt { through, since: time::required("in_doubt_since", wire.in_doubt_since)? })
                }
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_core::{Priority, RetryPolicy};

    fn schedule(spec: Spec) -> Schedule<Bytes> {
        Schedule {
            id: "nightly".parse().unwrap(),
            queue: "reports".parse().unwrap(),
            task: Template {
                kind: "report.make".parse().unwrap(),
                payload: Bytes::from_static(b"{\"day\":1}"),
                content_type: "application/json".to_owned(),
                priority: Priority::High,
                retry: Some(RetryPolicy::default().with_max_attempts(2).unwrap()),
                attempt_timeout: Some(std::time::Duration::from_millis(1500)),
                max_wait: Some(std::time::Duration::from_mins(7)),
            },
            spec,
            paused: true,
            created_at: Timestamp::new(1_700_000_000, 5).unwrap(),
        }
    }

    #[test]
    fn reads_what_it_writes() {
        for spec in [
            Spec::Cron(Cron::new("0 2 * * *", "Europe/Berlin").unwrap()),
            Spec::Interval(Interval::new(std::time::Duration::from_millis(1500)).unwrap()),
        ] {
            let schedule = schedule(spec);
            assert_eq!(Schedule::try_from(v1::Schedule::from(&schedule)), Ok(schedule));
        }
        let at = |second| Timestamp::from_second(second).unwrap();
        for in_doubt in [None, Some(InDoubt { through: at(9), since: at(10) })] {
            let cursor = Cursor { last_instant: at(7), misfires: 3, in_doubt };
            assert_eq!(Cursor::try_from(v1::Cursor::from(&cursor)), Ok(cursor));
        }
    }

    #[test]
    fn refuses_and_names_the_field() {
        let good = v1::Schedule::from(&schedule(Spec::Cron(Cron::new("0 2 * * *", "").unwrap())));
        let check = |change: fn(&mut v1::Schedule), field: &str| {
            let mut wire = good.clone();
            change(&mut wire);
            assert_eq!(Schedule::try_from(wire).unwrap_err().field, field);
        };
        check(|w| w.id = "a.b".into(), "id");
        check(|w| w.queue = String::new(), "queue");
        check(|w| w.task = None, "task");
        check(|w| w.task.as_mut().unwrap().id = "x".into(), "task.id");
        check(|w| w.task.as_mut().unwrap().kind = "a..b".into(), "task.kind");
        check(|w| w.task.as_mut().unwrap().priority = 77, "task.priority");
        check(
            |w| {
                let delay = prost_types::Duration::default();
                w.task.as_mut().unwrap().start = Some(v1::task::Start::Delay(delay));
            },
            "task.start",
        );
        check(|w| w.spec = None, "spec");
        check(|w| w.spec = Some(v1::schedule::Spec::Interval(prost_types::Duration::default())), "interval");
        let cron = |expression: &str, zone: &str| {
            Some(v1::schedule::Spec::Cron(v1::Cron { expression: expression.into(), zone: zone.into() }))
        };
        for (expression, zone, field) in [("0 25 * * *", "", "cron.hour"), ("0 2 * * *", "Nowhere", "zone")] {
            let wire = v1::Schedule { spec: cron(expression, zone), ..good.clone() };
            assert_eq!(Schedule::try_from(wire).unwrap_err().field, field);
        }
        check(|w| w.created_at = None, "created_at");
        assert_eq!(Cursor::try_from(v1::Cursor::default()).unwrap_err().field, "last_instant");
    }
}
