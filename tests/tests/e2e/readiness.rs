//! What makes a service unready while its connection stands, and that nothing waits for an operator.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tokio::time::Instant;
use windlass_core::Transition;
use windlass_testkit::{Fleet, PATIENCE, Proxy, Weather};

use crate::support::{command, submit};

/// Waits until a service's readiness is this, for a cause with these words; returns what it took.
async fn until(fleet: &mut Fleet, label: &str, condition: &str, words: Option<&str>) -> Result<Duration> {
    let url = format!("{}/readyz", fleet.process(label)?.http().await?);
    let begun = Instant::now();
    let looking = async {
        loop {
            let readiness: Value = reqwest::get(&url).await?.json().await?;
            let all = readiness["conditions"].as_array().context("no conditions")?;
            let found = all.iter().find(|c| c["name"] == condition).context("no such condition")?;
            let is_so = match words {
                Some(words) => {
                    found["ready"] == false && found["cause"].as_str().is_some_and(|c| c.contains(words))
                }
                None => readiness["ready"] == true,
            };
            if is_so {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.with_context(|| format!("{label}: {condition}"))??;
    Ok(begun.elapsed())
}

/// Its worker says so, and the next job runs, although the dispatcher saw the consumer a moment ago.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_consumer_is_told_and_made_anew() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    fleet.result(submit(&fleet, command(&["true"])).await?).await?;
    let admin = fleet.broker.client("admin").await?;
    admin.api("CONSUMER.DELETE.JOBS.worker-default", &json!({})).await?;
    until(&mut fleet, "worker", "queues", Some("its consumer was removed")).await?;
    let begun = Instant::now();
    let id = submit(&fleet, command(&["true"])).await?;
    fleet.result(id).await?;
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    until(&mut fleet, "worker", "queues", None).await?;
    Ok(())
}

/// Without a place for their events, or for a letter, jobs wait, and both services say so until there is one.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_stored_is_told() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    let admin = fleet.broker.client("admin").await?;
    for stream in ["EVENTS", "DEAD"] {
        admin.api(&format!("STREAM.DELETE.{stream}"), &json!({})).await?;
    }
    let operator = fleet.broker.client("operator").await?;
    operator.store("windlass.task.default", &[("Windlass-Kind", "no kind")], "").await?;
    let id = submit(&fleet, command(&["true"])).await?;
    for label in ["dispatcher", "worker"] {
        until(&mut fleet, label, "history", Some("jobs wait")).await?;
    }
    until(&mut fleet, "dispatcher", "dead_letters", Some("jobs wait")).await?;
    fleet.broker.provision(&fleet.layout).await?;
    for label in ["dispatcher", "worker"] {
        until(&mut fleet, label, "history", None).await?;
    }
    fleet.tap.heard(id, Transition::Succeeded).await?;
    Ok(())
}

/// A connection that stands and carries nothing is told of before it is found dead.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_answer_is_told() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    fleet.service("dispatcher").await?;
    let proxy = Proxy::start(fleet.broker.port()).await?;
    fleet.set_env("WINDLASS__NATS__URL", proxy.url());
    fleet.service("worker").await?;
    proxy.set(Weather::Silent);
    until(&mut fleet, "worker", "broker", Some("does not answer")).await?;
    proxy.set(Weather::Fair);
    until(&mut fleet, "worker", "broker", None).await?;
    fleet.result(submit(&fleet, command(&["true"])).await?).await?;
    Ok(())
}
