//! Events into a real database.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[allow(dead_code, reason = "shared with the tests of the API")]
mod fixture;

use fixture::tables::{tables, texts_of};
use fixture::{Database, On, accepted, event, job_id, life, second, started};
use sqlx::{Connection as _, SqliteConnection};
use windlass_core::history::{History, JobView};
use windlass_core::{Event, JobState, Transition};
use windlass_monitor::store::{Error, Filter, JobRow, Message, Store};
use windlass_testkit::TestPostgres;
use windlass_testkit::postgres::PASSWORD;

on_both![
    a_job_is_what_its_events_fold_to,
    a_second_acceptance_is_kept,
    the_same_messages_again_change_nothing,
    the_order_of_events_does_not_matter,
    a_restart_resumes,
    a_large_batch_is_stored_whole,
    a_job_that_ended_is_told_once,
    refusals_alone_are_no_job,
    a_lost_head_is_recorded_once,
    another_stream_starts_again,
    a_newer_schema_is_refused,
    a_timer_that_ended_counts_as_queued,
    a_rebuild_ends_in_the_same_tables,
];

async fn find(store: &Store, job: u64) -> JobView {
    store.find(job_id(job), None).await.unwrap().pop().unwrap()
}

async fn rows(store: &Store) -> Vec<JobRow> {
    store.list(&Filter::default(), None, 500, second(1000)).await.unwrap().jobs
}

/// The attempts of a job.
async fn attempts(
    store: &Store,
    job: u64,
) -> Vec<(u32, Option<String>, Option<&'static str>, Option<String>)> {
    let attempts = find(store, job).await.attempts.into_iter();
    attempts
        .map(|a| {
            (a.number, a.worker, a.outcome.map(windlass_core::Outcome::as_str), a.error.map(|e| e.message))
        })
        .collect()
}

fn message(sequence: u64, events: Vec<Event>) -> Message {
    Message { sequence, events, ..Message::default() }
}

async fn a_job_is_what_its_events_fold_to(on: On) {
    let mut database = Database::on(on).await;
    assert_eq!(database.tell(life("mail", 1)).await, 5);
    let expected = History::from_iter(life("mail", 1)).view().unwrap();
    assert_eq!(find(&database.store, 1).await, expected);
    let row = rows(&database.store).await.pop().unwrap();
    assert_eq!((row.state, row.attempt_count), (JobState::Succeeded, 2));
    assert_eq!((row.wait_seconds, row.run_seconds), (Some(1.0), Some(4.0)));
    let word = |text: &str| Some(text.to_owned());
    assert_eq!(
        attempts(&database.store, 1).await,
        [
            (1, word("worker-1"), Some("failed"), word("no such file")),
            (2, word("worker-2"), Some("succeeded"), None),
        ]
    );
}

/// An id that was forgotten and accepted again: the database keeps both acceptances, in one batch or in two.
async fn a_second_acceptance_is_kept(on: On) {
    let mut again = life("mail", 1).remove(0);
    (again.at, again.accepted_at) = (second(5000), Some(second(5000)));
    let mut events = life("mail", 1);
    events.push(again.clone());
    let expected = History::from_iter(events.clone()).view().unwrap();
    let note = expected.transitions.last().and_then(|t| t.note.clone()).unwrap_or_default();
    assert!(note.contains("accepted again"), "{note}");
    let mut at_once = Database::on(on).await;
    at_once.tell(events).await;
    let mut later = Database::on(on).await;
    later.tell(life("mail", 1)).await;
    assert_eq!(later.tell(vec![again.clone()]).await, 1);
    assert_eq!(later.tell(vec![again.clone()]).await, 0);
    let mut before = Database::on(on).await;
    before.tell(vec![again]).await;
    before.tell(life("mail", 1)).await;
    for database in [at_once, later, before] {
        assert_eq!(find(&database.store, 1).await, expected);
    }
}

async fn the_same_messages_again_change_nothing(on: On) {
    let database = Database::on(on).await;
    let messages = vec![message(1, life("mail", 1)), message(2, life("mail", 2))];
    assert_eq!(database.store.apply(messages.clone()).await.unwrap().ended.len(), 2);
    let (before, tables_before) = (rows(&database.store).await, tables(database.url()).await);
    let again = database.store.apply(messages).await.unwrap();
    assert_eq!((again.changed, again.ended), (0, vec![]));
    assert_eq!(rows(&database.store).await, before);
    assert_eq!(tables(database.url()).await, tables_before);
}

async fn the_order_of_events_does_not_matter(on: On) {
    let mut forward = Database::on(on).await;
    forward.tell(life("mail", 1)).await;
    let mut backward = Database::on(on).await;
    // Each in a transaction of its own, the end first.
    for event in life("mail", 1).into_iter().rev() {
        assert_eq!(backward.tell(vec![event]).await, 1);
    }
    assert_eq!(find(&backward.store, 1).await, find(&forward.store, 1).await);
    assert_eq!(rows(&backward.store).await, rows(&forward.store).await);
    assert_eq!(tables(backward.url()).await, tables(forward.url()).await);
}

async fn a_restart_resumes(on: On) {
    let mut database = Database::on(on).await;
    let events = life("mail", 1);
    // The later message first, as after a restart of the reader.
    database.store.apply(vec![message(3, events[2..4].to_vec())]).await.unwrap();
    database.restart().await;
    assert_eq!(database.store.processed().await.unwrap().iter().collect::<Vec<_>>(), [3..=3]);
    let rest = vec![message(1, events[..2].to_vec()), message(2, vec![]), message(4, events[4..].to_vec())];
    database.store.apply(rest).await.unwrap();
    assert_eq!(database.store.processed().await.unwrap().iter().collect::<Vec<_>>(), [1..=4]);
    assert_eq!(find(&database.store, 1).await, History::from_iter(events).view().unwrap());
}

async fn a_large_batch_is_stored_whole(on: On) {
    let mut database = Database::on(on).await;
    let count = 700;
    let events = (0..count).flat_map(|job| [accepted("mail", job, 1), started("mail", job, 1, 2)]).collect();
    assert_eq!(database.tell(events).await, 1400);
    let queues = database.store.queues(second(10)).await.unwrap();
    assert_eq!((queues.len(), queues[0].counts["running"]), (1, count));
    assert_eq!(database.store.queues(second(10)).await.unwrap()[0].counts["running"], 700);
}

async fn a_job_that_ended_is_told_once(on: On) {
    let database = Database::on(on).await;
    let succeeded = event("mail", 1, Transition::Succeeded, 1, 3);
    let apply = async |sequence, event: &Event| {
        database.store.apply(vec![message(sequence, vec![event.clone()])]).await.unwrap().ended
    };
    assert_eq!(apply(1, &accepted("mail", 1, 1)).await, []);
    assert_eq!(apply(2, &succeeded).await, std::slice::from_ref(&succeeded));
    assert_eq!(apply(3, &started("mail", 1, 1, 2)).await, []);
    assert_eq!(apply(4, &succeeded).await, []);
}

async fn refusals_alone_are_no_job(on: On) {
    let mut database = Database::on(on).await;
    database.tell(vec![event("mail", 1, Transition::Refused, 1, 1)]).await;
    assert_eq!(rows(&database.store).await, []);
    database.tell(vec![accepted("mail", 1, 0)]).await;
    assert_eq!(find(&database.store, 1).await.transitions.len(), 2);
}

async fn a_lost_head_is_recorded_once(on: On) {
    let mut database = Database::on(on).await;
    let store = &database.store;
    assert!(!store.follow("2026-01-01T00:00:00Z", 9).await.unwrap());
    store.apply(vec![message(4, vec![]), message(8, vec![])]).await.unwrap();
    // The stream begins with 7 now: 1 to 3 and 5 to 6 are gone, and 7 may still come.
    let gaps = store.record_gaps(7, second(5)).await.unwrap();
    let bounds = gaps.iter().map(|gap| (gap.first_sequence, gap.last_sequence)).collect::<Vec<_>>();
    assert_eq!(bounds, [(1, 3), (5, 6)]);
    assert_eq!(store.record_gaps(7, second(6)).await.unwrap(), []);
    database.restart().await;
    let shown = database.store.gaps(10).await.unwrap();
    assert_eq!(shown.iter().map(|gap| gap.first_sequence).collect::<Vec<_>>(), [5, 1]);
    assert_eq!(database.store.processed().await.unwrap().iter().collect::<Vec<_>>(), [1..=6, 8..=8]);
}

async fn another_stream_starts_again(on: On) {
    let mut database = Database::on(on).await;
    database.store.follow("2026-01-01T00:00:00Z", u64::MAX).await.unwrap();
    database.tell(life("mail", 1)).await;
    database.tell(life("mail", 2)).await;
    assert!(!database.store.follow("2026-01-01T00:00:00Z", u64::MAX).await.unwrap());
    assert!(database.store.follow("2026-01-01T00:00:00Z", 1).await.unwrap(), "restored from a copy");
    assert_eq!(database.store.processed().await.unwrap().last(), 1);
    assert!(database.store.follow("2026-01-02T00:00:00Z", u64::MAX).await.unwrap(), "made anew");
    assert_eq!(database.store.processed().await.unwrap().last(), 0);
    assert_eq!(rows(&database.store).await.len(), 2, "what was told of jobs stays");
}

async fn a_newer_schema_is_refused(on: On) {
    let database = Database::on(on).await;
    database.store.close().await;
    let bytes = if on == On::Postgres { "''" } else { "x'00'" };
    let later = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', TRUE, {bytes}, 0) RETURNING description"
    );
    texts_of(database.url(), &later).await;
    let refused = Store::open(database.url()).await.unwrap_err();
    assert!(matches!(refused, Error::Newer { version: 9999 }), "{refused}");
}

async fn a_timer_that_ended_counts_as_queued(on: On) {
    let mut database = Database::on(on).await;
    let scheduled = Event { due_at: Some(second(60)), ..accepted("mail", 1, 0) };
    database.tell(vec![scheduled]).await;
    for (now, state, other, age) in [
        (59, JobState::Scheduled, JobState::Queued, None),
        (75, JobState::Queued, JobState::Scheduled, Some(15.0)),
    ] {
        let found = async |state| {
            let filter = Filter { state: Some(state), ..Filter::default() };
            database.store.list(&filter, None, 10, second(now)).await.unwrap().jobs
        };
        assert_eq!(found(state).await.iter().map(|job| job.state).collect::<Vec<_>>(), [state]);
        assert_eq!(found(other).await, []);
        let queues = database.store.queues(second(now)).await.unwrap();
        assert_eq!((queues[0].counts[state.as_str()], queues[0].counts[other.as_str()]), (1, 0));
        assert_eq!(queues[0].oldest_queued_age_seconds, age);
    }
}

/// However the same messages come: one by one, some twice, all at once, or backwards.
async fn a_rebuild_ends_in_the_same_tables(on: On) {
    let mut events = Vec::new();
    for job in 1..=40 {
        events.extend(life(if job % 2 == 0 { "mail" } else { "sms" }, job));
        let dead = Event {
            error: Some(fixture::error("gone")),
            ..event("mail", 100 + job, Transition::Dead, 1, 90)
        };
        events.extend([started("mail", 100 + job, 1, 80), accepted("mail", 100 + job, 70), dead]);
        events.push(event("sms", 200 + job, Transition::Refused, 1, 5));
    }
    let messages: Vec<Message> =
        events.chunks(3).zip(1..).map(|(events, sequence)| message(sequence, events.to_vec())).collect();
    let (slow, fast, backward) = (Database::on(on).await, Database::on(on).await, Database::on(on).await);
    for one in &messages {
        slow.store.apply(vec![one.clone()]).await.unwrap();
        if one.sequence % 3 == 0 {
            slow.store.apply(vec![one.clone()]).await.unwrap();
        }
    }
    fast.store.apply(messages.clone()).await.unwrap();
    for some in messages.rchunks(7) {
        backward.store.apply(some.to_vec()).await.unwrap();
    }
    let expected = tables(slow.url()).await;
    assert!(expected.len() > 120, "{expected:?}");
    let other = Database::new().await;
    other.store.apply(messages.clone()).await.unwrap();
    assert_eq!(tables(other.url()).await, expected, "SQLite says the same");
    assert_eq!(tables(fast.url()).await, expected);
    assert_eq!(tables(backward.url()).await, expected);
}

#[tokio::test]
async fn what_an_earlier_version_stored_is_carried_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("monitor.db").display().to_string();
    let mut connection = SqliteConnection::connect(&format!("sqlite:{path}?mode=rwc")).await.unwrap();
    let all = sqlx::migrate!("./migrations/sqlite");
    let earlier = all.iter().filter(|migration| migration.version <= 21).cloned().collect();
    sqlx::migrate::Migrator::with_migrations(earlier).run(&mut connection).await.unwrap();
    for (transition, attempt, at) in [("accepted", 0, 1), ("started", 1, 2), ("succeeded", 1, 3)] {
        sqlx::query(
            "INSERT INTO events (queue, job_id, attempt, transition, kind, at_ns, worker, result_content_type, \
             priority, traceparent, note) VALUES ('mail', ?, ?, ?, 'file.digest', ?, '', '', 'normal', '', '')",
        )
        .bind(job_id(1).to_string())
        .bind(attempt)
        .bind(transition)
        .bind(i64::try_from(second(at).as_nanosecond()).unwrap())
        .execute(&mut connection)
        .await
        .unwrap();
    }
    drop(connection);
    let store = Store::open(&path).await.unwrap();
    let job = find(&store, 1).await;
    assert_eq!((job.state, job.transitions.len()), (JobState::Succeeded, 3));
    assert_eq!(store.queues(second(9)).await.unwrap()[0].counts["succeeded"], 1);
    store.close().await;
    // Once, and for good.
    assert_eq!(find(&Store::open(&path).await.unwrap(), 1).await, job);
}

/// Two monitors that start at once: one makes the tables, the other waits and finds them.
#[tokio::test]
async fn two_that_start_at_once_make_the_tables_once() {
    for _ in 0..3 {
        let url = TestPostgres::shared().await.unwrap().database().await.unwrap();
        let (one, other, third) = tokio::join!(Store::open(&url), Store::open(&url), Store::open(&url));
        let stores = [one.unwrap(), other.unwrap(), third.unwrap()];
        assert_eq!(stores[0].processed().await.unwrap().count(), 0);
    }
}

/// Two that fold the same jobs at once lose nothing of each other: who writes, writes alone.
#[tokio::test]
async fn two_that_write_at_once_lose_nothing() {
    let database = Database::on(On::Postgres).await;
    let other = Store::open(database.url()).await.unwrap();
    let lives: Vec<Vec<Event>> = (1..=60).map(|job| life("mail", job)).collect();
    let messages = |part: usize| -> Vec<Message> {
        let of = |(place, events): (usize, &Vec<Event>)| {
            let events = events.iter().skip(part).step_by(2).cloned().collect();
            message(u64::try_from(place * 2 + part + 1).unwrap(), events)
        };
        lives.iter().enumerate().map(of).collect()
    };
    let tell = async |store: &Store, messages: Vec<Message>| {
        for some in messages.chunks(3) {
            store.apply(some.to_vec()).await.unwrap();
        }
    };
    tokio::join!(tell(&database.store, messages(0)), tell(&other, messages(1)));
    let expected = Database::new().await;
    expected.store.apply(messages(0)).await.unwrap();
    expected.store.apply(messages(1)).await.unwrap();
    assert_eq!(tables(database.url()).await, tables(expected.url()).await);
    assert_eq!(database.store.processed().await.unwrap().iter().collect::<Vec<_>>(), [1..=120]);
}

#[tokio::test]
async fn tls_is_spoken_where_it_is_asked_for() {
    const IN_USE: &str = "SELECT CAST(BOOL_AND(ssl) AS TEXT) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE application_name = 'windlass-monitor'";
    let server = TestPostgres::with_tls().await.unwrap();
    let socket = server.database().await.unwrap();
    let ca = server.ca().display().to_string();
    let url = format!("{}?sslmode=verify-full&sslrootcert={ca}", server.tcp_url(&socket));
    let store = Store::open(&url).await.unwrap();
    assert_eq!(texts_of(&socket, IN_USE).await, ["true"]);
    store.close().await;
    // A server whose certificate nobody vouches for, one under another name, and one that cannot.
    let unknown = format!("{}?sslmode=verify-full", server.tcp_url(&socket));
    let renamed = url.replace("@localhost:", "@127.0.0.1:");
    let plain =
        format!("{}&sslmode=require", TestPostgres::shared().await.unwrap().database().await.unwrap());
    for refused in [unknown, renamed, plain] {
        let error = anyhow::Error::new(Store::open(&refused).await.unwrap_err());
        assert!(!format!("{error:#} {error:?}").contains(PASSWORD), "{error:?}");
    }
}
