//! A job that kills its worker is found out, and its neighbours are not taken for it.

use anyhow::{Result, ensure};
use windlass_core::settle::{CRASHES_AMONG_OTHERS, MAX_CRASHES_ALONE};
use windlass_core::{JobState, Outcome, Transition};
use windlass_proto::v1;
use windlass_testkit::Fleet;

use crate::support::{command, dead_letter, gated, submit};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_kills_its_worker_ends_alone() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    fleet.service("dispatcher").await?;
    fleet.service("worker").await?;
    let mut neighbours = Vec::new();
    for n in 0..3 {
        let (gate, job) = gated(&fleet, &format!("gate-{n}"))?;
        let policy = windlass_core::RetryPolicy::default().with_max_attempts(1)?;
        let id = job.into_submission(&fleet).retry(policy).submit().await?.id;
        fleet.tap.heard(id, Transition::Started).await?;
        neighbours.push((gate, id));
    }
    let poison = submit(&fleet, command(&["sh", "-c", "kill -9 $PPID"])).await?;
    // As a supervisor does: a worker that died is started again.
    let mut deaths = 0;
    let mut worker = fleet.take("worker")?;
    loop {
        if deaths == CRASHES_AMONG_OTHERS {
            // From now on each runs alone: those that wait at their gates would keep the others waiting.
            for (gate, _) in &neighbours {
                open_for_good(gate.clone());
            }
        }
        let dead = tokio::select! {
            dead = fleet.tap.heard(poison, Transition::Dead) => { dead?; true }
            died = worker.ended() => { ensure!(!died?.success(), "it ended well"); false }
        };
        if dead {
            break;
        }
        deaths += 1;
        ensure!(deaths <= CRASHES_AMONG_OTHERS + MAX_CRASHES_ALONE, "it goes on killing workers");
        let label = format!("worker-{deaths}");
        fleet.service(&label).await?;
        worker = fleet.take(&label)?;
    }
    assert_eq!(deaths, CRASHES_AMONG_OTHERS + MAX_CRASHES_ALONE);
    let letter = dead_letter(&fleet, "default", poison).await?;
    assert_eq!(letter.code, "crash_loop");
    let crashed: Vec<_> = letter.attempts.iter().map(|a| (a.outcome(), a.alone)).collect();
    let expected = [false, false, true, true, true].map(|alone| (v1::Outcome::Crashed, alone));
    assert_eq!(crashed, expected);
    // Its history, and whoever shows it, say which ran alone.
    let alone = |all: &[windlass_core::Event]| -> Vec<bool> {
        let mut ends: Vec<_> = all
            .iter()
            .filter(|e| e.job_id == poison && e.outcome == Some(Outcome::Crashed))
            .map(|e| (e.attempt, e.alone))
            .collect();
        ends.sort_unstable();
        ends.dedup();
        ends.into_iter().map(|(_, alone)| alone).collect()
    };
    let all = fleet.tap.until("all crashes", |all| alone(all).len() == expected.len()).await?;
    assert_eq!(alone(&all), expected.map(|(_, alone)| alone));
    let shown: serde_json::Value =
        serde_json::from_str(&fleet.cli(&["job", "get", &poison.to_string(), "-o", "json"]).await?)?;
    let shown: Vec<_> = shown["attempts"].as_array().into_iter().flatten().map(|a| &a["alone"]).collect();
    assert_eq!(shown, expected.map(|(_, alone)| alone).map(serde_json::Value::from).each_ref());
    for (_, id) in &neighbours {
        assert_eq!(fleet.ended(*id).await?.state, JobState::Succeeded);
        // One attempt was allowed, and none was used by the crashes.
        let end = fleet.tap.heard(*id, Transition::Succeeded).await?;
        assert_eq!(end.outcome, Some(Outcome::Succeeded));
        let crashes = fleet.tap.of(*id).into_iter().filter(|(t, _)| *t == Transition::Crashed).count();
        assert!(crashes <= CRASHES_AMONG_OTHERS, "{crashes} crashes");
    }
    Ok(())
}

/// Opens a gate to all that come, for the rest of the test: who reads it finds its end at once.
fn open_for_good(gate: std::path::PathBuf) {
    // A file in its place, which is never waited for.
    let aside = gate.with_extension("open");
    if std::fs::write(&aside, "open\n").is_ok() {
        let _ = std::fs::rename(aside, gate);
    }
}
