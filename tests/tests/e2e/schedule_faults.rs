//! Schedulers that believe what is not so: two that lead at once, and clocks that are set while they lead.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde_json::json;
use tokio::time::timeout;
use windlass_core::Event;
use windlass_testkit::{Fleet, PATIENCE};

use super::schedules::{Leaders, Rule, after, apply, assert_one_job_each, list, metric, succeeded};

/// Seconds, in a file, by which a process sees its clock shifted.
const OFFSET_FILE: &str = "WINDLASS_CLOCK_OFFSET_FILE";

/// So many schedules of every second, and what they are to fire.
async fn ticking(fleet: &Fleet, count: usize) -> Result<Vec<Rule>> {
    let task = json!({ "argv": ["true"] });
    let file: Vec<_> = (0..count)
        .map(|n| json!({ "id": format!("s{n}"), "kind": "command.run", "payload": task, "every": "1s" }))
        .collect();
    apply(fleet, "ticking.json", &json!(file).to_string()).await?;
    list(fleet).await?.iter().map(|shown| Rule::read(shown, 1, 0)).collect()
}

/// Until the jobs of all instants up to this one have succeeded; there is one job of each, and none was missed.
async fn all_fire(fleet: &Fleet, rules: &[Rule], last: Timestamp) -> Result<Vec<Event>> {
    let fires: Vec<_> = rules.iter().flat_map(|rule| rule.until(last)).collect();
    let all = succeeded(fleet, &fires).await?;
    assert_one_job_each(&all, rules);
    for shown in list(fleet).await? {
        assert_eq!(shown["misfires"], 0, "{shown}");
    }
    Ok(all)
}

/// Waits until a metric of a service is so.
async fn told(service: &str, name: &str, what: &str, holds: impl Fn(f64) -> bool) -> Result<()> {
    let looking = async {
        while !metric(service, name).await?.parse().is_ok_and(&holds) {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, looking).await.with_context(|| format!("{name} of {service}: {what}"))?
}

/// Somebody removes the lease, and so another scheduler takes it, long before the first looks at it again. For some
/// seconds both lead, and fire the same instants.
#[tokio::test(flavor = "multi_thread")]
async fn two_that_lead_at_once_make_one_job_of_each_instant() -> Result<()> {
    const LEADER: &str = "windlass_scheduler_leader";
    let mut fleet = Fleet::running().await?;
    // Renewed every 20 s.
    fleet.set_env("WINDLASS__SCHEDULER__LEASE_TTL", "60s");
    let mut leaders = Leaders::watch(&fleet).await?;
    for label in ["scheduler", "scheduler-2"] {
        fleet.service(label).await?;
    }
    let first = leaders.next(&mut fleet, &["scheduler", "scheduler-2"]).await?;
    let second = if first == "scheduler" { "scheduler-2" } else { "scheduler" };
    let rules = ticking(&fleet, 20).await?;
    let begun: Vec<_> = rules.iter().flat_map(|rule| rule.first(2)).collect();
    succeeded(&fleet, &begun).await?;

    let admin = fleet.broker.connect("admin").await?;
    admin.bucket(admin.names().control_bucket()).delete("leader.scheduler").await?;
    leaders.next(&mut fleet, &[second]).await?;
    let since = Timestamp::now();
    let (first, second) = (fleet.process(first)?.http().await?, fleet.process(second)?.http().await?);
    told(&second, "windlass_scheduler_schedules", "it follows all", |count| count >= 20.0).await?;
    // Of both: each has fired some of these, or met a cursor that the other had moved.
    for service in [&first, &second] {
        let done = async || {
            let fires: f64 = metric(service, "windlass_scheduler_fires_total").await?.parse()?;
            let failures: f64 = metric(service, "windlass_scheduler_failures_total").await?.parse()?;
            anyhow::Ok(fires + failures)
        };
        let before = done().await?;
        let goes_on = async {
            while done().await? <= before {
                tokio::task::yield_now().await;
            }
            anyhow::Ok(())
        };
        timeout(PATIENCE, goes_on).await.context("it does not fire")??;
    }
    for service in [&first, &second] {
        ensure!(metric(service, LEADER).await? == "1", "it leads no more: nothing was tested");
    }
    all_fire(&fleet, &rules, after(since, 4)).await?;
    let conflicts = async |service: &str| metric(service, "windlass_scheduler_failures_total").await;
    let (of_first, of_second) = (conflicts(&first).await?, conflicts(&second).await?);
    ensure!((of_first.as_str(), of_second.as_str()) != ("0", "0"), "they never met");
    Ok(())
}

/// The clock of the leader's machine is set by five minutes, either way, while the broker is away and while it is there.
/// Instants are those of the broker's clock: none fires early, none is missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_leaders_clock_that_is_set_moves_no_instant() -> Result<()> {
    const SKEW: &str = "windlass_clock_skew_seconds";
    let mut fleet = Fleet::running().await?;
    let file = fleet.folder.path().join("offset");
    std::fs::write(&file, "0")?;
    fleet.set_env(OFFSET_FILE, &file);
    let mut leaders = Leaders::watch(&fleet).await?;
    for label in ["scheduler", "scheduler-2"] {
        fleet.service(label).await?;
    }
    let leader = leaders.next(&mut fleet, &["scheduler", "scheduler-2"]).await?;
    let url = fleet.process(leader)?.http().await?;
    let rules = ticking(&fleet, 3).await?;
    let begun: Vec<_> = rules.iter().flat_map(|rule| rule.first(2)).collect();
    succeeded(&fleet, &begun).await?;
    for offset in ["300", "-300"] {
        std::fs::write(&file, offset)?;
        fire_until(&fleet, &rules, after(Timestamp::now(), 2)).await?;
        // The broker's clock is looked at after each reconnection: then the skew is known, and told.
        fleet.broker.kill9().await?;
        fleet.broker.restart().await?;
        let expected: f64 = offset.parse()?;
        told(&url, SKEW, offset, |skew| (skew - expected).abs() < 10.0).await?;
        let ready = reqwest::get(format!("{url}/readyz")).await?.text().await?;
        ensure!(ready.contains("the broker's"), "{ready}");
        fire_until(&fleet, &rules, after(Timestamp::now(), 2)).await?;
    }
    // The one that takes over has seen the wrong clock only, and leads at once.
    std::fs::write(&file, "300")?;
    let other = if leader == "scheduler" { "scheduler-2" } else { "scheduler" };
    fleet.take(other)?.stop().await?;
    fleet.service(other).await?;
    let mut leaders = Leaders::watch(&fleet).await?;
    fleet.kill9(leader).await?;
    leaders.next(&mut fleet, &[other]).await?;
    fire_until(&fleet, &rules, after(Timestamp::now(), 2)).await?;
    // Of the instants to come, which a clock that is ahead has seen, none has a job.
    let to_come = after(Timestamp::now(), 1);
    let known: BTreeSet<_> =
        rules.iter().flat_map(|r| r.until(to_come)).map(|(_, id)| id.to_string()).collect();
    let subjects = fleet.broker.client("admin").await?.subjects("JOBS").await?;
    let subjects = subjects.as_object().context("no subjects")?;
    for id in subjects.keys().filter_map(|subject| subject.rsplit('.').next()) {
        ensure!(known.contains(id), "{id} is a job of no instant that has come");
    }
    for shown in list(&fleet).await? {
        assert_eq!(shown["misfires"], 0, "{shown}");
    }
    Ok(())
}

/// Each instant up to this one has a job that succeeds. Events that came while the broker was away were not heard:
/// results say it.
async fn fire_until(fleet: &Fleet, rules: &[Rule], last: Timestamp) -> Result<()> {
    for (_, job) in rules.iter().flat_map(|rule| rule.until(last)) {
        fleet.result(job).await?;
    }
    Ok(())
}

/// What no scheduler could fire in time is an alert of the monitor's, until it is over.
#[tokio::test(flavor = "multi_thread")]
async fn misfires_are_an_alert() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    fleet.set_env("WINDLASS__MONITOR__ALERTS__EVALUATE_EVERY", "1s");
    // Late by anything.
    fleet.set_env("WINDLASS__SCHEDULER__GRACE", "0s");
    fleet.service("monitor").await?;
    let file = json!([
        {"id": "late", "kind": "command.run", "payload": {"argv": ["true"]}, "every": "1s", "misfire": "skip"},
    ]);
    apply(&fleet, "late.json", &file.to_string()).await?;
    let due = list(&fleet).await?[0]["next_at"].as_str().context("no instant")?.parse::<Timestamp>()?;
    let until = Duration::try_from(after(due, 1).duration_since(Timestamp::now())).unwrap_or_default();
    tokio::time::sleep(until).await;
    fleet.service("scheduler").await?;
    let url = fleet.process("monitor")?.http().await?;
    let looking = async {
        loop {
            let alerts: serde_json::Value =
                reqwest::get(format!("{url}/api/v1/alerts")).await?.json().await?;
            let mut firing = alerts["firing"].as_array().into_iter().flatten();
            if let Some(alert) = firing.find(|alert| alert["rule"] == "misfires") {
                return anyhow::Ok(alert.clone());
            }
            tokio::task::yield_now().await;
        }
    };
    let alert = timeout(PATIENCE, looking).await.context("no alert")??;
    assert_eq!(alert["subject"], "late", "{alert}");
    Ok(())
}
