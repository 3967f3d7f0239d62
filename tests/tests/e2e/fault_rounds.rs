//! The short set of the fault suite: a round of the most telling families, each with a seed of its own.
//!
//! The long set is the program `windlass-faults`.

use anyhow::Result;
use windlass_core::audit::Defect;
use windlass_tests::faults::{Backlog, Family, Options, Outcome, round};

/// The rounds share the machine with the other tests.
async fn short(family: Family, seed: u64) -> Result<Outcome> {
    let backlog = Backlog { jobs: 500, keys: 20 };
    let options = Options {
        seed,
        jobs_per_second: 12,
        backlog,
        short: true,
        named: false,
        keep: false,
        old_programs: None,
    };
    round(family, &options).await
}

async fn holds(family: Family, seed: u64) -> Result<()> {
    let outcome = short(family, seed).await?;
    assert!(outcome.holds() && outcome.faults > 0 && outcome.verdict.jobs > 0, "{outcome}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_job_ends_once_through_kills_of_workers() -> Result<()> {
    holds(Family::WorkerKill, 11).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_job_ends_once_through_pauses_past_the_lease() -> Result<()> {
    holds(Family::WorkerPause, 12).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_job_ends_once_through_kills_of_the_broker() -> Result<()> {
    holds(Family::BrokerKill, 13).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_job_ends_once_through_a_bad_network() -> Result<()> {
    holds(Family::Network, 14).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_one_of_a_key_runs_through_kills_over_a_backlog() -> Result<()> {
    holds(Family::Limits, 17).await
}

/// Failpoints are compiled into programs with debug assertions only, and the tests' own are built as they are.
#[cfg(debug_assertions)]
#[tokio::test(flavor = "multi_thread")]
async fn every_job_ends_once_through_kills_between_two_steps() -> Result<()> {
    let outcome = short(Family::Failpoints, 15).await?;
    assert!(outcome.holds(), "{outcome}");
    assert_eq!(outcome.killed_at.len(), 11, "a step was not reached: {:?}", outcome.killed_at);
    Ok(())
}

/// That a round finds nothing means something only if it finds what is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_round_finds_what_was_broken_on_purpose() -> Result<()> {
    let outcome = short(Family::Sabotage, 16).await?;
    let count = |defect| outcome.verdict.count(defect);
    assert_eq!((count(Defect::Lost), count(Defect::Doubled)), (1, 1), "{outcome}");
    // Made up: nobody submitted it, it has no record, and no handler ran it; and no handler ran the second end.
    assert!(count(Defect::Phantom) >= 1 && count(Defect::Untold) == 1, "{outcome}");
    assert!(!outcome.holds());
    std::fs::remove_dir_all(outcome.kept.expect("what was found is kept"))?;
    Ok(())
}
