//! Schedules.

use bytes::Bytes;
use jiff::Timestamp;
use windlass_core::JobId;
use windlass_core::schedule::{
    Backfill, Edit, MOST_BACKFILLED, Misfire, Overlap, Pause, Policy, Request, Schedule, Template, Wish,
};
use windlass_core::trace::TraceParent;

use crate::{Error, task, time, v1};

mod cursor;
mod spec;

use spec::{exclusions_to_wire, first_version, rule_to_wire, spec};

impl From<&Schedule<Bytes>> for v1::Schedule {
    fn from(schedule: &Schedule<Bytes>) -> Self {
        let (template, spec) = (&schedule.task, &schedule.spec);
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
            spec: first_version(spec),
            paused: schedule.pause.is_some(),
            created_at: Some(time::to_wire(schedule.created_at)),
            rules: spec.rules().iter().map(rule_to_wire).collect(),
            exclusions: exclusions_to_wire(spec.exclusions()),
            starts_at: spec.starts_at().map(time::to_wire),
            ends_at: spec.ends_at().map(time::to_wire),
            jitter: Some(spec.jitter()).filter(|jitter| !jitter.is_zero()).map(time::duration_to_wire),
            policy: Some(policy_to_wire(&schedule.policy)),
            pause_note: schedule.pause.as_ref().map(|pause| pause.note.clone()).unwrap_or_default(),
            paused_until: schedule.pause.as_ref().and_then(|pause| pause.until).map(time::to_wire),
            requests: schedule.requests.iter().map(request_to_wire).collect(),
            edits: schedule
                .edits
                .iter()
                .map(|edit| v1::ScheduleEdit {
                    at: Some(time::to_wire(edit.at)),
                    by: edit.by.clone(),
                    what: edit.what.clone(),
                    traceparent: edit.trace.map(|trace| trace.to_string()).unwrap_or_default(),
                })
                .collect(),
        }
    }
}

fn policy_to_wire(policy: &Policy) -> v1::Policy {
    let overlap = match policy.overlap {
        Overlap::AllowAll => v1::Overlap::AllowAll,
        Overlap::Skip => v1::Overlap::Skip,
        Overlap::BufferOne => v1::Overlap::BufferOne,
        Overlap::BufferAll => v1::Overlap::BufferAll,
        Overlap::CancelOther => v1::Overlap::CancelOther,
        Overlap::TerminateOther => v1::Overlap::TerminateOther,
    };
    let misfire = match policy.misfire {
        Misfire::Skip => v1::Misfire::Skip,
        Misfire::Latest => v1::Misfire::Latest,
        Misfire::All => v1::Misfire::All,
        Misfire::Paced => v1::Misfire::Paced,
    };
    v1::Policy {
        overlap: overlap.into(),
        misfire: misfire.into(),
        catch_up_window: Some(time::duration_to_wire(policy.catch_up_window)),
        pace: Some(time::duration_to_wire(policy.pace)),
        pause_on_failure: policy.pause_on_failure,
        limit: policy.limit.unwrap_or_default(),
    }
}

fn request_to_wire(request: &Request) -> v1::ScheduleRequest {
    let wish = match &request.wish {
        Wish::Trigger => v1::schedule_request::Wish::Trigger(true),
        Wish::Backfill(backfill) => v1::schedule_request::Wish::Backfill(v1::Backfill {
            instants: backfill.instants.iter().copied().map(time::to_wire).collect(),
            concurrency: u32::try_from(backfill.concurrency).unwrap_or(u32::MAX),
            again: backfill.again,
        }),
    };
    v1::ScheduleRequest { at: Some(time::to_wire(request.at)), by: request.by.clone(), wish: Some(wish) }
}

impl TryFrom<v1::Schedule> for Schedule<Bytes> {
    type Error = Error;

    fn try_from(mut wire: v1::Schedule) -> Result<Self, Error> {
        let spec = spec(&mut wire)?;
        let until = time::optional("paused_until", wire.paused_until)?;
        Ok(Self {
            id: wire.id.parse().map_err(|e| Error::new("id", e))?,
            queue: wire.queue.parse().map_err(|e| Error::new("queue", e))?,
            task: template(wire.task.ok_or_else(|| Error::missing("task"))?)?,
            spec,
            policy: policy(wire.policy)?,
            pause: wire.paused.then_some(Pause { note: wire.pause_note, until }),
            created_at: time::required("created_at", wire.created_at)?,
            requests: wire.requests.into_iter().map(request).collect::<Result<_, _>>()?,
            edits: wire
                .edits
                .into_iter()
                .map(|edit| {
                    Ok(Edit {
                        at: time::required("edits.at", edit.at)?,
                        by: edit.by,
                        what: edit.what,
                        // For people, and for links: one that cannot be read is left out.
                        trace: edit.traceparent.parse::<TraceParent>().ok(),
                    })
                })
                .collect::<Result<_, Error>>()?,
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

fn of_rule(e: &windlass_core::schedule::Error) -> Error {
    Error::new(e.field, e.reason())
}

fn policy(wire: Option<v1::Policy>) -> Result<Policy, Error> {
    let Some(wire) = wire else { return Ok(Policy::default()) };
    let overlap = v1::Overlap::try_from(wire.overlap)
        .map_err(|_| Error::unknown("policy.overlap", wire.overlap, "a policy for overlaps"))?;
    let misfire = v1::Misfire::try_from(wire.misfire)
        .map_err(|_| Error::unknown("policy.misfire", wire.misfire, "a policy for misfires"))?;
    let duration = |name, wire: Option<prost_types::Duration>, default| {
        wire.map_or(Ok(default), |wire| time::duration_from_wire(name, wire))
    };
    Ok(Policy {
        overlap: match overlap {
            v1::Overlap::Unspecified | v1::Overlap::AllowAll => Overlap::AllowAll,
            v1::Overlap::Skip => Overlap::Skip,
            v1::Overlap::BufferOne => Overlap::BufferOne,
            v1::Overlap::BufferAll => Overlap::BufferAll,
            v1::Overlap::CancelOther => Overlap::CancelOther,
            v1::Overlap::TerminateOther => Overlap::TerminateOther,
        },
        misfire: match misfire {
            v1::Misfire::Unspecified | v1::Misfire::Latest => Misfire::Latest,
            v1::Misfire::Skip => Misfire::Skip,
            v1::Misfire::All => Misfire::All,
            v1::Misfire::Paced => Misfire::Paced,
        },
        catch_up_window: duration("policy.catch_up_window", wire.catch_up_window, Policy::CATCH_UP_WINDOW)?,
        pace: duration("policy.pace", wire.pace, Policy::PACE)?,
        pause_on_failure: wire.pause_on_failure,
        limit: Some(wire.limit).filter(|limit| *limit > 0),
    })
}

fn request(wire: v1::ScheduleRequest) -> Result<Request, Error> {
    let missing = || Error::new("requests", "have one without a wish: expected trigger or backfill");
    let wish = match wire.wish.ok_or_else(missing)? {
        v1::schedule_request::Wish::Trigger(_) => Wish::Trigger,
        v1::schedule_request::Wish::Backfill(backfill) => {
            if backfill.instants.len() > MOST_BACKFILLED {
                let count = backfill.instants.len();
                let reason = format!("are {count}: expected at most {MOST_BACKFILLED}");
                return Err(Error::new("requests.backfill.instants", reason));
            }
            let instants = backfill.instants.into_iter().map(|at| time::required("instants", Some(at)));
            Wish::Backfill(Backfill {
                instants: instants.collect::<Result<_, _>>()?,
                concurrency: usize::try_from(backfill.concurrency.max(1)).unwrap_or(1),
                again: backfill.again,
            })
        }
    };
    Ok(Request { at: time::required("requests.at", wire.at)?, by: wire.by, wish })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use windlass_core::schedule::{Cron, Exclusions, Interval, Rule, Spec, Zone};
    use windlass_core::{Priority, RetryPolicy};

    use super::*;

    fn schedule(rule: Rule) -> Schedule<Bytes> {
        Schedule {
            id: "nightly".parse().unwrap(),
            queue: "reports".parse().unwrap(),
            task: Template {
                kind: "report.make".parse().unwrap(),
                payload: Bytes::from_static(b"{\"day\":1}"),
                content_type: "application/json".to_owned(),
                priority: Priority::High,
                retry: Some(RetryPolicy::default().with_max_attempts(2).unwrap()),
                attempt_timeout: Some(Duration::from_millis(1500)),
                max_wait: Some(Duration::from_mins(7)),
            },
            spec: Spec::from(rule),
            policy: Policy::default(),
            pause: Some(Pause::default()),
            created_at: Timestamp::new(1_700_000_000, 5).unwrap(),
            requests: Vec::new(),
            edits: Vec::new(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn interval(millis: u64, phase: u64) -> Rule {
        Rule::Interval(Interval::new(Duration::from_millis(millis), Duration::from_millis(phase)).unwrap())
    }

    fn cron() -> Rule {
        Rule::Cron(Cron::new("0 2 * * *", "Europe/Berlin").unwrap())
    }

    #[test]
    fn reads_what_it_writes() {
        let mut full = schedule(cron());
        let rules = vec![cron(), interval(5000, 700), Rule::Once(at(99))];
        let days = vec![("2026-12-24".parse().unwrap(), "2026-12-26".parse().unwrap())];
        let zone = Zone::new("Europe/Berlin").unwrap();
        full.spec = Spec::new(rules)
            .and_then(|spec| spec.between(Some(at(1)), Some(at(9_999_999))))
            .unwrap()
            .without(Exclusions::new(zone, days, vec![(at(5), at(6))]).unwrap())
            .with_checked_jitter(Duration::from_secs(3));
        full.policy = Policy {
            overlap: Overlap::CancelOther,
            misfire: Misfire::Paced,
            catch_up_window: Duration::from_hours(3),
            pace: Duration::from_secs(2),
            pause_on_failure: true,
            limit: Some(7),
        };
        full.pause = Some(Pause { note: "moving".into(), until: Some(at(77)) });
        let backfill = Backfill { instants: vec![at(3), at(2)], concurrency: 4, again: true };
        let request = |second, wish| Request { at: at(second), by: "me".into(), wish };
        full.requests = vec![request(1, Wish::Trigger), request(2, Wish::Backfill(backfill))];
        let trace = TraceParent { trace_id: 7, span_id: 8, sampled: true };
        full.edits = vec![Edit { at: at(4), by: "me".into(), what: "paused".into(), trace: Some(trace) }];
        for schedule in [schedule(cron()), schedule(interval(1500, 0)), schedule(interval(1500, 9)), full] {
            assert_eq!(Schedule::try_from(v1::Schedule::from(&schedule)), Ok(schedule));
        }
    }

    #[test]
    fn what_the_first_version_wrote_is_read_and_what_it_can_do_it_is_given() {
        for (rule, known) in [(cron(), true), (interval(1500, 0), true), (interval(1500, 9), false)] {
            let schedule = schedule(rule);
            let mut wire = v1::Schedule::from(&schedule);
            assert_eq!(wire.spec.is_some(), known);
            if known {
                wire.rules.clear();
                wire.policy = None;
                assert_eq!(Schedule::try_from(wire), Ok(schedule));
            }
        }
    }

    #[test]
    fn refuses_and_names_the_field() {
        let mut good = v1::Schedule::from(&schedule(Rule::Cron(Cron::new("0 2 * * *", "").unwrap())));
        good.rules.clear();
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
    }
}
