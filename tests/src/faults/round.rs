//! One round of one family.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::SignedDuration;
use tokio::time::{Instant, timeout};
use windlass_core::audit::{Defect, Verdict, judge, percentile};
use windlass_testkit::EventLog;

use super::evidence::{gather, keep};
use super::families::{Family, Scene};
use super::ledger::Ledger;
use super::load::{Load, Rate};
use super::resubmit;
use super::seed::Seed;
use super::settle::settle;
use super::stage::Stage;

/// What all rounds have in common.
#[derive(Debug, Clone)]
pub struct Options {
    /// Decides the workload and the faults.
    pub seed: u64,
    /// Jobs that all clients submit together in a second.
    pub jobs_per_second: u64,
    /// Of the family that works on one.
    pub backlog: Backlog,
    /// Injects less, for the short set.
    pub short: bool,
    /// The family was asked for by name.
    pub named: bool,
    /// Keeps its folder, also where everything held.
    pub keep: bool,
    /// Where the programs of another version are.
    pub old_programs: Option<PathBuf>,
}

/// Jobs that are submitted at once.
#[derive(Debug, Clone, Copy)]
pub struct Backlog {
    /// How many.
    pub jobs: u64,
    /// Of how many keys, in turn.
    pub keys: u64,
}

/// What came of a round.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Of these faults.
    pub family: Family,
    /// With this seed.
    pub seed: u64,
    /// What was found.
    pub verdict: Verdict,
    /// How many faults were injected.
    pub faults: usize,
    /// What does not hold beside the jobs: a service that ended badly, a fleet that did not settle.
    pub complaints: Vec<String>,
    /// The steps of the protocol that were reached, by name.
    pub reached: BTreeSet<String>,
    /// The steps at which a process was killed.
    pub killed_at: BTreeSet<String>,
    /// Why it was not run, if it was not.
    pub skipped: Option<String>,
    /// How long it took.
    pub took: Duration,
    /// Where its history, its logs and what was found are, if something was.
    pub kept: Option<PathBuf>,
}

/// For one more to end once the last fault is over: a lease, an election and the retries of what they met.
const SETTLE: Duration = Duration::from_secs(60);
/// Where something is lost on purpose.
const HOPELESS: Duration = Duration::from_secs(5);
/// Of a whole round. Nothing in it takes so long.
const ROUND: Duration = Duration::from_mins(6);
/// Beside that, for each thousand jobs of a backlog.
const EACH_THOUSAND: Duration = Duration::from_secs(20);

/// Runs one round. An error is one of the suite's own, or of a fleet that does not start.
pub async fn round(family: Family, options: &Options) -> Result<Outcome> {
    if let Some(reason) = family.cannot_run(options) {
        return Ok(Outcome { skipped: Some(reason), ..Outcome::new(family, options.seed) });
    }
    let mut stage = family.stage(options).await.context("the fleet did not start")?;
    let bound = options.round_bound();
    let run = match timeout(bound, Box::pin(run(family, options, &mut stage))).await {
        Ok(run) => run,
        Err(_) => Err(anyhow::anyhow!("a round took longer than {bound:?}")),
    };
    run.map_err(|error| {
        stage.fleet.folder.disable_cleanup(true);
        error.context(format!("the round broke off; its logs are in {}", stage.folder().display()))
    })
}

async fn run(family: Family, options: &Options, stage: &mut Stage) -> Result<Outcome> {
    let begun = Instant::now();
    let mut seed = Seed::new(options.seed);
    let (ledger, mut events) = (Ledger::default(), EventLog::default());
    let rate = Rate { per_second: options.jobs_per_second, cancels: family.cancels() };
    let load = Load::start(stage, &ledger, rate, &seed.fork(1)).await?;
    let mut scene = Scene { stage: &mut *stage, ledger: &ledger, seed: &mut seed, options, malformed: 0 };
    let injected = family.inject(&mut scene).await;
    let malformed = scene.malformed;
    // Also after an error: what was submitted must end.
    load.stop().await?;
    stage.heal().await.context("not everything became ready again")?;
    let mut complaints: Vec<String> =
        injected.err().map(|e| format!("injecting: {e:#}")).into_iter().collect();
    let patience = if family == Family::Sabotage { HOPELESS } else { SETTLE };
    let left = settle(stage, &ledger.acknowledged(), &mut events, patience).await;
    complaints.extend(left.map(|left| format!("did not settle, nothing ended for {patience:?}: {left:?}")));
    resubmit::finished(stage, &ledger, &mut seed, 30, family.repeats()).await?;
    let left = settle(stage, &ledger.acknowledged(), &mut events, patience).await;
    complaints.extend(left.map(|left| format!("did not settle after finished ids: {left:?}")));
    complaints.extend(family.afterwards(stage, &ledger).await?);
    stage.stop().await?;
    complaints.append(&mut stage.complaints);

    let gathered = gather(stage, &ledger, &mut events, malformed).await?;
    let verdict = judge(&gathered.evidence);
    if verdict.rejections != malformed {
        complaints.push(format!("{malformed} messages were no tasks, {} were rejected", verdict.rejections));
    }
    let names =
        |act: &str| gathered.hits.iter().filter(|hit| hit.act == act).map(|hit| hit.point.clone()).collect();
    let mut outcome = Outcome {
        faults: gathered.evidence.faults.iter().filter(|fault| fault.injected).count(),
        reached: names("reached"),
        killed_at: names("kill"),
        verdict,
        complaints,
        took: begun.elapsed(),
        ..Outcome::new(family, options.seed)
    };
    if options.keep || !outcome.holds() {
        keep(stage, &gathered, &outcome.verdict)?;
        stage.fleet.folder.disable_cleanup(true);
        outcome.kept = Some(stage.folder().to_owned());
    }
    Ok(outcome)
}

// === impl Options ===

impl Options {
    /// No round takes longer.
    pub(super) fn round_bound(&self) -> Duration {
        let thousands = u32::try_from(self.backlog.jobs / 1000).unwrap_or(u32::MAX);
        EACH_THOUSAND.saturating_mul(thousands).saturating_add(ROUND)
    }
}

// === impl Outcome ===

impl Outcome {
    fn new(family: Family, seed: u64) -> Self {
        Self {
            family,
            seed,
            verdict: Verdict::default(),
            faults: 0,
            complaints: Vec::new(),
            reached: BTreeSet::new(),
            killed_at: BTreeSet::new(),
            skipped: None,
            took: Duration::ZERO,
            kept: None,
        }
    }

    /// Whether everything held.
    pub fn holds(&self) -> bool {
        self.verdict.holds() && self.complaints.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} seed={}", self.family.name(), self.seed)?;
        if let Some(reason) = &self.skipped {
            return write!(f, " SKIPPED: {reason}");
        }
        let verdict = &self.verdict;
        write!(f, " jobs={} faults={} duplicates={}", verdict.jobs, self.faults, verdict.duplicates)?;
        for defect in [Defect::Lost, Defect::Doubled, Defect::StaleAccepted, Defect::Phantom] {
            write!(f, " {}={}", defect.as_str(), verdict.count(defect))?;
        }
        write!(f, " extra={}", verdict.extra_executions)?;
        write!(f, " unexplained={}", verdict.unexplained_extra_executions)?;
        for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
            if let Some(time) = percentile(&verdict.recoveries, part) {
                write!(f, " recovery_{name}={:.1}s", SignedDuration::as_secs_f64(&time))?;
            }
        }
        write!(f, " took={:.1}s {}", self.took.as_secs_f64(), if self.holds() { "ok" } else { "VIOLATED" })?;
        for finding in verdict.findings.iter().take(10) {
            write!(f, "\n    {finding}")?;
        }
        for complaint in &self.complaints {
            write!(f, "\n    {complaint}")?;
        }
        match &self.kept {
            Some(folder) => write!(f, "\n    kept in {}", folder.display()),
            None => Ok(()),
        }
    }
}
