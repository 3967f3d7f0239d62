//! The rules: what is out of bounds.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use windlass_core::JobState;
use windlass_core::alert::Breach;
use windlass_schedules::misfires::{Missed, Recent};
use windlass_service::Problems;

use crate::progress::Progress;
use crate::store::{Gap, QueueCounts};
use crate::webhook::Webhook;

/// When somebody is told, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where changes are sent, each as a POST of JSON. Without it they stand in the log and in the API.
    pub webhook: Option<Webhook>,
    /// How often rules are evaluated.
    #[serde(with = "humantime_serde")]
    pub evaluate_every: Duration,
    /// Of a queue: seconds that its oldest job has waited for a worker.
    pub oldest_age: Bound,
    /// Of a kind: the part of the attempts of the last five minutes that failed, if there were 20 at least.
    pub failure_rate: Bound,
    /// Of a queue: jobs that died in the last five minutes.
    pub dead_letters: Bound,
    /// Of a queue: attempts whose worker was lost in the last five minutes.
    pub worker_lost: Bound,
    /// Of a queue: how many more jobs wait for a worker than ten minutes ago.
    pub backlog_growing: Bound,
    /// Of a queue: jobs that are lost, see the audit; and messages of events that were gone before they were read.
    pub conservation: Bound,
    /// Of a schedule: instants that were missed, until five minutes have passed without a further one.
    pub misfires: Bound,
    /// Messages of events that are not stored yet; 1 more where none can be stored or read.
    pub events_behind: Bound,
}

/// A rule: it is broken above this, and somebody is told when that has lasted so long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// What is well still.
    pub above: f64,
    /// How long it must last.
    #[serde(rename = "for", with = "humantime_serde")]
    pub lasts: Duration,
    /// False: the rule is not evaluated.
    #[serde(default = "on")]
    pub enabled: bool,
}

/// What the rules look at.
pub(super) struct Seen {
    pub(super) queues: Vec<QueueCounts>,
    /// Queue, kind, what, and how many in the last minutes.
    pub(super) happened: Vec<(String, String, String, u64)>,
    pub(super) lost: BTreeMap<String, u64>,
    /// One that was found in the last minutes.
    pub(super) gap: Option<Gap>,
    pub(super) misfires: Recent,
    pub(super) progress: Progress,
}

/// How deep the queues were in the last minutes.
#[derive(Default)]
pub(super) struct Backlogs(VecDeque<(Timestamp, BTreeMap<String, u64>)>);

/// Fewer attempts say nothing of a rate.
const LEAST_ATTEMPTS: u64 = 20;
/// Attempts that failed, as figures name them.
const FAILED: [&str; 3] = ["attempt_failed", "attempt_timed_out", "attempt_crashed"];
/// Those that say something of a rate.
const ATTEMPTS: [&str; 4] = ["attempt_succeeded", "attempt_failed", "attempt_timed_out", "attempt_crashed"];
/// How far a growth is looked back at.
const GROWTH_SECONDS: i64 = 600;

fn on() -> bool {
    true
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        let bound = |above, seconds| Bound { above, lasts: Duration::from_secs(seconds), enabled: true };
        Self {
            webhook: None,
            evaluate_every: Duration::from_secs(15),
            oldest_age: bound(300.0, 60),
            failure_rate: bound(0.5, 60),
            dead_letters: bound(0.0, 0),
            worker_lost: bound(0.0, 0),
            backlog_growing: bound(1000.0, 300),
            conservation: bound(0.0, 0),
            misfires: bound(0.0, 0),
            events_behind: bound(10_000.0, 60),
        }
    }
}

impl Options {
    /// The rules by their names.
    pub fn rules(&self) -> [(&'static str, Bound); 8] {
        [
            ("oldest_age", self.oldest_age),
            ("failure_rate", self.failure_rate),
            ("dead_letters", self.dead_letters),
            ("worker_lost", self.worker_lost),
            ("backlog_growing", self.backlog_growing),
            ("conservation", self.conservation),
            ("misfires", self.misfires),
            ("events_behind", self.events_behind),
        ]
    }

    pub(crate) fn validate(&self, problems: &mut Problems) {
        let (second, hour, day) = (Duration::from_secs(1), Duration::from_hours(1), Duration::from_hours(24));
        if !(second..=hour).contains(&self.evaluate_every) {
            problems.add("alerts.evaluate_every", "expected a duration of 1s to 1h");
        }
        for (name, bound) in self.rules() {
            if !bound.above.is_finite() || bound.above < 0.0 {
                problems.add(&format!("alerts.{name}.above"), "expected a number that is not negative");
            }
            if bound.lasts > day {
                problems.add(&format!("alerts.{name}.for"), "expected a duration of at most 1day");
            }
        }
    }

    /// What is out of bounds.
    pub(super) fn breaches(&self, seen: &Seen, backlogs: &Backlogs, now: Timestamp) -> Vec<Breach> {
        let mut breaches = Breaches { rules: self.rules().into(), found: Vec::new() };
        for queue in &seen.queues {
            if let Some(age) = queue.oldest_queued_age_seconds {
                breaches.look("oldest_age", &queue.name, age, || {
                    format!("the oldest job of the queue {} has waited {age:.0} s for a worker", queue.name)
                });
            }
            if let Some(growth) = backlogs.growth(&queue.name, now) {
                breaches.look("backlog_growing", &queue.name, count(growth), || {
                    format!("{growth} more jobs of the queue {} wait than ten minutes ago", queue.name)
                });
            }
        }
        let sum = |by: fn(&(String, String, String, u64)) -> &String, words: &[&str]| {
            let mut sums = BTreeMap::<&str, u64>::new();
            for row in seen.happened.iter().filter(|row| words.contains(&row.2.as_str())) {
                *sums.entry(by(row)).or_default() += row.3;
            }
            sums
        };
        let failed = sum(|row| &row.1, &FAILED);
        for (kind, attempts) in sum(|row| &row.1, &ATTEMPTS) {
            let failed = failed.get(kind).copied().unwrap_or_default();
            if attempts >= LEAST_ATTEMPTS {
                breaches.look("failure_rate", kind, count(failed) / count(attempts), || {
                    format!(
                        "{failed} of {attempts} attempts of the kind {kind} failed in the last five minutes"
                    )
                });
            }
        }
        for (queue, dead) in sum(|row| &row.0, &["dead"]) {
            breaches.look("dead_letters", queue, count(dead), || {
                format!("{dead} jobs of the queue {queue} died in the last five minutes")
            });
        }
        for (queue, crashed) in sum(|row| &row.0, &["attempt_crashed"]) {
            breaches.look("worker_lost", queue, count(crashed), || {
                format!("{crashed} attempts of the queue {queue} lost their worker in the last five minutes")
            });
        }
        for (queue, lost) in &seen.lost {
            breaches.look("conservation", queue, count(*lost), || {
                format!("{lost} jobs of the queue {queue} are lost: no stream has a message of them")
            });
        }
        if let Some(Gap { first_sequence, last_sequence, .. }) = &seen.gap {
            breaches.look("conservation", "events", count(last_sequence - first_sequence + 1), || {
                format!("the events {first_sequence} to {last_sequence} were gone before they were read")
            });
        }
        for Missed { id, instants } in &seen.misfires.schedules {
            breaches.look("misfires", id.as_str(), count(instants.count), || {
                format!(
                    "{} instants of the schedule {id} were missed, the last at {}",
                    instants.count, instants.last_at
                )
            });
        }
        if let Some(others) = &seen.misfires.others {
            breaches.look("misfires", "others", count(others.count), || {
                format!("{} instants of further schedules were missed", others.count)
            });
        }
        let lag = seen.progress.lag.unwrap_or_default();
        let (value, detail) = match &seen.progress.standstill {
            Some(stands) => {
                let above = self.events_behind.above;
                (count(lag).max(above) + 1.0, format!("no events are stored: {}", stands.reason))
            }
            None => (count(lag), format!("{lag} messages of events are not stored yet")),
        };
        breaches.look("events_behind", "events", value, || detail);
        breaches.found
    }
}

struct Breaches {
    rules: BTreeMap<&'static str, Bound>,
    found: Vec<Breach>,
}

// === impl Breaches ===

impl Breaches {
    fn look(&mut self, rule: &str, subject: &str, value: f64, detail: impl FnOnce() -> String) {
        let Some(bound) = self.rules.get(rule).filter(|bound| bound.enabled && value > bound.above) else {
            return;
        };
        let (rule, subject, lasts) = (rule.to_owned(), subject.to_owned(), bound.lasts);
        self.found.push(Breach { rule, subject, value, detail: detail(), lasts });
    }
}

// === impl Backlogs ===

impl Backlogs {
    /// Keeps how many jobs wait now, and forgets what is older than is looked back at.
    pub(super) fn note(&mut self, queues: &[QueueCounts], now: Timestamp) {
        let waiting = |queue: &QueueCounts| {
            let queued = queue.counts.get(JobState::Queued.as_str()).copied().unwrap_or_default();
            (queue.name.clone(), queued)
        };
        self.0.push_back((now, queues.iter().map(waiting).collect()));
        // One that is old enough is kept, to be compared with.
        while self.0.get(1).is_some_and(|(at, _)| now.as_second() - at.as_second() >= GROWTH_SECONDS) {
            self.0.pop_front();
        }
    }

    /// How much deeper a queue is; none while it is not known how deep it was.
    fn growth(&self, queue: &str, now: Timestamp) -> Option<u64> {
        let (at, before) = self.0.front()?;
        if now.as_second() - at.as_second() < GROWTH_SECONDS {
            return None;
        }
        let (_, latest) = self.0.back()?;
        latest.get(queue)?.checked_sub(before.get(queue).copied().unwrap_or_default())
    }
}

#[allow(clippy::cast_precision_loss, reason = "compared with a bound that a person has chosen")]
fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn queue(name: &str, queued: u64, age: Option<f64>) -> QueueCounts {
        let counts = [(JobState::Queued.to_string(), queued)].into();
        QueueCounts { name: name.to_owned(), counts, oldest_queued_age_seconds: age }
    }

    fn nothing() -> Seen {
        let (queues, happened, lost) = (Vec::new(), Vec::new(), BTreeMap::new());
        let (misfires, progress) = (Recent::default(), Progress::default());
        Seen { queues, happened, lost, gap: None, misfires, progress }
    }

    fn check(seen: &Seen, expected: &[(&str, &str, f64)]) {
        let found = Options::default().breaches(seen, &Backlogs::default(), at(0));
        let found: Vec<_> = found.iter().map(|b| (b.rule.as_str(), b.subject.as_str(), b.value)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_out_of_bounds_is_found() {
        check(&nothing(), &[]);
        let queues = vec![queue("mail", 1, Some(300.0)), queue("sms", 1, Some(301.0))];
        check(&Seen { queues, ..nothing() }, &[("oldest_age", "sms", 301.0)]);
        let happened = |rows: &[(&str, &str, &str, u64)]| Seen {
            happened: rows.iter().map(|r| (r.0.into(), r.1.into(), r.2.into(), r.3)).collect(),
            ..nothing()
        };
        let failing = [
            ("a", "k", "attempt_failed", 9),
            ("b", "k", "attempt_timed_out", 6),
            ("a", "k", "attempt_succeeded", 5),
        ];
        check(&happened(&failing), &[("failure_rate", "k", 0.75)]);
        check(&happened(&[("a", "k", "attempt_failed", 19)]), &[]);
        check(&happened(&[("a", "k", "dead", 2), ("a", "l", "dead", 1)]), &[("dead_letters", "a", 3.0)]);
        check(&happened(&[("a", "k", "attempt_crashed", 1)]), &[("worker_lost", "a", 1.0)]);
        check(&Seen { lost: [("mail".to_owned(), 2)].into(), ..nothing() }, &[("conservation", "mail", 2.0)]);
        let mut misfires = Recent::default();
        misfires.add(&"nightly".parse().unwrap(), 2, at(0));
        check(&Seen { misfires, ..nothing() }, &[("misfires", "nightly", 2.0)]);
        let gap = Gap { first_sequence: 3, last_sequence: 5, found_at: at(0) };
        check(&Seen { gap: Some(gap), ..nothing() }, &[("conservation", "events", 3.0)]);
        let standstill = crate::progress::Standstill { since: at(0), reason: "full".to_owned() };
        let progress = Progress { standstill: Some(standstill), ..Progress::default() };
        check(&Seen { progress, ..nothing() }, &[("events_behind", "events", 10_001.0)]);
    }

    #[test]
    fn a_backlog_grows_over_ten_minutes() {
        let mut backlogs = Backlogs::default();
        for (second, queued, expected) in [
            (0, 10, None),
            (300, 5000, None),
            (600, 1011, Some(1001)),
            (900, 3000, None),
            (1200, 9000, Some(7989)),
        ] {
            backlogs.note(&[queue("mail", queued, None)], at(second));
            assert_eq!(backlogs.growth("mail", at(second)), expected, "{second}");
        }
        assert_eq!(backlogs.growth("sms", at(1200)), None);
    }

    #[test]
    fn a_rule_that_is_off_is_not_evaluated_and_bounds_are_checked() {
        let mut options: Options = toml_like(
            r#"{"dead_letters": {"above": 0, "for": "0s", "enabled": false}, "evaluate_every": "15s"}"#,
        );
        let happened = vec![("a".into(), "k".into(), "dead".into(), 2)];
        let seen = Seen { happened, ..nothing() };
        assert_eq!(options.breaches(&seen, &Backlogs::default(), at(0)), []);
        options.oldest_age.above = -1.0;
        options.failure_rate.lasts = Duration::from_hours(25);
        let mut problems = Problems::default();
        options.validate(&mut problems);
        let keys: Vec<_> = problems.iter().map(|p| p.key.as_str()).collect();
        assert_eq!(keys, ["alerts.oldest_age.above", "alerts.failure_rate.for"]);
    }

    fn toml_like(json: &str) -> Options {
        serde_json::from_str(json).unwrap()
    }
}
