//! The fleet as it was, beside a reference that only looks at the events.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use windlass_core::{Event, JobState, QueueName, Transition};
use windlass_monitor::api::{Api, router};
use windlass_monitor::store::PastFilter;

use crate::fixture::conform::conform;
use crate::fixture::{Database, On, accepted, error, event, job_id, life, second};
use crate::on_both;

on_both![
    each_instant_is_what_the_events_say,
    what_was_removed_is_missing_before_its_end_and_no_later,
    an_instant_is_told_over_http,
];

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    fn seconds(&mut self, most: u64) -> i64 {
        i64::try_from(self.below(most)).unwrap() + 1
    }
}

/// A job's events in their order, each later than the one before.
fn random_life(dice: &mut Dice, queue: &str, job: u64) -> Vec<Event> {
    let mut at = dice.seconds(600);
    let mut events = vec![accepted(queue, job, at)];
    if dice.below(4) == 0 {
        events[0].due_at = Some(second(at + dice.seconds(60)));
    }
    let mut add = |dice: &mut Dice, transition, attempt| {
        at += dice.seconds(40);
        let due_at = matches!(transition, Transition::Retried | Transition::Snoozed)
            .then(|| second(at + dice.seconds(30)));
        events.push(Event { due_at, ..event(queue, job, transition, attempt, at) });
    };
    for attempt in 1..=3 {
        if dice.below(3) == 0 {
            add(dice, Transition::Held, attempt - 1);
            if dice.below(6) == 0 {
                return events;
            }
            add(dice, Transition::Queued, attempt - 1);
        }
        match dice.below(12) {
            0 => return events,
            1 => {
                add(dice, Transition::Cancelled, attempt - 1);
                return events;
            }
            2 => {
                add(dice, Transition::Expired, attempt - 1);
                return events;
            }
            _ => add(dice, Transition::Started, attempt),
        }
        match dice.below(8) {
            0 => return events,
            1 => add(dice, Transition::Crashed, attempt),
            2 => add(dice, Transition::Snoozed, attempt),
            3 | 4 => add(dice, Transition::Retried, attempt),
            5 => {
                add(dice, Transition::Dead, attempt);
                return events;
            }
            _ => {
                add(dice, Transition::Succeeded, attempt);
                return events;
            }
        }
    }
    events
}

/// Where a job stood: by the last event that had happened.
fn reference(events: &[Event], at: Timestamp) -> Option<JobState> {
    let last = events.iter().rfind(|event| event.at <= at)?;
    let due = events.iter().filter(|event| event.at <= at).rev().find_map(|event| event.due_at);
    let waits = due.is_some_and(|due| due > at);
    Some(match last.transition {
        Transition::Accepted if waits => JobState::Scheduled,
        Transition::Retried | Transition::Snoozed if waits => JobState::Retrying,
        Transition::Held => JobState::Held,
        Transition::Started => JobState::Running,
        Transition::Succeeded => JobState::Succeeded,
        Transition::Dead => JobState::Dead,
        Transition::Cancelled => JobState::Cancelled,
        Transition::Expired => JobState::Expired,
        _ => JobState::Queued,
    })
}

fn counted(counts: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    counts.iter().filter(|(_, count)| **count > 0).map(|(state, count)| (state.clone(), *count)).collect()
}

async fn each_instant_is_what_the_events_say(on: On) {
    let mut dice = Dice(7);
    let lives: Vec<_> = (1..=200)
        .map(|job| {
            let queue = if dice.below(3) == 0 { "sms" } else { "mail" };
            (queue, job, random_life(&mut dice, queue, job))
        })
        .collect();
    let mut database = Database::on(on).await;
    for some in lives.chunks(17) {
        database.tell(some.iter().flat_map(|(_, _, events)| events.iter().rev().cloned()).collect()).await;
    }
    let mut seen = BTreeMap::<&str, usize>::new();
    for at in (0..=900).step_by(13).map(second) {
        let stood = |(queue, job, events): &(&'static str, u64, Vec<Event>)| {
            Some((*queue, *job, reference(events, at)?))
        };
        let expected: Vec<_> = lives.iter().filter_map(stood).collect();
        let past = database.store.past(at, None).await.unwrap();
        assert!(past.complete && past.known_since.is_none());
        let mut counts = BTreeMap::<&str, BTreeMap<String, u64>>::new();
        for (queue, _, state) in &expected {
            *counts.entry(queue).or_default().entry(state.to_string()).or_default() += 1;
            *seen.entry(state.as_str()).or_default() += 1;
        }
        let told: BTreeMap<_, _> =
            past.queues.iter().map(|q| (q.name.as_str(), counted(&q.counts))).collect();
        assert_eq!(told, counts, "{at}");
        let mail: QueueName = "mail".parse().unwrap();
        let of_mail = database.store.past(at, Some(&mail)).await.unwrap().queues;
        assert_eq!(of_mail, past.queues.into_iter().filter(|q| q.name == "mail").collect::<Vec<_>>());
        for state in [None, Some(JobState::Running), Some(JobState::Retrying), Some(JobState::Succeeded)] {
            let filter = PastFilter { state, queue: Some(mail.clone()), kind: None };
            let mut listed = Vec::new();
            let mut cursor = None;
            loop {
                let page = database.store.past_list(at, &filter, cursor, 7).await.unwrap();
                listed.extend(page.jobs.iter().map(|row| (row.id, row.state)));
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            listed.sort_by_key(|(id, _)| *id);
            let wanted = |(queue, _, stands): &&(&str, u64, JobState)| {
                *queue == "mail" && state.is_none_or(|state| state == *stands)
            };
            let wanted: Vec<_> =
                expected.iter().filter(wanted).map(|(_, job, state)| (job_id(*job), *state)).collect();
            assert_eq!(listed, wanted, "{at} {state:?}");
        }
    }
    assert_eq!(seen.len(), JobState::ALL.len(), "every state was met: {seen:?}");
}

async fn what_was_removed_is_missing_before_its_end_and_no_later(on: On) {
    let mut database = Database::on(on).await;
    // Each accepted at 10 and ended at 25, but for the last, at 40.
    for job in 1..=5 {
        database.tell(life("mail", job)).await;
    }
    database.tell(vec![accepted("mail", 6, 10), event("mail", 6, Transition::Succeeded, 1, 40)]).await;
    let store = &database.store;
    let before = [24, 25, 39, 40].map(second);
    let mut told = Vec::new();
    for at in before {
        told.push(store.past(at, None).await.unwrap());
    }
    assert_eq!(
        counted(&told[0].queues[0].counts),
        BTreeMap::from([("queued".into(), 1), ("running".into(), 5)])
    );
    assert_eq!(store.remove_ended(JobState::Succeeded, second(30), 100).await.unwrap(), 5);
    for (at, past) in before.into_iter().zip(told).skip(1) {
        let now = store.past(at, None).await.unwrap();
        assert_eq!(
            (now.queues, now.known_since, now.complete),
            (past.queues, Some(second(25)), true),
            "{at}"
        );
    }
    let gone = store.past(second(24), None).await.unwrap();
    assert!(!gone.complete);
    assert_eq!(counted(&gone.queues[0].counts), BTreeMap::from([("queued".into(), 1)]));
}

async fn an_instant_is_told_over_http(on: On) {
    let mut database = Database::on(on).await;
    database.tell(life("mail", 1)).await;
    let mut dead = event("mail", 2, Transition::Dead, 1, 30);
    dead.error = Some(error("no such\0file <b>"));
    database.tell(vec![accepted("mail", 2, 22), dead]).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = router(Api::of_database(database.store.clone()));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let get = async |path: &str| reqwest::get(format!("{url}{path}")).await.unwrap();
    let read = async |path: &str| -> Value { get(path).await.json().await.unwrap() };
    let document = read("/api/v1/openapi.json").await;
    let check = |schema: &str, value: &Value| {
        conform(&document, &json!({ "$ref": format!("#/components/schemas/{schema}") }), value, schema);
    };

    let at = second(23);
    let past = read(&format!("/api/v1/past?at={at}")).await;
    check("PastState", &past);
    assert_eq!((&past["complete"], &past["known_since"]), (&json!(true), &Value::Null));
    let counts = &past["queues"][0]["counts"];
    assert_eq!(
        (&counts["running"], &counts["queued"], &counts["succeeded"]),
        (&json!(1), &json!(1), &json!(0))
    );

    let running = read(&format!("/api/v1/past/jobs?at={at}&state=running")).await;
    check("JobList", &running);
    assert_eq!(running["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(running["jobs"][0]["run_seconds"], 2.0);

    let job = read(&format!("/api/v1/past/jobs/{}?at={}", job_id(1), second(12))).await;
    check("JobView", &job);
    assert_eq!((&job["state"], job["transitions"].as_array().unwrap().len()), (&json!("retrying"), 3));
    assert_eq!(job["result"], Value::Null);
    assert_eq!(get(&format!("/api/v1/past/jobs/{}?at={}", job_id(1), second(9))).await.status(), 404);
    assert_eq!(get(&format!("/api/v1/past/jobs/{}?at={at}", job_id(9))).await.status(), 404);

    for (path, field) in [
        ("/api/v1/past", "at"),
        ("/api/v1/past?at=yesterday", "at"),
        ("/api/v1/past?at=2200-01-01T00:00:00Z", "at"),
        ("/api/v1/past?at=2024-01-01T00:00:00Z&queue=no%20queue", "queue"),
        ("/api/v1/past/jobs?at=2024-01-01T00:00:00Z&state=odd", "state"),
        ("/api/v1/past/jobs?at=2024-01-01T00:00:00Z&colour=red", "colour"),
    ] {
        let refused = get(path).await;
        assert_eq!(refused.status(), 400, "{path}");
        assert_eq!(refused.json::<Value>().await.unwrap()["field"], field, "{path}");
    }

    let page = get(&format!("/past?at={at}")).await.text().await.unwrap();
    assert!(page.contains(&format!("/past/jobs/{}?at={at}", job_id(1))), "{page}");
    // As the field of a form sends it.
    let civil = at.to_string().trim_end_matches('Z').to_owned();
    let page = get(&format!("/past?at={civil}&state=running")).await.text().await.unwrap();
    assert!(page.contains(&job_id(1).to_string()) && !page.contains(&job_id(2).to_string()), "{page}");
    let page = get(&format!("/past/jobs/{}?at={}", job_id(2), second(31))).await.text().await.unwrap();
    assert!(page.contains("&#60;b&#62;") && page.contains("dead"), "{page}");
    assert_eq!(get("/past?at=tomorrow").await.status(), 400);
}
