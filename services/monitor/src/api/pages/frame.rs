//! What every page has around it.

use axum::extract::Query;
use jiff::Timestamp;

use super::super::query::RawQuery;
use crate::access::{Principal, Role};

/// What every page has around it.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) me: Principal,
    /// The address of the section that it belongs to.
    pub(super) section: &'static str,
    pub(super) now: Timestamp,
    /// What to look on at for changes; empty: at all jobs.
    pub(super) changes: Option<String>,
    /// How often it is asked for again without one; 0: never.
    pub(super) every_seconds: u32,
    /// What has just been done.
    pub(super) notice: Option<&'static str>,
}

/// A section of the navigation.
pub(super) struct Section {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
}

pub(super) const SECTIONS: [Section; 12] = [
    Section { path: "/", name: "Overview" },
    Section { path: "/queues", name: "Queues" },
    Section { path: "/jobs", name: "Jobs" },
    Section { path: "/schedules", name: "Schedules" },
    Section { path: "/past", name: "Past" },
    Section { path: "/dead", name: "Dead letters" },
    Section { path: "/workers", name: "Workers" },
    Section { path: "/fleet", name: "Fleet" },
    Section { path: "/alerts", name: "Alerts" },
    Section { path: "/reports", name: "Reports" },
    Section { path: "/operations", name: "Operations" },
    Section { path: "/log", name: "Log" },
];

// === impl Frame ===

impl Frame {
    pub(super) fn new(me: &Principal, section: &'static str) -> Self {
        let now = Timestamp::now();
        Self { me: me.clone(), section, now, changes: None, every_seconds: 0, notice: None }
    }

    /// Asked for again when such jobs change, by the query of `/api/v1/live`, and now and then.
    pub(super) fn follows(self, changes: impl Into<String>) -> Self {
        Self { changes: Some(changes.into()), every_seconds: 15, ..self }
    }

    /// Asked for again so often.
    pub(super) fn every(self, seconds: u32) -> Self {
        Self { every_seconds: seconds, ..self }
    }

    /// With a word on what has just been done; what is left of the query is the page's own.
    pub(super) fn noticing(mut self, raw: RawQuery) -> (Self, RawQuery) {
        let raw = raw.map(|Query(mut pairs)| {
            let place = pairs.iter().position(|(name, _)| name == "done");
            self.notice = place.and_then(|place| notice(&pairs.remove(place).1));
            Query(pairs)
        });
        (self, raw)
    }

    pub(super) fn is_operator(&self) -> bool {
        !self.me.is_anonymous() && self.me.role >= Role::Operator
    }

    pub(super) fn is_admin(&self) -> bool {
        self.me.role >= Role::Admin
    }
}

/// What a page says after an action: fixed words, as the address could say anything.
fn notice(done: &str) -> Option<&'static str> {
    Some(match done {
        "cancel" => "The command to cancel is stored. A dispatcher carries it out in a moment.",
        "release" => "The command to run now is stored. A dispatcher carries it out in a moment.",
        "redrive" => "The command to start it again is stored. A dispatcher makes the new job in a moment.",
        "discard" => "The command to discard is stored. A dispatcher removes the letter in a moment.",
        "pause" => "The queue's pause is stored. It is in force within a second.",
        "resume" => "What was paused goes on.",
        "pause-schedule" => "The schedule is paused: it fires nothing but what is asked for.",
        "trigger" => "The request is stored. The scheduler that leads makes the job in a moment.",
        "backfill" => "The backfill is stored. The scheduler that leads carries it out.",
        "delete-schedule" => "The schedule is deleted. Jobs that it has made go on.",
        "set" => "The settings are stored. They are in force within a second.",
        "silence" => "The silence holds.",
        "end-silence" => "The silence has ended.",
        "abort" => "The operation was told to stop.",
        "sign-out" => "You are signed out.",
        _ => return None,
    })
}
