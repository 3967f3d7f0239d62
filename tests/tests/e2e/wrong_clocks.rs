//! Machines whose clocks are wrong: what decides goes by the broker's clock.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use windlass_broker::absence::Signs;
use windlass_core::{JobState, Transition};
use windlass_testkit::{Fleet, PATIENCE};

use crate::support::{command, submit};

/// Shifts the clock of processes that start from now on, as they see it.
const OFFSET: &str = "WINDLASS_CLOCK_OFFSET_SECONDS";
const HOUR: &str = "3600";

async fn runs(fleet: &Fleet, jobs: usize) -> Result<()> {
    let mut ids = Vec::new();
    for _ in 0..jobs {
        ids.push(submit(fleet, command(&["true"])).await?);
    }
    for id in ids {
        fleet.result(id).await?;
    }
    Ok(())
}

/// It finds no absence of an hour after the sign of a dispatcher before it, and leaves none behind for the one after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_whose_clock_is_ahead_rejects_nothing() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    runs(&fleet, 3).await?;
    for (label, offset) in [("dispatcher-2", HOUR), ("dispatcher-3", "0"), ("dispatcher-4", "-3600")] {
        let before = fleet.labels().into_iter().find(|label| label.starts_with("dispatcher"));
        fleet.kill9(&before.context("no dispatcher")?).await?;
        fleet.set_env(OFFSET, offset);
        fleet.service(label).await?;
        // Its first deliveries are under suspicion, so that an absence counts.
        runs(&fleet, 3).await?;
        assert_eq!(Signs::read(&fleet.operator).await?.absence, None, "{label}");
    }
    Ok(())
}

/// What an earlier version has kept, by its own clock, is not believed.
#[tokio::test(flavor = "multi_thread")]
async fn times_that_an_earlier_version_wrote_mislead_nobody() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let admin = fleet.broker.connect("admin").await?;
    let control = admin.bucket(admin.names().control_bucket());
    let (now, ahead) = (Timestamp::now(), Timestamp::now() + Duration::from_secs(3600));
    control.put("dispatchers.absence", format!("{now} {ahead}").into(), None).await?;
    control.put("dispatchers.seen", now.to_string().into(), None).await?;
    fleet.service("worker").await?;
    fleet.service("dispatcher").await?;
    runs(&fleet, 3).await
}

/// A worker and a dispatcher that are an hour ahead neither expire a job that may wait a minute, nor run one before it is
/// due, nor set a retry to an instant that is an hour away.
#[tokio::test(flavor = "multi_thread")]
async fn waits_end_by_the_brokers_clock() -> Result<()> {
    for offset in [HOUR, "-3600"] {
        let mut fleet = Fleet::start().await?;
        fleet.set_env(OFFSET, offset);
        fleet.service("dispatcher").await?;
        fleet.service("worker").await?;
        let in_time = command(&["true"]).into_submission(&fleet).max_wait(Duration::from_secs(60));
        let in_time = in_time.submit().await?.id;
        assert_eq!(fleet.ended(in_time).await?.state, JobState::Succeeded, "{offset}");

        let delay = Duration::from_millis(1500);
        let delayed = command(&["true"]).into_submission(&fleet).delay(delay).submit().await?.id;
        let accepted = fleet.tap.heard(delayed, Transition::Accepted).await?;
        fleet.result(delayed).await?;
        let started = fleet.tap.heard(delayed, Transition::Started).await?;
        let waited = started.at.duration_since(accepted.at);
        assert!(waited >= jiff::SignedDuration::from_millis(1400), "{offset}: it ran after {waited:?}");

        let marks = fleet.folder.path().join("marks");
        let script = format!("echo x >> {0}; test $(wc -l < {0}) -gt 1", marks.display());
        let policy = windlass_core::RetryPolicy::default().with_max_attempts(2)?;
        let again = command(&["sh", "-c", &script]).failing().into_submission(&fleet).retry(policy);
        let again = again.submit().await?.id;
        assert_eq!(fleet.ended(again).await?.state, JobState::Succeeded, "{offset}");
    }
    Ok(())
}

/// A process whose clock is wrong says so, and is ready all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_is_told() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    fleet.set_env(OFFSET, HOUR);
    for label in ["dispatcher", "worker"] {
        fleet.service(label).await?;
        let url = fleet.process(label)?.http().await?;
        let told = async {
            loop {
                let answer = reqwest::get(format!("{url}/readyz")).await?.error_for_status()?.text().await?;
                if answer.contains("3600 s ahead of the broker's") {
                    return anyhow::Ok(());
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, told).await.context("the clock is not told of")??;
        let metrics = reqwest::get(format!("{url}/metrics")).await?.text().await?;
        let line = metrics.lines().find(|line| line.starts_with("windlass_clock_skew_seconds"));
        let skew: f64 = line.and_then(|line| line.rsplit(' ').next()).context("no metric")?.parse()?;
        assert!((3590.0..3610.0).contains(&skew), "{skew}");
        assert!(fleet.process(label)?.log().contains("the clock of this machine is wrong"));
    }
    Ok(())
}
