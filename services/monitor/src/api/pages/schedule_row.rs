//! A schedule as the API shows it, for the pages.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::Value;
use windlass_core::schedule::Zone;
use windlass_core::{JobId, JobState};

use super::{rule_words, words};

/// A schedule.
#[derive(Debug, Deserialize)]
pub(super) struct ScheduleRow {
    pub(super) id: String,
    pub(super) queue: String,
    pub(super) kind: String,
    pub(super) payload: Value,
    pub(super) priority: String,
    cron: Value,
    pub(super) zone: Option<String>,
    every: Value,
    phase: Option<String>,
    at: Value,
    pub(super) start: Option<Timestamp>,
    pub(super) end: Option<Timestamp>,
    exclude: Value,
    pub(super) jitter: Option<String>,
    pub(super) overlap: String,
    pub(super) misfire: String,
    pub(super) catch_up_window: Option<String>,
    pub(super) pace: Option<String>,
    pub(super) pause_on_failure: bool,
    pub(super) limit: Option<u64>,
    pub(super) max_attempts: Option<u32>,
    pub(super) attempt_timeout: Option<String>,
    pub(super) max_wait: Option<String>,
    pub(super) paused: bool,
    pub(super) pause_note: Option<String>,
    pub(super) paused_until: Option<Timestamp>,
    pub(super) created_at: Timestamp,
    pub(super) next_at: Option<Timestamp>,
    pub(super) fires_at: Option<Timestamp>,
    pub(super) fires: u64,
    pub(super) misfires: u64,
    pub(super) skipped: u64,
    pub(super) revision: u64,
    pub(super) last_fire: Option<Entry>,
    recent: Vec<Entry>,
    #[serde(default)]
    pub(super) edits: Vec<Edit>,
}

/// What became of an instant, or of several in a row.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Entry {
    pub(super) instant: Timestamp,
    pub(super) at: Timestamp,
    pub(super) what: String,
    pub(super) count: u64,
    pub(super) job_id: Option<JobId>,
    pub(super) state: Option<JobState>,
}

/// A change.
#[derive(Debug, Deserialize)]
pub(super) struct Edit {
    pub(super) at: Timestamp,
    pub(super) by: String,
    pub(super) what: String,
}

/// A rule: as it was given, and in words where it has any.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) text: String,
    pub(super) words: Option<String>,
}

// === impl ScheduleRow ===

impl ScheduleRow {
    /// When it fires.
    pub(super) fn rules(&self) -> Vec<Rule> {
        let cron =
            texts(&self.cron).map(|text| Rule { words: rule_words::cron(text), text: text.to_owned() });
        let phase = self.phase.as_ref().map(|phase| format!(" + {phase}")).unwrap_or_default();
        let every = texts(&self.every).map(|text| Rule {
            words: rule_words::period(text).map(|words| {
                if phase.is_empty() { words } else { format!("{words}, shifted by{}", &phase[2..]) }
            }),
            text: format!("every {text}{phase}"),
        });
        let once = texts(&self.at).map(|text| {
            let at: Option<Timestamp> = text.parse().ok();
            Rule { words: at.map(|at| format!("once, {}", words::moment(&at))), text: text.to_owned() }
        });
        cron.chain(every).chain(once).collect()
    }

    /// What is left out.
    pub(super) fn excluded(&self) -> Vec<&str> {
        texts(&self.exclude).collect()
    }

    /// The zone in which people think of it: UTC unless it says another.
    pub(super) fn time_zone(&self) -> TimeZone {
        let zone = self.zone.as_deref().and_then(|name| Zone::new(name).ok());
        zone.map_or(TimeZone::UTC, |zone| zone.time_zone().clone())
    }

    /// Whether its zone has another clock than UTC.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.zone.as_deref().is_some_and(|zone| !matches!(zone, "UTC" | "Etc/UTC"))
    }

    /// It fires nothing more by itself.
    pub(super) fn is_over(&self) -> bool {
        !self.paused && self.next_at.is_none()
    }

    /// What became of its last instants, for who hears it.
    pub(super) fn recent_in_words(&self) -> String {
        let count = |is: &dyn Fn(&Entry) -> bool| self.recent.iter().filter(|entry| is(entry)).count();
        let parts = [
            (count(&|entry| entry.class() == "good"), "succeeded"),
            (count(&|entry| entry.class() == "bad"), "did not succeed"),
            (count(&|entry| entry.class() == "run"), "going on"),
            (count(&|entry| entry.class() == "none"), "made a job that is not known"),
            (count(&|entry| entry.what == "missed"), "missed"),
            (count(&|entry| entry.what == "skipped"), "passed over"),
        ];
        let told = parts.iter().filter(|(count, _)| *count > 0);
        let told: Vec<_> = told.map(|(count, word)| format!("{count} {word}")).collect();
        if told.is_empty() { "nothing yet".to_owned() } else { told.join(", ") }
    }

    /// The same as a drawing, the newest at the right.
    pub(super) fn recent_svg(&self) -> String {
        const MOST: usize = 10;
        let mut svg = format!(
            "<svg class=\"recent\" width=\"80\" height=\"20\" role=\"img\" aria-label=\"{}\">",
            self.recent_in_words()
        );
        let empty = MOST.saturating_sub(self.recent.len());
        for place in 0..empty {
            let _ = write!(
                svg,
                "<rect class=\"blank\" x=\"{}\" y=\"15\" width=\"6\" height=\"3\" rx=\"1\"/>",
                place * 8
            );
        }
        for (place, entry) in self.recent.iter().rev().take(MOST).rev().enumerate() {
            let (y, height) = if entry.job_id.is_some() { (2, 16) } else { (10, 8) };
            let _ = write!(
                svg,
                "<rect class=\"{}\" x=\"{}\" y=\"{y}\" width=\"6\" height=\"{height}\" rx=\"1\"/>",
                entry.class(),
                (empty + place) * 8
            );
        }
        let _ = write!(svg, "<title>{}</title></svg>", self.recent_in_words());
        svg
    }
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let one = std::slice::from_ref(value);
    value.as_array().map_or(one, Vec::as_slice).iter().filter_map(Value::as_str)
}

// === impl Entry ===

impl Entry {
    /// Of its colour.
    pub(super) fn class(&self) -> &'static str {
        match (self.what.as_str(), self.state) {
            ("missed", _) => "missed",
            ("skipped", _) | (_, Some(JobState::Cancelled)) => "skipped",
            (_, None) => "none",
            (_, Some(JobState::Succeeded)) => "good",
            (_, Some(JobState::Dead | JobState::Expired)) => "bad",
            _ => "run",
        }
    }

    /// Of its word's badge.
    pub(super) fn badge(&self) -> &'static str {
        match self.what.as_str() {
            "missed" => "bad",
            "skipped" => "wait",
            _ => "",
        }
    }

    /// How late it was decided.
    pub(super) fn late_seconds(&self) -> f64 {
        self.at.duration_since(self.instant).as_secs_f64().max(0.0)
    }

    /// Whether that says anything: of an instant of the rule.
    pub(super) fn is_of_rule(&self) -> bool {
        self.what == "fired"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(more: &Value) -> ScheduleRow {
        let mut shown = json!({
            "id": "a", "queue": "mail", "kind": "k", "payload": null, "priority": "normal", "cron": null, "zone": null,
            "every": null, "phase": null, "at": null, "start": null, "end": null, "exclude": null, "jitter": null,
            "overlap": "skip", "misfire": "latest", "catch_up_window": null, "pace": null, "pause_on_failure": false,
            "limit": null, "max_attempts": null, "attempt_timeout": null, "max_wait": null, "paused": false,
            "pause_note": null, "paused_until": null, "created_at": "2026-01-01T00:00:00Z", "next_at": null,
            "fires_at": null, "last_at": null, "fires": 0, "misfires": 0, "skipped": 0, "revision": 3,
            "last_fire": null, "recent": [],
        });
        shown.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(shown).unwrap()
    }

    #[test]
    fn every_rule_is_shown() {
        let rule = |text: &str, words: Option<&str>| Rule {
            text: text.to_owned(),
            words: words.map(ToOwned::to_owned),
        };
        let of = |more: Value| row(&more).rules();
        assert_eq!(of(json!({ "cron": "30 2 * * *" })), [rule("30 2 * * *", Some("every day at 02:30"))]);
        assert_eq!(
            of(json!({ "every": ["15m", "1h"], "phase": "5m" })),
            [
                rule("every 15m + 5m", Some("every 15 min, shifted by 5m")),
                rule("every 1h + 5m", Some("every 1 h, shifted by 5m")),
            ]
        );
        assert_eq!(
            of(json!({ "cron": "0 4 15W * *", "at": "2026-12-24T18:00:00Z" })),
            [rule("0 4 15W * *", None), rule("2026-12-24T18:00:00Z", Some("once, 2026-12-24 18:00:00"))]
        );
    }

    #[test]
    fn the_last_instants_are_told_and_drawn() {
        let entry = |what: &str, state: Option<&str>| {
            let job_id = (what == "fired").then_some("01890a5d-ac96-774b-bcce-b302099a8057");
            json!({ "instant": "2026-01-01T00:00:00Z", "at": "2026-01-01T00:00:02Z", "what": what, "count": 1,
                "job_id": job_id, "state": state })
        };
        let shown = row(&json!({ "recent": [
            entry("fired", Some("succeeded")), entry("missed", None), entry("fired", Some("dead")), entry("fired", None),
            entry("fired", Some("running")), entry("skipped", None),
        ] }));
        assert_eq!(
            shown.recent_in_words(),
            "1 succeeded, 1 did not succeed, 1 going on, 1 made a job that is not known, 1 missed, 1 passed over"
        );
        let svg = shown.recent_svg();
        assert_eq!((svg.matches("<rect").count(), svg.matches("class=\"blank\"").count()), (10, 4));
        assert_eq!(row(&json!({})).recent_in_words(), "nothing yet");
        assert_eq!(shown.recent[0].late_seconds().to_string(), "2");
    }
}
