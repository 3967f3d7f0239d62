//! A monitor with a fleet's history of the last hour, for who looks at its pages.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use prost::Message as _;
use reqwest::Method;
use serde_json::{Value, json};
use windlass_broker::presence::{Announcer, Presence, Usage};
use windlass_core::relations::Relations;
use windlass_core::schedule::{Cause, Cursor, Past, What};
use windlass_core::task::Parent;
use windlass_core::told::{LogLevel, LogLine, Progress};
use windlass_core::{Dependency, Event, JobId, OnFailure, ScheduleId, Transition};
use windlass_monitor::access::Role;
use windlass_monitor::store::Message;
use windlass_proto::v1;

use crate::fixture::served::{Served, token_of};
use crate::fixture::{accepted, error, event, job_id, started};

/// Of the jobs that the handler of job 2 published, from 500 on.
pub(crate) const LAST_CHILD: u64 = 536;

/// Applies schedules as an operator.
pub(crate) async fn apply(server: &Served, schedules: Value) {
    let bearer = format!("Bearer {}", token_of(Role::Operator));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = json!({ "schedules": schedules, "reason": "as agreed" }).to_string();
    let answer = server.send(Method::POST, "/api/v1/schedules/apply", &headers, body).await;
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
}

/// Stores how far a schedule has come, as its scheduler would.
pub(crate) async fn come(server: &Served, id: &str, cursor: &Cursor) {
    let scheduler = server.nats.connect("scheduler").await.unwrap();
    let value = v1::Cursor::from(cursor).encode_to_vec();
    scheduler.bucket(scheduler.names().cursors_bucket()).put(id, value.into(), None).await.unwrap();
}

/// Schedules of every sort, most of them with a past.
async fn schedules(server: &mut Served) {
    let berlin = "Europe/Berlin";
    let all = json!([
        { "id": "nightly-report", "kind": "report.build", "queue": "reports", "cron": "30 2 * * *", "zone": berlin,
          "payload": { "region": "eu", "formats": ["pdf", "csv"] }, "overlap": "skip", "max_attempts": 3,
          "attempt_timeout": "10m", "exclude": ["2027-12-24/2027-12-26"] },
        { "id": "digest", "kind": "mail.send", "queue": "mail", "cron": ["0 9 * * MON-FRI", "0 10 * * SAT"], "zone": berlin },
        { "id": "standup", "kind": "mail.send", "queue": "mail", "cron": "0 9 * * MON-FRI", "zone": berlin },
        { "id": "backup", "kind": "http.request", "queue": "reports", "every": "6h", "phase": "30m" },
        { "id": "cleanup", "kind": "http.request", "queue": "reports", "cron": "0 */4 * * *" },
        { "id": "metrics", "kind": "http.request", "queue": "reports", "cron": "0 * * * *", "misfire": "all" },
        { "id": "heartbeat", "kind": "http.request", "queue": "mail", "every": "30s" },
        { "id": "invoices", "kind": "report.build", "queue": "reports", "cron": "0 9 1 * *", "zone": berlin,
          "pause_on_failure": true },
        { "id": "reminder", "kind": "mail.send", "queue": "mail", "cron": "15 7,12,18 * * *", "jitter": "5m" },
        { "id": "launch", "kind": "mail.send", "queue": "mail", "at": "2099-01-01T00:00:00Z" },
    ]);
    apply(server, all).await;
    let bearer = format!("Bearer {}", token_of(Role::Operator));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = json!({ "reason": "the warehouse moves" }).to_string();
    server.send(Method::POST, "/api/v1/schedules/invoices/pause", &headers, body).await;
    for (id, period, dead, missed) in [
        ("nightly-report", 86_400, 4, 1),
        ("metrics", 3600, 9, 0),
        ("digest", 86_400, 99, 0),
        ("backup", 21_600, 2, 4),
    ] {
        past(server, id, period, dead, missed).await;
    }
}

/// Twelve instants of a schedule: of those that fired, every `dead`th job died; before them some were missed.
async fn past(server: &mut Served, id: &str, period: i64, dead: i64, missed: u64) {
    let schedule: ScheduleId = id.parse().unwrap();
    let now = Timestamp::now();
    let ago = |periods: i64| now.checked_sub(SignedDuration::from_secs(periods * period + 600)).unwrap();
    let late = |at: Timestamp| at.checked_add(SignedDuration::from_millis(340)).unwrap();
    let mut recent = Vec::new();
    if missed > 0 {
        recent.push(Past { instant: ago(16), at: ago(12), what: What::Missed, count: missed });
    }
    let mut events = Vec::new();
    for number in (0..12).rev() {
        let instant = ago(number);
        let what = if number == 7 { What::Skipped } else { What::Fired(Cause::Rule) };
        recent.push(Past { instant, at: late(instant), what, count: 1 });
        if number == 7 {
            continue;
        }
        let end = if number % dead == dead - 1 { Transition::Dead } else { Transition::Succeeded };
        let job = JobId::of_fire(&schedule, instant);
        let relations = Relations { schedule_id: Some(schedule.clone()), ..Relations::default() };
        let told = |event: Event, at: Timestamp| Event { job_id: job, at, ..event };
        events.push(Event {
            accepted_at: Some(instant),
            due_at: Some(instant),
            relations: Some(Box::new(relations)),
            ..told(event("reports", 0, Transition::Accepted, 0, 0), instant)
        });
        let failed = (end == Transition::Dead).then(|| error("the warehouse does not answer"));
        events.push(Event { error: failed, ..told(event("reports", 0, end, 1, 0), late(instant)) });
    }
    server
        .database
        .store
        .apply(vec![Message { sequence: sequence(id), events, ..Message::default() }])
        .await
        .unwrap();
    let cursor = Cursor { fires: 240, misfires: missed, skipped: 1, recent, ..Cursor::at(ago(0)) };
    come(server, id, &cursor).await;
}

/// Of a message of its own for each schedule.
fn sequence(id: &str) -> u64 {
    1000 + id.bytes().map(u64::from).sum::<u64>()
}

/// Job 2 has children, and jobs 7 and 8 wait for others.
async fn relate(server: &mut Served, now: i64) {
    let mut events = Vec::new();
    let parent = Parent { queue: "mail".parse().unwrap(), job_id: job_id(2), detached: false };
    for child in 500..=LAST_CHILD {
        let relations = Relations { parent: Some(parent.clone()), ..Relations::default() };
        let at = now - 38 + i64::try_from(child - 500).unwrap();
        let made = Event { relations: Some(Box::new(relations)), ..accepted("thumbnails", child, at) };
        events.push(made);
        match child % 9 {
            0 => {}
            1 => events.push(started("thumbnails", child, 1, at + 1)),
            2 => {
                let failed = Event {
                    error: Some(error("not an image")),
                    ..event("thumbnails", child, Transition::Dead, 1, at + 2)
                };
                events.extend([started("thumbnails", child, 1, at + 1), failed]);
            }
            _ => {
                events.push(started("thumbnails", child, 1, at + 1));
                events.push(event("thumbnails", child, Transition::Succeeded, 1, at + 2));
            }
        }
    }
    let on =
        |job| Dependency { queue: "mail".parse().ok(), job_id: job_id(job), on_failure: OnFailure::Fail };
    for (job, after) in [(7, vec![on(1), on(2)]), (8, vec![on(2)])] {
        let after_count = u32::try_from(after.len()).unwrap();
        let relations = Relations { after, after_count, ..Relations::default() };
        events.push(Event { relations: Some(Box::new(relations)), ..accepted("reports", job, now - 30) });
        events.push(event("reports", job, Transition::Held, 0, now - 30));
    }
    server.database.store.apply(vec![Message { sequence: 2, events, ..Message::default() }]).await.unwrap();
}

/// A dispatcher, two schedulers and a monitor, of which one is not ready.
pub(crate) async fn fleet(server: &Served) {
    let now = Timestamp::now();
    for (user, id, resident_bytes, not_ready, metrics) in [
        (
            "dispatcher",
            "dispatcher-host-a-4700-0a1b2c3d",
            11_300_000,
            None,
            vec![("windlass_tasks_admitted_total", 1_240_331.0)],
        ),
        (
            "scheduler",
            "scheduler-host-a-4701-1a2b3c4d",
            9_800_000,
            None,
            vec![("windlass_scheduler_leader", 1.0), ("windlass_scheduler_fires_total", 9210.0)],
        ),
        (
            "scheduler",
            "scheduler-host-b-311-5e6f7a8b",
            9_100_000,
            Some("broker: the connection is lost, connecting again"),
            vec![],
        ),
        (
            "monitor",
            "monitor-host-a-4702-9c8d7e6f",
            42_000_000,
            None,
            vec![("windlass_monitor_events_total", 3_720_993.0)],
        ),
    ] {
        let broker = server.nats.connect(user).await.unwrap();
        let presence = Presence {
            instance: id.to_owned(),
            service: user.to_owned(),
            version: "0.1.0".to_owned(),
            host: if id.contains("host-b") { "host-b" } else { "host-a" }.to_owned(),
            started_at: now.checked_sub(SignedDuration::from_hours(27)).ok(),
            not_ready: not_ready.into_iter().map(ToOwned::to_owned).collect(),
            usage: Some(Usage { resident_bytes, cpu_seconds: 96.5, cpu_cores: Some(0.021) }),
            metrics: metrics
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect::<BTreeMap<_, _>>(),
        };
        Announcer::new(&broker, user, id).say(presence).await.unwrap();
    }
}

/// What happened in the last hour: jobs in every state.
fn histories(now: i64) -> Vec<Event> {
    let mut events = Vec::new();
    for job in 1000..1240u64 {
        let n = i64::try_from(job - 1000).unwrap();
        let at = now - 3500 + n * 14;
        let queue = ["mail", "reports", "thumbnails"][usize::try_from(n % 3).unwrap()];
        let run = 1 + (n * 7) % 9;
        events.push(accepted(queue, job, at));
        events.push(started(queue, job, 1, at + 1 + n % 3));
        let end = at + 1 + n % 3 + run;
        let failed = Event {
            error: Some(error("connection to 10.0.0.7:5432 refused")),
            ..event(queue, job, Transition::Retried, 1, end)
        };
        match n % 20 {
            7 => {
                events.push(Event { due_at: Some(crate::fixture::second(end + 5)), ..failed });
                events.push(started(queue, job, 2, end + 6));
                events.push(event(queue, job, Transition::Succeeded, 2, end + 8));
            }
            13 => {
                let dead = event(queue, job, Transition::Dead, 1, end);
                events.push(Event { error: Some(error(&format!("no mailbox for user {job}"))), ..dead });
            }
            17 => events.push(event(queue, job, Transition::Cancelled, 1, end)),
            _ => events.push(event(queue, job, Transition::Succeeded, 1, end)),
        }
    }
    // One with a history worth looking at, one that runs, some that wait.
    events.push(accepted("mail", 1, now - 90));
    for (attempt, at) in [(1, now - 88), (2, now - 60), (3, now - 20)] {
        events.push(started("mail", 1, attempt, at));
        let failed = Event {
            error: Some(error("connection to 10.0.0.7:5432 refused\n  caused by: no route to host")),
            due_at: Some(crate::fixture::second(at + 24)),
            ..event("mail", 1, Transition::Retried, attempt, at + 4 * i64::from(attempt))
        };
        events.push(if attempt < 3 {
            failed
        } else {
            Event { due_at: None, ..event("mail", 1, Transition::Succeeded, 3, at + 9) }
        });
    }
    let last = events.last_mut().unwrap();
    last.result = Some(br#"{"sent": 3, "to": ["ada@example.com", "bob@example.com"]}"#.to_vec());
    events.extend([accepted("mail", 2, now - 40), started("mail", 2, 1, now - 38)]);
    let later = |job, seconds| Event {
        due_at: Some(crate::fixture::second(now + seconds)),
        ..accepted("reports", job, now - 30)
    };
    events.extend([
        later(3, 3600),
        later(4, 7200),
        accepted("thumbnails", 5, now - 25),
        accepted("thumbnails", 6, now - 12),
    ]);
    events
}

/// A fleet's history of the last hour: jobs in every state, letters, an alert, workers.
pub(crate) async fn populate(server: &mut Served) {
    let now = jiff::Timestamp::now().as_second() - 1_700_000_000;
    let events = histories(now);
    let line = |sequence, level, message: &str, at| LogLine {
        job_id: job_id(1),
        queue: "mail".parse().unwrap(),
        attempt: 3,
        sequence,
        at: crate::fixture::second(at),
        level,
        message: message.to_owned(),
    };
    let message = Message {
        sequence: 1,
        events,
        progress: vec![Progress {
            job_id: job_id(2),
            queue: "mail".parse().unwrap(),
            attempt: 1,
            fraction: Some(0.6),
            note: "6 of 10 pages".to_owned(),
            at: crate::fixture::second(now - 5),
        }],
        lines: vec![
            line(1, LogLevel::Info, "connecting to smtp.example.com", now - 19),
            line(2, LogLevel::Warn, "the server asks to slow down", now - 18),
            line(3, LogLevel::Info, "sent 3 messages", now - 12),
        ],
    };
    server.database.store.apply(vec![message]).await.unwrap();
    relate(server, now).await;
    schedules(server).await;
    fleet(server).await;
    for job in 0..9 {
        server.dead("mail", 100 + job, "mail.send", &format!("no mailbox for user {job}"), now - 600).await;
    }
    for job in 0..3 {
        server
            .dead("reports", 200 + job, "report.build", "connection to 10.0.0.7:5432 refused", now - 300)
            .await;
    }
    server.database.fire("oldest_age", "thumbnails").await;
    let worker = server.nats.connect("worker").await.unwrap();
    let bucket = worker.bucket(worker.names().workers_bucket());
    for (id, running, draining, stuck) in
        [("worker-one-4711-9f3c2a10", 7, false, 0), ("worker-two-4712-1b2c3d4e", 2, true, 0)]
    {
        let info = v1::WorkerInfo {
            id: id.to_owned(),
            pool: "default".to_owned(),
            queues: vec!["mail".to_owned(), "reports".to_owned()],
            kinds: vec!["mail.send".to_owned(), "report.build".to_owned(), "http.request".to_owned()],
            slots: 8,
            running,
            version: "0.1.0".to_owned(),
            host: "host-a".to_owned(),
            draining,
            stuck,
            started_at: Some(windlass_proto::instant(crate::fixture::second(now - 86_400))),
            usage: Some(v1::Usage { resident_bytes: 18_400_000, cpu_seconds: 412.0, cpu_cores: Some(0.34) }),
        };
        bucket
            .put(
                &worker.names().worker_key(&windlass_core::PoolName::default(), id),
                info.encode_to_vec().into(),
                None,
            )
            .await
            .unwrap();
    }
}
