//! The sum of all rounds.

use std::collections::BTreeSet;
use std::fmt;

use jiff::SignedDuration;
use serde_json::json;
use windlass_broker::failpoint::Point;
use windlass_core::audit::{Defect, percentile};

use super::families::Family;
use super::round::Outcome;

/// The sum of all rounds.
#[derive(Debug, Clone, Default)]
pub struct Total {
    seed: u64,
    rounds: usize,
    jobs: usize,
    faults: usize,
    duplicates: usize,
    executions: usize,
    extra_executions: usize,
    unexplained: usize,
    defects: Vec<usize>,
    recoveries: Vec<SignedDuration>,
    unsettled: usize,
    failed_rounds: usize,
    reached: BTreeSet<String>,
    killed_at: BTreeSet<String>,
    unreached: Vec<&'static str>,
    families: BTreeSet<&'static str>,
    skipped: BTreeSet<&'static str>,
}

// === impl Total ===

impl Total {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, defects: vec![0; Defect::ALL.len()], ..Self::default() }
    }

    pub(super) fn add(&mut self, outcome: &Outcome) {
        if outcome.skipped.is_some() {
            self.skipped.insert(outcome.family.name());
            return;
        }
        let verdict = &outcome.verdict;
        self.families.insert(outcome.family.name());
        self.rounds += 1;
        self.jobs += verdict.jobs;
        self.faults += outcome.faults;
        self.duplicates += verdict.duplicates;
        self.executions += verdict.executions;
        self.extra_executions += verdict.extra_executions;
        self.unexplained += verdict.unexplained_extra_executions;
        for (count, defect) in self.defects.iter_mut().zip(Defect::ALL) {
            *count += verdict.count(*defect);
        }
        self.recoveries.extend(&verdict.recoveries);
        self.unsettled += usize::from(!outcome.complaints.is_empty());
        self.reached.extend(outcome.reached.iter().cloned());
        self.killed_at.extend(outcome.killed_at.iter().cloned());
    }

    /// A round that could not be run is not one in which everything held.
    pub(super) fn add_failure(&mut self) {
        self.failed_rounds += 1;
    }

    /// A failpoint that never fires is an error of the suite, where it was to iterate them all.
    pub(super) fn finish(&mut self) {
        self.recoveries.sort();
        if self.families.contains(Family::Failpoints.name()) {
            let names = Point::ALL.iter().map(|point| point.as_str());
            self.unreached = names.filter(|name| !self.killed_at.contains(*name)).collect();
        }
    }

    fn count(&self, defect: Defect) -> usize {
        Defect::ALL.iter().position(|d| *d == defect).map_or(0, |place| self.defects[place])
    }

    /// Whether everything held, in every round.
    pub fn holds(&self) -> bool {
        self.defects.iter().all(|count| *count == 0)
            && self.unsettled + self.failed_rounds == 0
            && self.unreached.is_empty()
            && self.rounds > 0
    }

    /// Of the program: 0 if everything held, 1 if not.
    pub fn exit_status(&self) -> u8 {
        u8::from(!self.holds())
    }

    fn recovery(&self, part: f64) -> Option<f64> {
        percentile(&self.recoveries, part).map(|time| (time.as_secs_f64() * 1000.0).round() / 1000.0)
    }

    /// As one line.
    pub fn json(&self) -> String {
        json!({
            "seed": self.seed,
            "rounds": self.rounds,
            "jobs": self.jobs,
            "faults": self.faults,
            "duplicates": self.duplicates,
            "executions": self.executions,
            "lost": self.count(Defect::Lost),
            "doubled": self.count(Defect::Doubled),
            "stale_accepted": self.count(Defect::StaleAccepted),
            "phantom": self.count(Defect::Phantom),
            "extra_executions": self.extra_executions,
            "unexplained_extra_executions": self.unexplained,
            "unfenced": self.count(Defect::Unfenced),
            "untold": self.count(Defect::Untold),
            "wrong_end": self.count(Defect::WrongEnd),
            "over_policy": self.count(Defect::OverPolicy),
            "over_limit": self.count(Defect::OverLimit),
            "late": self.count(Defect::Late),
            "unsettled_rounds": self.unsettled,
            "failed_rounds": self.failed_rounds,
            "failpoints_that_never_fired": self.unreached,
            "families": self.families,
            "skipped": self.skipped,
            "recovery_p50_seconds": self.recovery(0.5),
            "recovery_p99_seconds": self.recovery(0.99),
            "verdict": if self.holds() { "pass" } else { "fail" },
            "exit_status": self.exit_status(),
        })
        .to_string()
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(&self.json()) else {
            return Err(fmt::Error);
        };
        let words: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        f.write_str(&words.join(" "))
    }
}
