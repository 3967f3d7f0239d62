//! Reports that are made by themselves, on both databases: each once, whatever becomes of the monitors.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[allow(dead_code, reason = "shared with the tests of the API")]
mod fixture;
#[path = "reports/receiver.rs"]
mod receiver;
#[path = "reports/shown.rs"]
mod shown;

use fixture::{Database, On, accepted, life};
use jiff::{SignedDuration, Timestamp};
use receiver::Receiver;
use tokio::sync::watch;
use windlass_monitor::api::Api;
use windlass_monitor::progress::Progress;
use windlass_monitor::report::{Form, What};
use windlass_monitor::reports::{Options, Reporter};
use windlass_monitor::store::{Store, report_id};

on_both!(
    each_is_made_once,
    a_missed_one_is_made_late_and_once,
    one_waits_for_the_projection,
    another_goes_on_for_a_monitor_that_stopped,
    so_many_are_kept,
);

/// After the events of [`life`], which are of the evening before.
fn at(text: &str) -> Timestamp {
    format!("2023-11-{text}Z").parse().unwrap()
}

fn daily() -> Options {
    Options { daily: Some("0 6 * * *".to_owned()), ..Options::default() }
}

/// How far a projection has come that has read all there was, whenever it is asked.
fn all_read() -> Progress {
    Progress {
        last_sequence: Some(1),
        processed_sequence: 1,
        checked_at: Some(Timestamp::MAX),
        ..Progress::default()
    }
}

/// A monitor on this database.
fn monitor(store: &Store, options: Options) -> Reporter {
    let api = Api { progress: watch::channel(all_read()).1, ..Api::of_database(store.clone()) };
    Reporter::new(api, options, Some("https://windlass.example.com/"))
}

async fn ids(store: &Store) -> Vec<String> {
    store.reports(None, 100).await.unwrap().into_iter().map(|report| report.id).collect()
}

async fn each_is_made_once(on: On) {
    let mut database = Database::on(on).await;
    database.tell(life("mail", 1)).await;
    let receiver = Receiver::start(1).await;
    let options =
        Options { webhook: Some(receiver.webhook()), weekly: Some("0 6 * * 1".to_owned()), ..daily() };
    let store = database.store.clone();
    let (mut one, mut other) = (monitor(&store, options.clone()), monitor(&store, options.clone()));
    let morning = at("15T06:00:30");
    assert_eq!(
        one.round(at("15T06:00:05")).await,
        ["weekly-20231113T060000Z"],
        "Monday's is late, Wednesday's settles"
    );
    let (made, too) = tokio::join!(one.round(morning), other.round(morning));
    assert_eq!([made, too].concat(), ["daily-20231115T060000Z"], "two monitors, and one report");
    // And after a restart.
    let mut again = monitor(&store, options);
    for later in [morning, at("15T23:59:59"), at("16T06:00:05")] {
        for monitor in [&mut one, &mut other, &mut again] {
            assert_eq!(monitor.round(later).await, Vec::<String>::new(), "{later}");
        }
    }
    assert_eq!(again.round(at("16T06:01:00")).await, ["daily-20231116T060000Z"]);
    let all = ["daily-20231116T060000Z", "daily-20231115T060000Z", "weekly-20231113T060000Z"];
    assert_eq!(ids(&store).await, all);

    let sent = receiver.bodies();
    let told: Vec<_> = sent.iter().map(|body| body["report"]["id"].as_str().unwrap()).collect();
    assert_eq!(told, [all[2], all[1], all[0]], "each once, though the first was not taken at once");
    assert_eq!(sent[1]["url"], "https://windlass.example.com/reports/daily-20231115T060000Z");
    assert!(sent[1]["text"].as_str().unwrap().starts_with("# Daily report\n"), "{}", sent[1]);
    let (stored, bundle) = store.stored_report("daily-20231115T060000Z").await.unwrap().unwrap();
    assert_eq!(
        (stored.what, stored.due_at, stored.delivery.as_deref()),
        (What::Daily, at("15T06:00:00"), Some("delivered"))
    );
    assert_eq!((bundle.report.from, bundle.report.to), (at("14T06:00:00"), at("15T06:00:00")));
    let kind = &bundle.report.kinds[0];
    assert_eq!((kind.accepted, kind.succeeded, kind.failed_attempts, kind.recovered), (1, 1, 1, 1));
    // It failed at the twelfth second, and succeeded at the twenty-fifth.
    let recovery = bundle.report.recovery.unwrap();
    assert!((recovery.p50_seconds / 13.0 - 1.0).abs() < 0.13, "{recovery:?}");
    let text = bundle.write(Form::Markdown);
    assert!(text.contains("| Jobs recovered | 1 | 0 |") && text.contains("Recovery p99"), "{text}");
}

async fn a_missed_one_is_made_late_and_once(on: On) {
    let database = Database::on(on).await;
    let store = &database.store;
    assert_eq!(monitor(store, daily()).round(at("15T06:01:00")).await, ["daily-20231115T060000Z"]);
    // No monitor ran for four days.
    let mut back = monitor(store, daily());
    assert_eq!(back.round(at("19T20:00:00")).await, ["daily-20231119T060000Z"]);
    assert_eq!(back.round(at("19T20:00:05")).await, Vec::<String>::new());
    assert_eq!(ids(store).await, ["daily-20231119T060000Z", "daily-20231115T060000Z"]);
    let (_, late) = store.stored_report("daily-20231119T060000Z").await.unwrap().unwrap();
    assert_eq!(late.report.to, at("19T06:00:00"), "it tells of its own day");
    // The zone decides when six o'clock is.
    let zone = "America/New_York".to_owned();
    let mut elsewhere = monitor(store, Options { zone, ..daily() });
    assert_eq!(elsewhere.round(at("20T10:59:00")).await, ["daily-20231119T110000Z"]);
}

async fn one_waits_for_the_projection(on: On) {
    let mut database = Database::on(on).await;
    let (tell, seen) = watch::channel(Progress::default());
    let api = Api { progress: seen, ..Api::of_database(database.store.clone()) };
    let mut monitor = Reporter::new(api, daily(), None);
    let morning = |seconds| at("15T06:01:00") + SignedDuration::from_secs(seconds);
    let progress = |last, processed, checked| Progress {
        last_sequence: Some(last),
        processed_sequence: processed,
        checked_at: Some(checked),
        ..Progress::default()
    };
    let nothing = Vec::<String>::new();
    assert_eq!(monitor.round(morning(0)).await, nothing, "nobody has looked at the stream");
    tell.send_replace(progress(5, 5, at("15T05:59:59")));
    assert_eq!(monitor.round(morning(5)).await, nothing, "nor since six o'clock");
    tell.send_replace(progress(7, 5, morning(6)));
    assert_eq!(monitor.round(morning(10)).await, nothing, "two messages are not read yet");
    tell.send_replace(progress(90, 7, morning(11)));
    database.tell(vec![accepted("mail", 1, 0)]).await;
    assert_eq!(
        monitor.round(morning(15)).await,
        ["daily-20231115T060000Z"],
        "what came later is no part of it"
    );
    let (_, bundle) = database.store.stored_report("daily-20231115T060000Z").await.unwrap().unwrap();
    assert_eq!(bundle.report.kinds[0].accepted, 1);
    // It is not waited for ever.
    let day = SignedDuration::from_hours(24);
    assert_eq!(monitor.round(morning(0) + day).await, nothing);
    assert_eq!(monitor.round(morning(14 * 60) + day).await, nothing);
    assert_eq!(monitor.round(morning(15 * 60) + day).await, ["daily-20231116T060000Z"]);
}

async fn another_goes_on_for_a_monitor_that_stopped(on: On) {
    let database = Database::on(on).await;
    let (store, receiver) = (&database.store, Receiver::start(0).await);
    let options = Options { webhook: Some(receiver.webhook()), ..daily() };
    let (due, now) = (at("15T06:00:00"), at("15T06:01:00"));
    let (id, until) = (report_id(What::Daily, due), now + SignedDuration::from_mins(10));
    // It took the report upon itself, and stopped.
    assert!(store.claim_report(&id, What::Daily, due, now, until).await.unwrap());
    assert!(!store.claim_report(&id, What::Daily, due, now, until).await.unwrap());
    let mut other = monitor(store, options.clone());
    assert_eq!(other.round(at("15T06:10:59")).await, Vec::<String>::new());
    assert_eq!(ids(store).await, Vec::<String>::new(), "what is not made is not listed");
    assert_eq!(other.round(at("15T06:11:00")).await, [id.as_str()]);
    // This one had made it, and stopped before it was sent: what it had made is sent.
    let (due, now) = (at("16T06:00:00"), at("16T06:01:00"));
    let (id, until) = (report_id(What::Daily, due), now + SignedDuration::from_mins(10));
    assert!(store.claim_report(&id, What::Daily, due, now, until).await.unwrap());
    let (_, mut bundle) = store.stored_report("daily-20231115T060000Z").await.unwrap().unwrap();
    bundle.made_at = at("16T06:01:01");
    store.store_report(&id, &bundle).await.unwrap();
    assert_eq!(monitor(store, options).round(until).await, [id.as_str()]);
    assert_eq!(receiver.bodies().last().unwrap()["report"]["made_at"], "2023-11-16T06:01:01Z");
    assert_eq!(receiver.bodies().len(), 2);
}

async fn so_many_are_kept(on: On) {
    let database = Database::on(on).await;
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        keep: 2,
        folder: Some(folder.path().to_owned()),
        failures: Some("0 6 * * *".to_owned()),
        ..daily()
    };
    let mut monitor = monitor(&database.store, options);
    for day in ["15", "16", "17"] {
        assert_eq!(monitor.round(at(&format!("{day}T06:01:00"))).await.len(), 2);
    }
    let mut kept = ids(&database.store).await;
    kept.sort();
    let expected = [
        "daily-20231116T060000Z",
        "daily-20231117T060000Z",
        "failures-20231116T060000Z",
        "failures-20231117T060000Z",
    ];
    assert_eq!(kept, expected);
    let mut files: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let endings = ["html", "json", "md"];
    let all = expected.iter().flat_map(|id| endings.map(|ending| format!("{id}.{ending}")));
    assert_eq!(files, all.collect::<Vec<_>>());
    let page = std::fs::read_to_string(folder.path().join("daily-20231117T060000Z.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("<title>Daily report</title>"), "{page}");
}
