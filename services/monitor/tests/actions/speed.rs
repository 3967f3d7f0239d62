//! How long the monitor takes for each page with a million jobs in its database. It takes minutes, so it is asked for:
//!
//! `cargo test --release -p windlass-monitor --test actions -- --ignored --nocapture speed`

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use windlass_core::labels::Labels;
use windlass_core::{Event, JobError, JobId, Kind, Transition};
use windlass_monitor::access::Role;
use windlass_monitor::store::Message;

use crate::fixture::served::{Served, token_of};

const BATCH: u64 = 4000;
/// Over which they are spread, to now.
const DAYS: i64 = 7;
const BOUND: Duration = Duration::from_millis(100);
/// Of which the median counts.
const TIMES: usize = 7;

/// How many jobs: a million unless `WINDLASS_TEST_JOBS` says otherwise.
fn jobs() -> u64 {
    std::env::var("WINDLASS_TEST_JOBS").map_or(1_000_000, |text| text.parse().unwrap())
}

/// All that is told of a job.
fn events(number: u64, at: Timestamp) -> Vec<Event> {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    let id = JobId::from_parts(at, random);
    let kind: Kind =
        ["mail.send", "report.build", "page.get"][usize::try_from(number % 3).unwrap()].parse().unwrap();
    let queue = format!("queue-{}", number % 10);
    let after = |ms: u64| at.checked_add(SignedDuration::from_millis(i64::try_from(ms).unwrap())).unwrap();
    let event = |transition, attempt, ms| {
        Event::new(queue.parse().unwrap(), id, Some(kind.clone()), transition, attempt, after(ms))
    };
    let labels = match number % 5000 {
        0 => "env=prod,customer=rare".parse().unwrap(),
        even if even % 2 == 0 => "env=prod".parse().unwrap(),
        _ => Labels::default(),
    };
    let accepted =
        Event { accepted_at: Some(at), due_at: Some(at), labels, ..event(Transition::Accepted, 0, 0) };
    // Most have ended; some of the last ten thousand wait or run.
    let started = event(Transition::Started, 1, 5 + number * 7919 % 900);
    let end = 1000 + number * 104_729 % 9000;
    match number % 100 {
        0 => {
            let message = format!("no mailbox {} at host {}", number, number % 7);
            let error = JobError { message, code: format!("code_{}", number % 40), terminal: false };
            vec![accepted, started, Event { error: Some(error), ..event(Transition::Dead, 1, end) }]
        }
        1 => vec![accepted, event(Transition::Cancelled, 0, end)],
        2 if number % 1000 == 2 => vec![accepted, started],
        3 if number % 1000 == 3 => vec![accepted],
        _ => vec![accepted, started, event(Transition::Succeeded, 1, end)],
    }
}

async fn fill(server: &Served) -> String {
    let (jobs, now) = (jobs(), Timestamp::now());
    let step = SignedDuration::from_secs(DAYS * 86_400) / i32::try_from(jobs).unwrap();
    let mut last = String::new();
    for (sequence, first) in (0..jobs).step_by(usize::try_from(BATCH).unwrap()).enumerate() {
        let these = first..jobs.min(first + BATCH);
        let at = |number: u64| now.checked_sub(step * i32::try_from(jobs - number).unwrap()).unwrap();
        let events: Vec<Event> = these.flat_map(|number| events(number, at(number))).collect();
        last = format!("{}?queue={}", events.last().unwrap().job_id, events.last().unwrap().queue);
        let message =
            Message { sequence: u64::try_from(sequence).unwrap() + 1, events, ..Message::default() };
        server.database.store.apply(vec![message]).await.unwrap();
    }
    last
}

#[tokio::test]
#[ignore = "stores a million jobs"]
async fn every_page_is_quick_with_a_million_jobs() {
    let server = Served::start_with_roles().await;
    let began = Instant::now();
    let job = fill(&server).await;
    eprintln!("{} jobs stored in {:.0} s", jobs(), began.elapsed().as_secs_f64());
    for number in 0..1000 {
        server.dead("default", number, "mail.send", &format!("no mailbox {number}"), 5).await;
    }
    let schedules = (0..100).map(|number| {
        serde_json::json!({ "id": format!("schedule-{number}"), "kind": "mail.send", "cron": format!("{} * * * *", number % 60) })
    });
    crate::populated::apply(&server, schedules.collect()).await;
    let bearer = format!("Bearer {}", token_of(Role::Admin));
    let client = reqwest::Client::new();
    let mut slow = Vec::new();
    for path in [
        "/",
        "/?range=6h",
        "/?range=24h",
        "/?range=7d",
        "/?range=30d",
        "/queues",
        "/queues/default",
        "/queues/queue-1",
        "/queues/queue-1?range=30d",
        "/jobs",
        "/jobs?q=state%3Adead",
        "/jobs?q=state%3Aqueued+queue%3Aqueue-3",
        "/jobs?q=state%3Asucceeded+queue%3Aqueue-3+kind%3Amail.send",
        "/jobs?q=since%3A1h",
        "/jobs?q=since%3A2days+until%3A1day+queue%3Aqueue-2",
        "/jobs?q=kind%3Anone.such",
        "/jobs?q=label%3Aenv%3Dprod",
        "/jobs?q=label%3Aenv%3Dprod+state%3Adead+queue%3Aqueue-0",
        "/jobs?q=label%3Aenv%3Dprod+since%3A1h",
        "/jobs?q=label%3Acustomer%3Drare",
        "/jobs?q=label%3Acustomer%3Drare+state%3Adead",
        "/jobs?q=label%3Acustomer%3Drare+since%3A7days",
        "/jobs?q=kind%3Amail.send+state%3Aexpired",
        &format!("/jobs/{job}"),
        "/dead",
        "/dead/letters",
        "/workers",
        "/fleet",
        "/schedules",
        "/schedules/schedule-7",
        "/calendar",
        "/calendar?view=month",
        "/alerts",
        "/reports",
        "/reports?range=7d",
        "/operations",
        "/log",
    ] {
        let mut took = Vec::new();
        for _ in 0..TIMES {
            let asked = client.get(format!("{}{path}", server.url)).header("authorization", &bearer);
            let began = Instant::now();
            let answer = asked.send().await.unwrap();
            let status = answer.status();
            let bytes = answer.bytes().await.unwrap().len();
            took.push(began.elapsed());
            assert!(status.is_success() || path == "/queues/queue-1", "{path}: {status}, {bytes} bytes");
        }
        took.sort_unstable();
        let median = took[TIMES / 2];
        eprintln!(
            "{:>7.1} ms (at most {:>7.1})  {path}",
            median.as_secs_f64() * 1e3,
            took[TIMES - 1].as_secs_f64() * 1e3
        );
        if median > BOUND {
            slow.push(format!("{path}: {median:?}"));
        }
    }
    assert!(slow.is_empty(), "slower than {BOUND:?}: {slow:#?}");
}
