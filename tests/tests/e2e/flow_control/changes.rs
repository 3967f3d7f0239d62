//! Settings that are changed while jobs wait, and pauses.

use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use serde_json::Value;
use windlass::worker::Options;
use windlass_core::Transition;
use windlass_testkit::Fleet;

use super::{Log, Work, all_succeed, applied, fleet, host, host_one, pause, set, without_worker, work};

async fn json(fleet: &Fleet, arguments: &[&str]) -> Result<Value> {
    let arguments: Vec<_> = arguments.iter().copied().chain(["-o", "json"]).collect();
    Ok(serde_json::from_str(&fleet.cli(&arguments).await?)?)
}

/// What was ready, and what waits for its time, goes by a limit that is set later.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_set_moves_what_waits_already() -> Result<()> {
    let fleet = without_worker().await?;
    let submitted = (0..60).map(|n| {
        let task = fleet.client.task(&work("x"));
        if n % 3 == 0 { task.delay(Duration::from_secs(4)) } else { task }.submit()
    });
    let ids: Vec<_> = try_join_all(submitted).await?.into_iter().map(|one| one.id).collect();
    for id in &ids {
        fleet.tap.heard(*id, Transition::Accepted).await?;
    }
    let set = ["queue", "set", "default", "--concurrency", "2", "--note", "as agreed", "--wait"];
    let made = json(&fleet, &set).await?;
    assert_eq!((&made["applied"]["done"], &made["applied"]["moved"]), (&true.into(), &60.into()), "{made}");
    let shown = json(&fleet, &["queue", "show", "default"]).await?;
    let set = &shown["set"];
    assert_eq!((&set["settings"]["concurrency"], &set["note"]), (&2.into(), &"as agreed".into()), "{shown}");
    assert!(set["by"].as_str().is_some_and(|by| by.starts_with("windlass-cli")), "{shown}");
    assert_eq!(shown["backlog"]["backlog"], 60, "{shown}");
    let log = Log::default();
    let _worker = host(&fleet, &log).await?;
    all_succeed(&fleet, &ids).await?;
    log.with(|seen| {
        assert!(seen.most_of_all <= 2, "{seen:?}");
        assert_eq!(seen.begun.len(), 60, "each ran once: {seen:?}");
    });
    Ok(())
}

/// While workers take them: nothing runs twice, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_set_and_cleared_while_jobs_run() -> Result<()> {
    let fleet = without_worker().await?;
    let log = Log::default();
    let _worker = host_one(&fleet, &log, Options { slots: 4, ..Options::default() }).await?;
    let submitted = (0..600).map(|n| fleet.client.task(&work("x")).key(&format!("k{}", n % 7)).submit());
    let ids: Vec<_> = try_join_all(submitted).await?.into_iter().map(|one| one.id).collect();
    set(&fleet, |settings| settings.key_concurrency = Some(1)).await?;
    applied(&fleet).await?;
    set(&fleet, |settings| settings.concurrency = Some(2)).await?;
    applied(&fleet).await?;
    set(&fleet, |settings| (settings.concurrency, settings.key_concurrency) = (None, None)).await?;
    all_succeed(&fleet, &ids).await?;
    log.with(|seen| assert_eq!(seen.begun.len(), 600));
    Ok(())
}

/// Whoever moves them may die at any moment: another goes on, nothing is lost, and nothing passes the limit.
#[tokio::test(flavor = "multi_thread")]
async fn another_dispatcher_goes_on_with_a_change() -> Result<()> {
    let mut fleet = without_worker().await?;
    let submitted = (0..600).map(|n| {
        let task = fleet.client.task(&work("x"));
        if n % 5 == 0 { task.delay(Duration::from_secs(10)) } else { task }.submit()
    });
    let ids: Vec<_> = try_join_all(submitted).await?.into_iter().map(|one| one.id).collect();
    for id in &ids {
        fleet.tap.heard(*id, Transition::Accepted).await?;
    }
    set(&fleet, |settings| settings.concurrency = Some(3)).await?;
    // Some are moved by now, and most are not.
    fleet
        .tap
        .until("one is held", |all| all.iter().any(|event| event.transition == Transition::Held))
        .await?;
    fleet.kill9("dispatcher").await?;
    fleet.service("dispatcher-2").await?;
    applied(&fleet).await?;
    let log = Log::default();
    let _worker = host(&fleet, &log).await?;
    all_succeed(&fleet, &ids).await?;
    log.with(|seen| {
        assert!(seen.most_of_all <= 3, "{} ran at one time", seen.most_of_all);
        assert_eq!(seen.begun.len(), ids.len(), "each ran once");
    });
    Ok(())
}

/// Those that wait for their turn have no slot of their key, until a limit of it is set.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_keys_holds_for_those_who_wait_for_their_turn() -> Result<()> {
    let (fleet, _worker, log) = fleet(|settings| settings.concurrency = Some(1)).await?;
    let gate = fleet.client.task(&Work { name: "gate".to_owned(), gated: true }).submit().await?.id;
    fleet.tap.heard(gate, Transition::Started).await?;
    let submitted = (0..30).map(|_| fleet.client.task(&work("of key")).key("k").submit());
    let ids: Vec<_> = try_join_all(submitted).await?.into_iter().map(|one| one.id).collect();
    for id in &ids {
        fleet.tap.heard(*id, Transition::Held).await?;
    }
    set(&fleet, |settings| (settings.concurrency, settings.key_concurrency) = (Some(20), Some(1))).await?;
    log.open();
    all_succeed(&fleet, &ids).await?;
    log.with(|seen| assert_eq!(seen.most["of key"], 1, "{seen:?}"));
    Ok(())
}

/// What was let through and not begun is taken back, and what runs goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_takes_back_what_has_not_begun() -> Result<()> {
    let fleet = without_worker().await?;
    let log = Log::default();
    let _worker = host_one(&fleet, &log, Options { slots: 1, ..Options::default() }).await?;
    let gate = fleet.client.task(&Work { name: "gate".to_owned(), gated: true }).submit().await?.id;
    fleet.tap.heard(gate, Transition::Started).await?;
    let submitted = (0..20).map(|_| fleet.client.task(&work("x")).submit());
    let ids: Vec<_> = try_join_all(submitted).await?.into_iter().map(|one| one.id).collect();
    for id in &ids {
        fleet.tap.heard(*id, Transition::Accepted).await?;
    }
    let paused = json(&fleet, &["queue", "pause", "default", "--reason", "a test", "--wait"]).await?;
    assert_eq!(paused["changed"][0]["setting"], "paused", "{paused}");
    log.open();
    all_succeed(&fleet, &[gate]).await?;
    let why = json(&fleet, &["queue", "why", "default"]).await?;
    assert_eq!(
        (&why["causes"][0]["cause"], &why["causes"][0]["count"]),
        (&"queue_paused".into(), &20.into())
    );
    log.with(|seen| assert_eq!(seen.begun, ["gate"]));
    let resumed = json(&fleet, &["queue", "resume", "default"]).await?;
    assert_eq!(resumed["changed"][0]["after"], Value::Null, "{resumed}");
    all_succeed(&fleet, &ids).await?;
    // Nothing was paused any more: nothing is changed.
    let resumed = json(&fleet, &["queue", "resume", "default"]).await?;
    assert_eq!(resumed["changed"], Value::Array(Vec::new()));
    Ok(())
}

/// What runs is handed back where a pause says so, runs again once it is resumed, and uses no attempt for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_hands_back_what_runs() -> Result<()> {
    for controlled in [true, false] {
        let (fleet, _worker, log) = fleet(|settings| {
            settings.concurrency = controlled.then_some(2);
        })
        .await?;
        let gated = |name: &str| Work { name: name.to_owned(), gated: true };
        let stops = fleet.client.task(&gated("stops")).key("k").max_attempts(1).submit().await?.id;
        let goes_on = fleet.client.task(&gated("goes on")).key("l").submit().await?.id;
        for id in [stops, goes_on] {
            fleet.tap.heard(id, Transition::Started).await?;
        }
        json(&fleet, &["queue", "pause", "default", "--key", "k", "--hand-back", "--reason", "a test"])
            .await?;
        fleet.tap.heard(stops, Transition::HandedBack).await?;
        fleet.tap.heard(stops, Transition::Held).await?;
        log.open();
        all_succeed(&fleet, &[goes_on]).await?;
        let why = json(&fleet, &["job", "why", &stops.to_string()]).await?;
        assert_eq!(why["cause"], "key_paused", "{why}");
        json(&fleet, &["queue", "resume", "default", "--key", "k"]).await?;
        all_succeed(&fleet, &[stops]).await?;
        log.with(|seen| assert_eq!(seen.begun.iter().filter(|name| *name == "stops").count(), 2));
    }
    Ok(())
}

/// A pause ends by itself when its time has come.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_ends_at_its_time() -> Result<()> {
    let (fleet, _worker, _log) = fleet(|_| ()).await?;
    json(&fleet, &["queue", "pause", "default", "--until", "2s", "--wait"]).await?;
    let id = fleet.client.task(&work("x")).submit().await?.id;
    let kind = fleet.client.task(&work("y")).submit().await?.id;
    fleet.tap.heard(id, Transition::Held).await?;
    all_succeed(&fleet, &[id, kind]).await?;
    let shown = json(&fleet, &["queue", "show", "default"]).await?;
    let until = shown["set"]["settings"]["paused"]["until"].as_str().unwrap_or_default().to_owned();
    let began = fleet.tap.heard(id, Transition::Started).await?.at;
    assert!(began >= until.parse()?, "{began} is before {until}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_settings_is_named_and_nothing_is_changed() -> Result<()> {
    let (fleet, _worker, _log) = fleet(|settings| settings.concurrency = Some(5)).await?;
    for (arguments, expected) in [
        (&["--concurrency", "0"][..], "concurrency: is 0: expected 1 to 100000"),
        (&["--concurrency", "many"], "concurrency: `many`"),
        (&["--on-dead", "skip"], "on-dead: is set without order fifo"),
        (&["--rate", "0/1s"], "rate.limit: is 0"),
        (&["--order", "lifo"], "order: does not fit"),
        (&["--concurrency", "6", "--expect-revision", "99"], "not 99"),
        (&[], "say what to set"),
    ] {
        let line: Vec<_> = ["queue", "set", "default"].iter().chain(arguments).copied().collect();
        let refused = fleet.cli(&line).await.expect_err("refused").to_string();
        assert!(refused.contains(expected), "{arguments:?}: {refused}");
    }
    let before = json(&fleet, &["queue", "show", "default"]).await?;
    let dry = json(&fleet, &["queue", "set", "default", "--concurrency", "7", "--dry-run"]).await?;
    assert_eq!((&dry["changed"][0]["before"], &dry["changed"][0]["after"]), (&5.into(), &7.into()), "{dry}");
    let after = json(&fleet, &["queue", "show", "default"]).await?;
    assert_eq!((&before["revision"], &before["set"]), (&after["revision"], &after["set"]));
    let revision = before["revision"].to_string();
    let made = ["queue", "set", "default", "--concurrency", "7", "--expect-revision", &revision];
    let made = json(&fleet, &made).await?;
    assert_eq!((&made["previous"]["concurrency"], &made["settings"]["concurrency"]), (&5.into(), &7.into()));
    set(&fleet, |settings| settings.paused = Some(pause(false))).await?;
    let cleared = json(&fleet, &["queue", "set", "default", "--clear", "all"]).await?;
    assert!(cleared["settings"]["paused"].is_object() && cleared["settings"]["concurrency"].is_null());
    Ok(())
}
