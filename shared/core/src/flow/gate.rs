//! Which one cause holds a job back that stands in a line: decided from what holds of its queue and of its key.

use jiff::Timestamp;

use super::cause::Stopped;
use super::{Cause, Holder, Meter, MeterState, Order, Pause, QueueSettings, Rate};
use crate::Kind;

/// A queue, as it decides just now.
#[derive(Debug, Clone)]
pub struct Gate<'a> {
    /// As they hold now, see [`QueueSettings::at`].
    pub settings: &'a QueueSettings,
    /// How many of its slots are taken.
    pub taken: u64,
    /// Some of those who have them, the oldest first.
    pub holders: Vec<Holder>,
    /// When the next may start by its rate; none: at once.
    pub until: Option<Timestamp>,
    /// Now.
    pub now: Timestamp,
    /// Who decides.
    pub dispatcher: Option<String>,
}

/// One key of a queue.
#[derive(Debug, Clone)]
pub struct KeyGate<'a> {
    /// Which.
    pub key: &'a str,
    /// How many of its slots are taken.
    pub taken: u64,
    /// Some of those who have them, the oldest first.
    pub holders: Vec<Holder>,
    /// When the next may start by its rate; none: at once.
    pub until: Option<Timestamp>,
}

/// Where only a handler's wish is to be followed, there is no rate.
const UNLIMITED: Rate = Rate { limit: 1_000_000, per: std::time::Duration::from_secs(1), burst: None };

// === impl Gate ===

impl Gate<'_> {
    /// Of a job in the line of its key.
    pub fn in_key_line(&self, kind: Option<&Kind>, key: &KeyGate<'_>, ahead: u64) -> Cause {
        if let Some(cause) = self.paused(kind, Some(key.key)) {
            return cause;
        }
        let name = || key.key.to_owned();
        match self.settings.key_limit() {
            Some(limit) if key.taken >= u64::from(limit) => match self.settings.order {
                Order::Fifo => Cause::KeyOrder { key: name(), behind: key.holders.first().cloned(), ahead },
                Order::Any => Cause::KeyLimit { key: name(), limit, holders: key.holders.clone(), ahead },
            },
            _ if key.until.is_some() || self.settings.key_rate.is_some() => {
                Cause::KeyRate { key: name(), until: key.until, ahead }
            }
            _ => self.decision(),
        }
    }

    /// Of a job in the line of its queue; `key` where its key still counts.
    pub fn in_turn_line(&self, kind: Option<&Kind>, key: Option<&KeyGate<'_>>, ahead: u64) -> Cause {
        if let Some(cause) = self.paused(kind, key.map(|key| key.key)) {
            return cause;
        }
        if let Some(limit) = self.settings.concurrency.filter(|limit| self.taken >= u64::from(*limit)) {
            return Cause::QueueLimit { limit, holders: self.holders.clone(), ahead };
        }
        if let Some(until) = self.until {
            return Cause::QueueRate { until, ahead };
        }
        match key {
            Some(KeyGate { key, until: Some(until), .. }) => {
                Cause::KeyRate { key: (*key).to_owned(), until: Some(*until), ahead }
            }
            _ => Cause::Turn { ahead },
        }
    }

    /// Of a job in the line of a kind that is paused, or was a moment ago.
    pub fn in_kind_line(&self, kind: &Kind, key: Option<&str>) -> Cause {
        self.paused(Some(kind), key).unwrap_or_else(|| self.decision())
    }

    /// That somebody is about to decide.
    pub fn decision(&self) -> Cause {
        Cause::Decision { since: self.now, dispatcher: self.dispatcher.clone() }
    }

    fn paused(&self, kind: Option<&Kind>, key: Option<&str>) -> Option<Cause> {
        let settings = self.settings;
        if let Some(pause) = &settings.paused {
            return Some(Cause::QueuePaused(pause.into()));
        }
        if let Some((kind, pause)) = kind.and_then(|kind| Some((kind, settings.paused_kinds.get(kind)?))) {
            return Some(Cause::KindPaused { kind: kind.clone(), stopped: pause.into() });
        }
        let (key, pause) = key.and_then(|key| Some((key, settings.paused_keys.get(key)?)))?;
        Some(Cause::KeyPaused { key: key.to_owned(), stopped: pause.into() })
    }
}

impl From<&Pause> for Stopped {
    fn from(pause: &Pause) -> Self {
        Self { by: pause.by.clone(), since: pause.at, reason: pause.reason.clone(), until: pause.until }
    }
}

// === impl Rate ===

impl Rate {
    /// When a job of so many points may start, by what was kept of a meter; none: now. Without a rate, a handler's wish
    /// still holds.
    pub fn next_start(
        rate: Option<&Self>,
        kept: Option<&MeterState>,
        points: u32,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let kept = kept?;
        let mut meter = Meter::restore(rate.unwrap_or(&UNLIMITED), kept, now);
        meter.sync(now);
        meter.at(points, now).filter(|at| *at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JobId;
    use crate::flow::Doing;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn holder() -> Holder {
        Holder { job_id: JobId::nil(), doing: Doing::Running, since: at(1) }
    }

    /// What is set, how many slots are taken of the key and of the queue, when each may go on by its rate; and why one
    /// waits in the line of its key, and in that of the queue.
    #[test]
    fn each_state_has_one_cause() {
        let pause = r#"{"reason": "", "by": "ada", "at": "2026-11-23T08:00:00Z"}"#;
        let paused = format!(r#"{{"paused": {pause}, "concurrency": 1, "key_concurrency": 1}}"#);
        let kind = format!(r#"{{"paused_kinds": {{"mail.send": {pause}}}, "concurrency": 1}}"#);
        let key = format!(r#"{{"paused_keys": {{"k": {pause}}}, "key_concurrency": 1}}"#);
        for (settings, key_taken, taken, key_until, until, in_key, in_turn) in [
            (paused.as_str(), 1, 1, None, None, "queue_paused", "queue_paused"),
            (&kind, 0, 1, None, None, "kind_paused", "kind_paused"),
            (&key, 1, 0, None, None, "key_paused", "key_paused"),
            (r#"{"key_concurrency": 2}"#, 2, 0, None, None, "key_limit", "turn"),
            (r#"{"key_concurrency": 2}"#, 1, 0, None, None, "decision", "turn"),
            (r#"{"order": "fifo"}"#, 1, 0, None, None, "key_order", "turn"),
            (r#"{"order": "fifo"}"#, 0, 0, None, None, "decision", "turn"),
            (r#"{"key_rate": {"limit": 1, "per": "1s"}}"#, 0, 0, Some(9), None, "key_rate", "key_rate"),
            (r#"{"key_rate": {"limit": 1, "per": "1s"}}"#, 0, 0, None, None, "key_rate", "turn"),
            // A handler's wish, where no rate is set.
            (r#"{"key_concurrency": 2}"#, 1, 0, Some(9), None, "key_rate", "key_rate"),
            (r#"{"concurrency": 3}"#, 0, 3, None, Some(9), "decision", "queue_limit"),
            (r#"{"concurrency": 3}"#, 0, 2, None, Some(9), "decision", "queue_rate"),
            (r#"{"concurrency": 3}"#, 0, 2, None, None, "decision", "turn"),
            (r#"{"priorities": "strict"}"#, 0, 100, None, None, "decision", "turn"),
            ("{}", 0, 0, None, None, "decision", "turn"),
        ] {
            let parsed: QueueSettings = serde_json::from_str(settings).unwrap();
            let gate = Gate {
                settings: &parsed,
                taken,
                holders: vec![holder()],
                until: until.map(at),
                now: at(5),
                dispatcher: None,
            };
            let name = "k";
            let of_key =
                KeyGate { key: name, taken: key_taken, holders: vec![holder()], until: key_until.map(at) };
            let mail: Kind = "mail.send".parse().unwrap();
            let found = gate.in_key_line(Some(&mail), &of_key, 4);
            assert_eq!(found.word(), in_key, "{settings} {found}");
            let found = gate.in_turn_line(Some(&mail), Some(&of_key), 4);
            assert_eq!(found.word(), in_turn, "{settings} {found}");
            assert!(found.is_waiting());
        }
    }

    #[test]
    fn a_cause_names_the_holder_and_the_time() {
        let limit = Cause::KeyLimit { key: "k".into(), limit: 1, holders: vec![holder()], ahead: 2 };
        let text = limit.to_string();
        assert!(
            text.contains("`k` has a limit of 1: 00000000") && text.ends_with("behind 2 others"),
            "{text}"
        );
        let rate = Cause::QueueRate { until: at(9), ahead: 1 }.to_string();
        assert!(rate.contains("1970-01-01T00:00:09Z") && rate.ends_with("behind 1 other"), "{rate}");
    }
}
