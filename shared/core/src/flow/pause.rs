//! Stopping a queue, a kind or a key: by whom, since when and until when.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::key::shown;
use super::{FlowKey, InvalidSettings, QueueSettings};
use crate::Kind;

/// Who stopped something, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// For people: at most 256 bytes without control characters.
    pub reason: String,
    /// Whoever paused it: at most 128 bytes without control characters.
    pub by: String,
    /// Since when.
    pub at: Timestamp,
    /// Until when; until somebody resumes it, if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Whether what runs is handed back, instead of going on to its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hand_back: bool,
}

/// What may be stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// All of the queue.
    Queue,
    /// One kind of its jobs.
    Kind(Kind),
    /// The jobs of one of its keys.
    Key(FlowKey),
}

// === impl Pause ===

impl Pause {
    pub(super) fn check(&self, field: &str) -> Result<(), InvalidSettings> {
        for (part, text, max) in [("reason", &self.reason, 256), ("by", &self.by, 128)] {
            if text.len() > max || text.contains(char::is_control) {
                return Err(InvalidSettings::new(
                    format!("{field}.{part}"),
                    format!("is `{}`: expected at most {max} bytes without control characters", shown(text)),
                ));
            }
        }
        if self.until.is_some_and(|until| until <= self.at) {
            let reason = "is not after the pause began: expected a later instant";
            return Err(InvalidSettings::new(format!("{field}.until"), reason));
        }
        Ok(())
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

// === impl QueueSettings ===

impl QueueSettings {
    /// As they hold at this instant, without the pauses that are over by then, and when the next of them is over.
    pub fn at(&self, now: Timestamp) -> (Self, Option<Timestamp>) {
        let mut settings = self.clone();
        settings.paused = settings.paused.filter(|pause| !pause.is_over(now));
        settings.paused_kinds.retain(|_, pause| !pause.is_over(now));
        settings.paused_keys.retain(|_, pause| !pause.is_over(now));
        let next = settings.pauses().filter_map(|pause| pause.until).min();
        (settings, next)
    }

    /// Stops this, or changes how it is stopped.
    pub fn pause(&mut self, part: &Part, pause: Pause) {
        match part {
            Part::Queue => self.paused = Some(pause),
            Part::Kind(kind) => {
                self.paused_kinds.insert(kind.clone(), pause);
            }
            Part::Key(key) => {
                self.paused_keys.insert(key.to_string(), pause);
            }
        }
    }

    /// Lets it go on; false if it was not stopped.
    pub fn resume(&mut self, part: &Part) -> bool {
        match part {
            Part::Queue => self.paused.take(),
            Part::Kind(kind) => self.paused_kinds.remove(kind),
            Part::Key(key) => self.paused_keys.remove(key.as_str()),
        }
        .is_some()
    }

    /// What stops a job of this kind and key: the whole queue first, then its kind, then its key.
    pub fn paused_for(&self, kind: &Kind, key: Option<&str>) -> Option<&Pause> {
        let of_kind = || self.paused_kinds.get(kind);
        let of_key = || key.and_then(|key| self.paused_keys.get(key));
        self.paused.as_ref().or_else(of_kind).or_else(of_key)
    }

    /// All that is paused.
    pub fn pauses(&self) -> impl Iterator<Item = &Pause> {
        self.paused.iter().chain(self.paused_kinds.values()).chain(self.paused_keys.values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_over_when_its_time_has_come() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let pause = |until: Option<i64>| Pause {
            reason: String::new(),
            by: "ada".to_owned(),
            at: at(10),
            until: until.map(at),
            hand_back: false,
        };
        let settings = QueueSettings {
            paused: Some(pause(Some(30))),
            paused_kinds: [("mail.send".parse().unwrap(), pause(Some(20)))].into(),
            paused_keys: [("k".to_owned(), pause(None))].into(),
            ..QueueSettings::default()
        };
        assert!(settings.check().is_ok());
        let mail: Kind = "mail.send".parse().unwrap();
        for (now, next, kinds, queue) in
            [(19, Some(20), 1, true), (20, Some(30), 0, true), (30, None, 0, false), (99, None, 0, false)]
        {
            let (then, found) = settings.at(at(now));
            assert_eq!(found, next.map(at), "{now}");
            assert_eq!(
                (then.paused_kinds.len(), then.paused.is_some(), then.paused_keys.len()),
                (kinds, queue, 1)
            );
            assert_eq!(then.paused_for(&mail, None).is_some(), queue, "{now}");
            assert!(then.paused_for(&mail, Some("k")).is_some());
        }
        let none = QueueSettings { paused: Some(pause(Some(10))), ..QueueSettings::default() };
        assert_eq!(none.check().unwrap_err().field, "paused.until");
    }
}
