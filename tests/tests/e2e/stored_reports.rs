//! What the monitor does by itself, as a process: reports on a schedule, and sign-in at a provider that is away.

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::time::timeout;
use windlass_core::Transition;
use windlass_testkit::{Fleet, PATIENCE};

use crate::schedules::apply;
use crate::support::{command, submit};

/// Asks until there are so many; returns them.
async fn listed(fleet: &Fleet, count: usize) -> Result<Value> {
    let asking = async {
        loop {
            let list: Value = serde_json::from_str(&fleet.cli(&["report", "list", "-o", "json"]).await?)?;
            if list["reports"].as_array().is_some_and(|all| all.len() == count) {
                return anyhow::Ok(list);
            }
        }
    };
    timeout(PATIENCE, asking).await.context("the reports are not made")?
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_made_by_themselves_once_and_shown() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    // The latest instants have passed: they are made late, at once.
    fleet.set_env("WINDLASS__MONITOR__REPORTS__DAILY", "0 6 * * *");
    fleet.set_env("WINDLASS__MONITOR__REPORTS__HANDOFF", "0 6 * * 1");
    fleet.set_env("WINDLASS__MONITOR__REPORTS__SCHEDULES", "0 6 * * 1");
    fleet.set_env("WINDLASS__MONITOR__REPORTS__ZONE", "Europe/Berlin");
    let id = submit(&fleet, command(&["true"])).await?;
    fleet.tap.heard(id, Transition::Succeeded).await?;
    let schedule =
        |id: &str| format!("[[schedules]]\nid = \"{id}\"\nkind = \"command.run\"\ncron = \"0 6 * * *\"\n");
    apply(&fleet, "both.toml", &(schedule("nightly") + &schedule("mornings"))).await?;
    fleet.service("monitor").await?;
    let list = listed(&fleet, 3).await?;
    let review = fleet.cli(&["report", "show", "schedules"]).await?;
    let heading = "## Schedules that fire at the same instants";
    assert!(review.contains(heading) && review.contains("nightly"), "{review}");
    let handoff = fleet.cli(&["report", "show", "handoff"]).await?;
    for heading in ["# Handoff", "## Known issues", "## Queues", "## Workers", "## Schedules", "command.run"]
    {
        assert!(handoff.contains(heading), "{heading}: {handoff}");
    }
    let daily = list["reports"].as_array().and_then(|all| all.iter().find(|one| one["what"] == "daily"));
    let daily = daily.and_then(|one| one["id"].as_str()).context("no daily report")?;
    let page = fleet.cli(&["report", "show", daily, "--format", "html"]).await?;
    assert!(page.starts_with("<!doctype html>") && page.contains("Daily report"), "{page}");
    assert!(fleet.cli(&["report", "show", "weekly"]).await.is_err(), "none is configured");

    fleet.take("monitor")?.stop().await?;
    fleet.service("monitor-2").await?;
    assert_eq!(listed(&fleet, 3).await?, list, "a restart makes none again");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_starts_without_its_identity_provider() -> Result<()> {
    const SECRET: &str = "a-secret-of-a-client-of-more-than-32-characters";
    let mut fleet = Fleet::running().await?;
    for (name, value) in [
        // Nobody listens there.
        ("OIDC__ISSUER", "http://127.0.0.1:1/realms/main"),
        ("OIDC__CLIENT_ID", "windlass"),
        ("OIDC__CLIENT_SECRET", SECRET),
        ("OIDC__ROLES__ADMIN", "windlass-admins,root"),
        ("PUBLIC_URL", "http://127.0.0.1:8304"),
    ] {
        fleet.set_env(&format!("WINDLASS__MONITOR__{name}"), value);
    }
    fleet.service("monitor").await?;
    let monitor = fleet.process("monitor")?.http().await?;
    let page = reqwest::get(format!("{monitor}/sign-in")).await?.error_for_status()?.text().await?;
    assert!(page.contains("Sign in at 127.0.0.1:1"), "{page}");
    let away = reqwest::get(format!("{monitor}/sign-in/oidc")).await?;
    assert_eq!(away.status(), reqwest::StatusCode::BAD_GATEWAY);
    assert!(away.text().await?.contains("cannot be asked just now"));
    let log = fleet.process("monitor")?.log();
    assert!(log.contains("the identity provider could not be asked"), "{log}");
    assert!(!log.contains(SECRET), "{log}");
    Ok(())
}
