//! Alerts: when a breach of a rule becomes an alert, and when it is over.
//!
//! What is breached is found elsewhere. Here it is decided what that means over time: a breach must last before it
//! fires, and an alert ends when its breach does. The same breaches at the same instants lead to the same changes.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// What is out of bounds just now.
#[derive(Debug, Clone, PartialEq)]
pub struct Breach {
    /// The rule that says so.
    pub rule: String,
    /// Of what: a queue, a kind, a stream.
    pub subject: String,
    /// What was measured.
    pub value: f64,
    /// For people.
    pub detail: String,
    /// How long it must last before it fires.
    pub lasts: Duration,
}

/// A breach that goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// As it was seen last.
    pub breach: Breach,
    /// Since when.
    pub since: Timestamp,
    /// When it had lasted long enough; none while it has not.
    pub fired_at: Option<Timestamp>,
}

/// What somebody is to be told.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// An alert begins.
    Fired(Alert),
    /// It is over.
    Resolved(Alert),
}

/// All breaches that go on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Alerts {
    active: BTreeMap<(String, String), Alert>,
}

/// What is not to be told for a while. Parts that are none stand for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Of this rule.
    pub rule: Option<String>,
    /// Of this subject.
    pub subject: Option<String>,
    /// Until then.
    pub until: Timestamp,
}

// === impl Alerts ===

impl Alerts {
    /// Goes on with alerts that had fired before.
    pub fn resume(fired: impl IntoIterator<Item = Alert>) -> Self {
        let key = |alert: &Alert| (alert.breach.rule.clone(), alert.breach.subject.clone());
        Self { active: fired.into_iter().map(|alert| (key(&alert), alert)).collect() }
    }

    /// Takes in all that is breached at this instant; what is not named is not breached any more.
    pub fn step(&mut self, breaches: Vec<Breach>, now: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut before = std::mem::take(&mut self.active);
        for breach in breaches {
            let key = (breach.rule.clone(), breach.subject.clone());
            let mut alert = match before.remove(&key) {
                Some(known) => Alert { breach, ..known },
                None => Alert { breach, since: now, fired_at: None },
            };
            let lasts = SignedDuration::try_from(alert.breach.lasts).unwrap_or(SignedDuration::MAX);
            if alert.fired_at.is_none() && now.duration_since(alert.since) >= lasts {
                alert.fired_at = Some(now);
                changes.push(Change::Fired(alert.clone()));
            }
            self.active.insert(key, alert);
        }
        changes.extend(before.into_values().filter(|alert| alert.fired_at.is_some()).map(Change::Resolved));
        changes
    }

    /// Those that have fired, by rule and subject.
    pub fn fired(&self) -> impl Iterator<Item = &Alert> {
        self.active.values().filter(|alert| alert.fired_at.is_some())
    }
}

// === impl Silence ===

impl Silence {
    /// Whether it holds for this alert at this instant.
    pub fn covers(&self, rule: &str, subject: &str, now: Timestamp) -> bool {
        let is =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        now < self.until && is(&self.rule, rule) && is(&self.subject, subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn breach(subject: &str, lasts: u64) -> Breach {
        let (rule, detail) = ("oldest_age".to_owned(), String::new());
        Breach { rule, subject: subject.to_owned(), value: 7.0, detail, lasts: Duration::from_secs(lasts) }
    }

    fn told(changes: &[Change]) -> Vec<String> {
        let word = |change: &Change| match change {
            Change::Fired(alert) => format!("fired {}", alert.breach.subject),
            Change::Resolved(alert) => format!("resolved {}", alert.breach.subject),
        };
        changes.iter().map(word).collect()
    }

    #[test]
    fn a_breach_fires_once_it_has_lasted_and_ends_with_it() {
        let mut alerts = Alerts::default();
        for (second, breached, expected) in [
            (0, true, &[][..]),
            (59, true, &[]),
            (60, true, &["fired mail"]),
            (61, true, &[]),
            (62, false, &["resolved mail"]),
            (63, false, &[]),
            // A short one tells nobody, and the next begins anew.
            (64, true, &[]),
            (120, false, &[]),
            (121, true, &[]),
            (180, true, &[]),
            (181, true, &["fired mail"]),
        ] {
            let breaches = if breached { vec![breach("mail", 60)] } else { Vec::new() };
            assert_eq!(told(&alerts.step(breaches, at(second))), expected, "{second}");
        }
    }

    #[test]
    fn subjects_are_apart_and_what_need_not_last_fires_at_once() {
        let mut alerts = Alerts::default();
        assert_eq!(told(&alerts.step(vec![breach("a", 0), breach("b", 60)], at(0))), ["fired a"]);
        assert_eq!(told(&alerts.step(vec![breach("b", 60)], at(60))), ["fired b", "resolved a"]);
    }

    #[test]
    fn what_had_fired_is_not_told_again_after_a_restart() {
        let mut alerts = Alerts::default();
        alerts.step(vec![breach("a", 0)], at(0));
        let mut resumed = Alerts::resume(alerts.fired().cloned());
        assert_eq!(resumed, alerts);
        assert_eq!(told(&resumed.step(vec![breach("a", 0)], at(1))), [""; 0]);
        assert_eq!(told(&resumed.step(Vec::new(), at(2))), ["resolved a"]);
    }

    #[test]
    fn a_silence_covers_what_it_names_until_its_end() {
        let silence = |rule: Option<&str>, subject: Option<&str>| Silence {
            rule: rule.map(ToOwned::to_owned),
            subject: subject.map(ToOwned::to_owned),
            until: at(10),
        };
        assert!(silence(None, None).covers("x", "y", at(9)) && !silence(None, None).covers("x", "y", at(10)));
        let one = silence(Some("x"), Some("y"));
        assert!(one.covers("x", "y", at(0)) && !one.covers("x", "z", at(0)) && !one.covers("z", "y", at(0)));
    }
}
