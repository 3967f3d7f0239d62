//! Why jobs wait: one cause each, and the causes sum to the backlog.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use serde_json::Value;
use windlass::worker::Options;
use windlass_broker::commands::Verb;
use windlass_broker::flow::Flow;
use windlass_broker::why;
use windlass_core::flow::{Backlog, Cause, Doing, OnDead, Order, Rate, Why};
use windlass_core::{JobId, PoolName, QueueName, Transition};
use windlass_testkit::Fleet;

use super::{Log, Work, all_succeed, applied, fleet, host_one, pause, set, without_worker, work};
use crate::dead_letters;

fn gate(name: &str) -> Work {
    Work { name: name.to_owned(), gated: true }
}

fn flow(fleet: &Fleet) -> Flow {
    Flow::new(&fleet.operator, PoolName::default(), QueueName::default())
}

async fn why(fleet: &Fleet, id: JobId) -> Result<Why> {
    why::why(&flow(fleet), id).await?.context("it is known")
}

/// Waits until this job waits for this.
async fn waits_for(fleet: &Fleet, id: JobId, word: &str) -> Result<Cause> {
    let deadline = tokio::time::Instant::now() + windlass_testkit::PATIENCE;
    loop {
        let found = why::why(&flow(fleet), id).await?;
        let text = match found {
            Some(found) if found.cause.word() == word => return Ok(found.cause),
            Some(found) => found.text,
            None => "it is not known".to_owned(),
        };
        ensure!(tokio::time::Instant::now() < deadline, "{word} was expected: {text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The sums, checked: each cause once, all of them the backlog.
async fn backlog(fleet: &Fleet) -> Result<Backlog> {
    let backlog = why::backlog(&flow(fleet)).await?;
    ensure!(backlog.sum() == backlog.backlog, "{backlog:?}");
    ensure!(backlog.ready + backlog.delayed + backlog.held == backlog.backlog, "{backlog:?}");
    Ok(backlog)
}

/// Waits until these are the sums.
async fn sums(fleet: &Fleet, expected: &[(&str, u64)]) -> Result<Backlog> {
    let deadline = tokio::time::Instant::now() + windlass_testkit::PATIENCE;
    let expected: BTreeMap<_, _> = expected.iter().copied().collect();
    loop {
        let found = backlog(fleet).await?;
        let counts: BTreeMap<_, _> = found.causes.iter().map(|c| (c.cause.as_str(), c.count)).collect();
        if counts == expected {
            return Ok(found);
        }
        ensure!(tokio::time::Instant::now() < deadline, "{expected:?} was expected: {found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_timers_and_pauses_are_told_with_their_holders() -> Result<()> {
    let (fleet, _worker, log) = fleet(|settings| {
        (settings.concurrency, settings.key_concurrency) = (Some(3), Some(1));
    })
    .await?;
    let later = fleet.client.task(&work("later")).delay(Duration::from_secs(3600)).submit().await?.id;
    let retrying = fleet.client.task(&work("fails long")).key("z").submit().await?.id;
    fleet.tap.heard(retrying, Transition::Retried).await?;
    let mut gates = Vec::new();
    for key in ["a", "b", "c"] {
        let id = fleet.client.task(&gate(key)).key(key).submit().await?.id;
        fleet.tap.heard(id, Transition::Started).await?;
        gates.push(id);
    }
    let of_key = fleet.client.task(&work("second")).key("a").submit().await?.id;
    let of_queue = fleet.client.task(&work("third")).key("d").submit().await?.id;

    assert!(matches!(why(&fleet, later).await?.cause, Cause::NotDue { .. }));
    assert!(matches!(why(&fleet, retrying).await?.cause, Cause::Retrying { attempts: 1, .. }));
    assert!(matches!(why(&fleet, gates[0]).await?.cause, Cause::Running { .. }));
    let Cause::KeyLimit { key, limit: 1, holders, ahead: 0 } = waits_for(&fleet, of_key, "key_limit").await?
    else {
        anyhow::bail!("another cause");
    };
    assert_eq!((key.as_str(), holders[0].job_id, holders[0].doing), ("a", gates[0], Doing::Running));
    let Cause::QueueLimit { limit: 3, holders, ahead: 0 } =
        waits_for(&fleet, of_queue, "queue_limit").await?
    else {
        anyhow::bail!("another cause");
    };
    assert_eq!(holders.iter().map(|holder| holder.job_id).collect::<Vec<_>>(), gates);

    let all = [("key_limit", 1), ("queue_limit", 1), ("not_due", 1), ("retrying", 1)];
    let found = sums(&fleet, &all).await?;
    assert_eq!((found.running, found.delayed, found.held), (3, 2, 2));
    let of_limit =
        found.causes.iter().find(|counted| counted.cause == "key_limit").context("it is counted")?;
    assert_eq!(of_limit.example, Some(of_key));
    assert!(of_limit.text.as_ref().is_some_and(|text| text.contains(&gates[0].to_string())), "{of_limit:?}");

    set(&fleet, |settings| settings.paused = Some(pause(false))).await?;
    applied(&fleet).await?;
    for id in [of_key, of_queue] {
        let cause = why(&fleet, id).await?.cause;
        assert!(matches!(&cause, Cause::QueuePaused(stopped) if stopped.by == "test"), "{cause}");
    }
    sums(&fleet, &[("queue_paused", 2), ("not_due", 1), ("retrying", 1)]).await?;

    set(&fleet, |settings| {
        settings.paused = None;
        settings.paused_keys.insert("a".to_owned(), pause(false));
    })
    .await?;
    applied(&fleet).await?;
    assert!(matches!(why(&fleet, of_key).await?.cause, Cause::KeyPaused { key, .. } if key == "a"));
    sums(&fleet, &[("key_paused", 1), ("queue_limit", 1), ("not_due", 1), ("retrying", 1)]).await?;

    // Of those that wait already, too, in the lines of keys and in that of the queue.
    set(&fleet, |settings| {
        settings.paused_keys.clear();
        settings.paused_kinds.insert("test.work".parse().unwrap(), pause(false));
    })
    .await?;
    applied(&fleet).await?;
    sums(&fleet, &[("kind_paused", 2), ("not_due", 1), ("retrying", 1)]).await?;
    assert!(matches!(why(&fleet, of_key).await?.cause, Cause::KindPaused { .. }));
    log.open();
    all_succeed(&fleet, &gates).await?;
    log.with(|seen| assert!(!seen.begun.contains(&"second".to_owned()), "{seen:?}"));
    set(&fleet, |settings| settings.paused_kinds.clear()).await?;
    all_succeed(&fleet, &[of_key, of_queue]).await?;
    assert!(matches!(why(&fleet, of_key).await?.cause, Cause::Ended { .. }));
    sums(&fleet, &[("not_due", 1), ("retrying", 1)]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn order_and_who_blocks_it_are_told() -> Result<()> {
    let (fleet, _worker, log) = fleet(|settings| settings.order = Order::Fifo).await?;
    let first = fleet.client.task(&gate("first")).key("k").submit().await?.id;
    fleet.tap.heard(first, Transition::Started).await?;
    let mut behind = Vec::new();
    for name in ["second", "third"] {
        behind.push(fleet.client.task(&work(name)).key("k").submit().await?.id);
    }
    let Cause::KeyOrder { behind: Some(holder), ahead: 1, .. } =
        waits_for(&fleet, behind[1], "key_order").await?
    else {
        anyhow::bail!("another cause");
    };
    assert_eq!((holder.job_id, holder.doing), (first, Doing::Running));
    let dead = fleet.client.task(&work("dies")).key("l").submit().await?.id;
    let died = fleet.tap.heard(dead, Transition::Dead).await?;
    let blocked = fleet.client.task(&work("next")).key("l").submit().await?.id;
    let cause = waits_for(&fleet, blocked, "key_order").await?;
    assert!(
        matches!(&cause, Cause::KeyOrder { behind: Some(holder), .. }
            if holder.job_id == dead && holder.doing == Doing::Dead),
        "{cause}"
    );
    let retrying = fleet.client.task(&work("fails long")).key("m").submit().await?.id;
    fleet.tap.heard(retrying, Transition::Retried).await?;
    let waits = fleet.client.task(&work("waits")).key("m").submit().await?.id;
    let cause = waits_for(&fleet, waits, "key_order").await?;
    assert!(
        matches!(&cause, Cause::KeyOrder { behind: Some(holder), .. } if holder.doing == Doing::Retrying),
        "{cause}"
    );
    sums(&fleet, &[("key_order", 4), ("retrying", 1)]).await?;
    // One that keeps its key's slot over its retry waits for the pause of its key as others do.
    set(&fleet, |settings| {
        settings.on_dead = Some(OnDead::Block);
        settings.paused_keys.insert("m".to_owned(), pause(false));
    })
    .await?;
    applied(&fleet).await?;
    crate::support::order(&fleet, "default", "release", retrying).await?;
    let cause = waits_for(&fleet, retrying, "key_paused").await?;
    assert!(matches!(cause, Cause::KeyPaused { key, .. } if key == "m"));
    sums(&fleet, &[("key_order", 3), ("key_paused", 2)]).await?;
    set(&fleet, |settings| settings.paused_keys.clear()).await?;
    log.open();
    dead_letters::order(&fleet, Verb::Discard, dead, died.at).await?;
    all_succeed(&fleet, &[retrying, waits, blocked, first, behind[0], behind[1]]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rates_are_told_with_their_time() -> Result<()> {
    let hour = Rate { limit: 1, per: Duration::from_secs(3600), burst: None };
    let (fleet, _worker, _log) = fleet(|settings| settings.rate = Some(hour)).await?;
    let first = fleet.client.task(&work("first")).submit().await?.id;
    all_succeed(&fleet, &[first]).await?;
    let second = fleet.client.task(&work("second")).submit().await?.id;
    let Cause::QueueRate { until, .. } = waits_for(&fleet, second, "queue_rate").await? else {
        anyhow::bail!("another cause");
    };
    assert!(until > fleet.operator.now());
    sums(&fleet, &[("queue_rate", 1)]).await?;
    set(&fleet, |settings| (settings.rate, settings.key_rate) = (None, Some(hour))).await?;
    all_succeed(&fleet, &[second]).await?;
    let of_key = fleet.client.task(&work("of key")).key("k").submit().await?.id;
    all_succeed(&fleet, &[of_key]).await?;
    let next = fleet.client.task(&work("next")).key("k").submit().await?.id;
    let cause = waits_for(&fleet, next, "key_rate").await?;
    assert!(matches!(&cause, Cause::KeyRate { key, until: Some(_), .. } if key == "k"), "{cause}");
    sums(&fleet, &[("key_rate", 1)]).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_worker_is_told() -> Result<()> {
    let fleet = without_worker().await?;
    let first = fleet.client.task(&gate("first")).submit().await?.id;
    fleet.tap.heard(first, Transition::Accepted).await?;
    assert!(matches!(waits_for(&fleet, first, "no_worker").await?, Cause::NoWorker { ahead: 0 }));
    sums(&fleet, &[("no_worker", 1)]).await?;
    let log = Log::default();
    let _worker = host_one(&fleet, &log, Options { slots: 1, ..Options::default() }).await?;
    fleet.tap.heard(first, Transition::Started).await?;
    assert!(matches!(waits_for(&fleet, first, "running").await?, Cause::Running { .. }));
    let mut behind = Vec::new();
    for _ in 0..3 {
        behind.push(fleet.client.task(&work("x")).submit().await?.id);
        fleet.tap.heard(*behind.last().context("one")?, Transition::Accepted).await?;
    }
    for (ahead, id) in (0..).zip(&behind) {
        let found = waits_for(&fleet, *id, "worker").await?;
        assert_eq!(found, Cause::Worker { ahead });
    }
    let found = sums(&fleet, &[("worker", 3)]).await?;
    assert_eq!((found.running, found.ready), (1, 3));
    log.open();
    all_succeed(&fleet, &behind).await?;
    let stranger = fleet.client.raw("test.unknown", "null".into(), "application/json").submit().await?.id;
    let cause = waits_for(&fleet, stranger, "no_worker_for_kind").await?;
    assert!(matches!(&cause, Cause::NoWorkerForKind { kind, .. } if kind.as_str() == "test.unknown"));
    sums(&fleet, &[("no_worker_for_kind", 1)]).await?;
    Ok(())
}

/// What its time has brought, and no dispatcher has looked at.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_dispatcher_is_told() -> Result<()> {
    let (mut fleet, _worker, _log) = fleet(|settings| settings.concurrency = Some(1)).await?;
    let delay = Duration::from_secs(1);
    let id = fleet.client.task(&work("x")).delay(delay).submit().await?.id;
    fleet.tap.heard(id, Transition::Accepted).await?;
    fleet.kill9("dispatcher").await?;
    let cause = waits_for(&fleet, id, "decision").await?;
    assert!(matches!(&cause, Cause::Decision { dispatcher: Some(_), .. }), "{cause:?}");
    sums(&fleet, &[("decision", 1)]).await?;
    fleet.service("dispatcher").await?;
    all_succeed(&fleet, &[id]).await
}

/// Of more timers than are read, the others are counted as such.
#[tokio::test(flavor = "multi_thread")]
async fn timers_beyond_those_that_are_read_are_counted() -> Result<()> {
    const READ: u64 = 20_000;
    const BATCHES: u64 = 21;
    const EACH: u64 = 954;
    let (fleet, _worker, _log) = fleet(|settings| settings.concurrency = Some(1)).await?;
    for _ in 0..BATCHES {
        let mut batch = fleet.client.batch();
        for _ in 0..EACH {
            batch.add(fleet.client.task(&work("x")).delay(Duration::from_secs(3600)));
        }
        batch.submit().await?;
    }
    sums(&fleet, &[("not_due", READ), ("timer", BATCHES * EACH - READ)]).await?;
    Ok(())
}

/// What is counted is what each job says, and at any moment it sums to the backlog.
#[tokio::test(flavor = "multi_thread")]
async fn causes_sum_to_the_backlog_under_load() -> Result<()> {
    let (fleet, _worker, log) = fleet(|settings| {
        (settings.concurrency, settings.key_concurrency) = (Some(6), Some(2));
    })
    .await?;
    let submitting = async {
        let submitted = (0..400).map(|n| {
            let key = format!("key-{}", n % 9);
            let task = fleet.client.task(&work("x"));
            // One in four waits for no key, one in eight for its time.
            let task = if n % 4 == 0 { task } else { task.key(&key) };
            if n % 8 == 1 { task.delay(Duration::from_millis(1500)) } else { task }.submit()
        });
        let ids: Vec<_> = try_join_all(submitted).await?.into_iter().map(|one| one.id).collect();
        all_succeed(&fleet, &ids).await
    };
    let looking = async {
        let mut looks = (0_u64, 0_u64);
        loop {
            let found = backlog(&fleet).await?;
            // More could be counted only where some were counted twice.
            ensure!(!found.exact || found.backlog <= 400, "{found:?}");
            looks = (looks.0 + 1, looks.1 + u64::from(found.exact));
            ensure!(looks.0 < 100_000, "{looks:?}");
        }
    };
    tokio::select! {
        ended = submitting => ended?,
        looked = looking => return looked,
    }
    sums(&fleet, &[]).await?;

    // Nothing moves: what is counted is what is.
    let mut ids = Vec::new();
    for n in 0..6 {
        let key = format!("gate-{}", n / 2);
        let id = fleet.client.task(&gate("gate")).key(&key).submit().await?.id;
        fleet.tap.heard(id, Transition::Started).await?;
        ids.push(id);
    }
    let gates = ids.len();
    let submitted = (0..90).map(|n| {
        let key = format!("gate-{}", n % 5);
        let task = fleet.client.task(&work("y"));
        let task = if n % 3 == 0 { task } else { task.key(&key) };
        if n % 10 == 0 { task.delay(Duration::from_secs(3600)) } else { task }.submit()
    });
    ids.extend(try_join_all(submitted).await?.into_iter().map(|one| one.id));
    for id in &ids {
        fleet.tap.heard(*id, Transition::Accepted).await?;
    }
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    for id in &ids[gates..] {
        let deadline = tokio::time::Instant::now() + windlass_testkit::PATIENCE;
        let word = loop {
            let word = why(&fleet, *id).await?.cause.word();
            if word != "decision" {
                break word;
            }
            ensure!(tokio::time::Instant::now() < deadline, "{id} is never decided on");
        };
        *counted.entry(word.to_owned()).or_default() += 1;
    }
    let found = backlog(&fleet).await?;
    let sums: BTreeMap<_, _> = found.causes.iter().map(|c| (c.cause.clone(), c.count)).collect();
    assert_eq!((sums, found.backlog, found.running, found.exact), (counted, 90, 6, true));
    log.open();
    Ok(())
}

/// What an operator types, and gets.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_tells_it() -> Result<()> {
    let (fleet, _worker, log) = fleet(|settings| settings.concurrency = Some(1)).await?;
    let first = fleet.client.task(&gate("gate")).submit().await?.id;
    fleet.tap.heard(first, Transition::Started).await?;
    let second = fleet.client.task(&work("x")).submit().await?.id;
    waits_for(&fleet, second, "queue_limit").await?;
    let json: Value =
        serde_json::from_str(&fleet.cli(&["job", "why", &second.to_string(), "-o", "json"]).await?)?;
    assert_eq!((&json["cause"], &json["state"]), (&"queue_limit".into(), &"held".into()), "{json}");
    assert_eq!(json["detail"]["holders"][0]["job_id"], first.to_string());
    let json: Value = serde_json::from_str(&fleet.cli(&["queue", "why", "default", "-o", "json"]).await?)?;
    assert_eq!((&json["backlog"], &json["causes"][0]["count"]), (&1.into(), &1.into()), "{json}");
    let text = fleet.cli(&["queue", "why", "default"]).await?;
    assert!(text.contains("queue_limit") && text.contains(&first.to_string()), "{text}");
    let text = fleet.cli(&["job", "why", &first.to_string()]).await?;
    assert!(text.contains("is with a worker"), "{text}");
    let missing = fleet.cli(&["queue", "why", "nobody"]).await.expect_err("no such queue").to_string();
    assert!(missing.contains("no queue nobody"), "{missing}");
    log.open();
    all_succeed(&fleet, &[first, second]).await
}
