//! Each service on its own: started, stopped and replaced in any order while jobs run.

use anyhow::{Context as _, Result};
use windlass_broker::provision::Layout;
use windlass_core::Transition;
use windlass_testkit::{Fleet, TestBroker};

use crate::support::{command, gated, open, submit};

#[tokio::test(flavor = "multi_thread")]
async fn services_come_and_go_in_any_order() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    // The worker first, the dispatcher last: nothing waits for another.
    fleet.service("worker").await?;
    fleet.service("monitor").await?;
    let early = submit(&fleet, command(&["echo", "early"])).await?;
    fleet.service("dispatcher").await?;
    fleet.service("scheduler").await?;
    assert_eq!(fleet.result(early).await?["stdout"], "early\n");

    let (gate, long) = gated(&fleet, "gate")?;
    let long = submit(&fleet, long).await?;
    fleet.tap.heard(long, Transition::Started).await?;
    for label in ["dispatcher", "monitor", "scheduler"] {
        let status = fleet.take(label)?.stop().await?;
        assert_eq!(status.code(), Some(0), "{label}");
        let meanwhile = submit(&fleet, command(&["echo", label])).await?;
        let replaced = format!("{label}-2");
        fleet.service(&replaced).await?;
        assert_eq!(fleet.result(meanwhile).await?["stdout"], format!("{label}\n"));
    }
    fleet.service("worker-2").await?;
    let old = fleet.take("worker")?;
    let stopping = tokio::spawn(old.stop());
    open(&gate, "done\n").await?;
    assert_eq!(fleet.result(long).await?["stdout"], "done\n");
    assert_eq!(stopping.await??.code(), Some(0));

    // The monitor was away for a while, and knows all the same.
    let monitor = fleet.process("monitor-2")?.http().await?;
    let client = reqwest::Client::new();
    for id in [early, long] {
        let mut job: serde_json::Value = serde_json::Value::Null;
        while job["state"] != "succeeded" {
            job = client.get(format!("{monitor}/api/v1/jobs/{id}")).send().await?.json().await?;
            tokio::task::yield_now().await;
        }
        assert_eq!(job["attempts"][0]["number"], 1);
        assert_eq!(job["attempts"][0]["outcome"], "succeeded");
    }
    Ok(())
}

/// Each process says that it lives and how it does, and takes that back at its end; a job leads to its parent, and that to
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn the_monitor_knows_who_lives() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    for label in ["scheduler", "scheduler-2", "monitor"] {
        fleet.service(label).await?;
    }
    let monitor = fleet.process("monitor")?.http().await?;
    let asked = async |is: &dyn Fn(&[&str]) -> bool| -> Result<serde_json::Value> {
        loop {
            let found: serde_json::Value =
                reqwest::get(format!("{monitor}/api/v1/fleet")).await?.error_for_status()?.json().await?;
            let services: Vec<_> = found["instances"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|one| one["service"].as_str())
                .collect();
            if is(&services) {
                return Ok(found);
            }
            tokio::task::yield_now().await;
        }
    };
    let all = ["dispatcher", "scheduler", "scheduler", "worker", "monitor"];
    let found = asked(&|services| services == all).await?;
    assert_eq!(found["missing"], serde_json::json!([]));
    for instance in found["instances"].as_array().into_iter().flatten() {
        assert!(instance["resident_bytes"].as_u64() > Some(1 << 20), "{instance}");
        assert_eq!(instance["version"], env!("CARGO_PKG_VERSION"));
    }
    assert!(found["streams"].as_array().is_some_and(|streams| streams.len() >= 5), "{found}");
    fleet.take("scheduler-2")?.stop().await?;
    // At once, not when it expires.
    asked(&|services| services == ["dispatcher", "scheduler", "worker", "monitor"]).await?;
    Ok(())
}

/// A monitor whose broker is away shows the history that it has, and says that it is not ready.
#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_without_a_broker_shows_its_history() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    fleet.service("monitor").await?;
    let id = submit(&fleet, command(&["true"])).await?;
    fleet.tap.heard(id, Transition::Succeeded).await?;
    let monitor = fleet.process("monitor")?.http().await?;
    while !reqwest::get(format!("{monitor}/api/v1/jobs/{id}")).await?.text().await?.contains("succeeded") {
        tokio::task::yield_now().await;
    }
    fleet.take("monitor")?.stop().await?;
    fleet.broker.kill9().await?;
    fleet.spawn("monitor-2").await?;
    let monitor = fleet.process("monitor-2")?.http().await?;
    let ready = reqwest::get(format!("{monitor}/readyz")).await?;
    assert_eq!(ready.status(), reqwest::StatusCode::SERVICE_UNAVAILABLE);
    let job: serde_json::Value =
        reqwest::get(format!("{monitor}/api/v1/jobs/{id}")).await?.error_for_status()?.json().await?;
    assert_eq!(job["state"], "succeeded");
    Ok(())
}

/// Services that make what they use leave nothing out; and one whose layout is another than what it finds says so.
#[tokio::test(flavor = "multi_thread")]
async fn services_that_apply_make_all_and_tell_what_they_change() -> Result<()> {
    let mut fleet = Fleet::on(TestBroker::start().await?, Layout::default()).await?;
    fleet.set_env("WINDLASS__PROVISION", "apply");
    for label in ["dispatcher", "worker", "scheduler", "monitor"] {
        fleet.service(label).await?;
    }
    let verified = fleet.cli(&["provision", "--verify"]).await?;
    assert!(!verified.contains("missing"), "{verified}");

    fleet.set_env("WINDLASS__LAYOUT__ACK_WAIT", "20s");
    fleet.service("worker-2").await?;
    let log = fleet.process("worker-2")?.log();
    let warning = log.lines().find(|line| line.contains("differs from this program's layout"));
    let warning = warning.context("it changed a setting and said nothing")?;
    for part in ["consumer worker-default of stream JOBS", "ack_wait", "20s", "30s"] {
        assert!(warning.contains(part), "{part}: {warning}");
    }
    Ok(())
}
