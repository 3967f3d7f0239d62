//! A report: what it is made of, and how it is written.

mod html;
mod markdown;
mod part;
mod resources;
mod review;

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use windlass_schedules::review::Review;

use crate::api::schema::{AlertList, AuditReport, Instance, QueueList, WorkerList};
use crate::store::Report;

/// Every sort, in words.
pub const WHATS: &str = "daily, weekly, failures, handoff or schedules";

/// Of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The last 24 hours.
    Daily,
    /// The last seven days, with the change against the seven before.
    Weekly,
    /// What jobs died of in the last seven days.
    Failures,
    /// For who takes over.
    Handoff,
    /// What schedules did, which never succeed, and which fire at the same instants in the week to come.
    Schedules,
}

/// The text is none of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {WHATS}")]
pub struct InvalidWhat;

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Text with tables.
    Markdown,
    /// One file, with charts.
    Html,
    /// All that it is made of.
    Json,
}

/// All that a report is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Bundle {
    /// Of what.
    pub what: What,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub made_at: Timestamp,
    /// What happened.
    pub report: Report,
    /// What happened in the time before, of the same length; null where that is not compared.
    #[serde(default)]
    #[schema(required)]
    pub before: Option<Report>,
    /// How things stood when it was made; null where that is not told.
    #[serde(default)]
    #[schema(required)]
    pub now: Option<Now>,
    /// The processes of the fleet when it was made, and what they took; null where that is not told, or not known.
    #[serde(default)]
    #[schema(required)]
    pub resources: Option<Vec<Instance>>,
    /// What schedules did; nothing where that is not told.
    #[serde(flatten)]
    pub review: Option<Review>,
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Now {
    /// Every queue.
    pub queues: QueueList,
    /// The workers that live.
    pub workers: WorkerList,
    /// What fires, and what is over.
    pub alerts: AlertList,
    /// Whether a job was lost.
    pub audit: AuditReport,
    /// The schedules, by id; the first 1000.
    #[serde(default)]
    pub schedules: Vec<ScheduleLine>,
}

/// A schedule, as far as a report tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleLine {
    /// Its id.
    pub id: String,
    /// What its tasks ask for.
    pub kind: String,
    /// Where they go.
    pub queue: String,
    /// When: its expressions, periods and instants.
    pub rule: String,
    /// Whether it fires nothing but what is asked for.
    pub paused: bool,
    /// The instant that it fires next; null: none.
    #[schema(required)]
    pub next_at: Option<String>,
    /// Instants that it has fired.
    pub fires: u64,
    /// Instants that were missed.
    pub misfires: u64,
}

// === impl What ===

impl What {
    /// Every sort.
    pub const ALL: [Self; 5] = [Self::Daily, Self::Weekly, Self::Failures, Self::Handoff, Self::Schedules];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Failures => "failures",
            Self::Handoff => "handoff",
            Self::Schedules => "schedules",
        }
    }

    /// As its first heading names it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Daily => "Daily report",
            Self::Weekly => "Weekly report",
            Self::Failures => "Failures",
            Self::Handoff => "Handoff",
            Self::Schedules => "Schedules",
        }
    }

    /// How much time it tells of.
    pub fn spans(self) -> SignedDuration {
        SignedDuration::from_hours(if self == Self::Daily { 24 } else { 7 * 24 })
    }

    /// Whether it compares with the time before.
    pub const fn compares(self) -> bool {
        matches!(self, Self::Daily | Self::Weekly)
    }

    /// Whether it tells what processes take.
    pub const fn tells_resources(self) -> bool {
        !matches!(self, Self::Failures | Self::Schedules)
    }

    /// Whether it tells how things stand.
    pub const fn tells_now(self) -> bool {
        matches!(self, Self::Handoff)
    }

    /// Whether it reviews the schedules.
    pub const fn reviews_schedules(self) -> bool {
        matches!(self, Self::Schedules)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for What {
    type Err = InvalidWhat;

    fn from_str(text: &str) -> Result<Self, InvalidWhat> {
        Self::ALL.into_iter().find(|what| what.as_str() == text).ok_or(InvalidWhat)
    }
}

// === impl Form ===

impl Form {
    /// Every form.
    pub const ALL: [Self; 3] = [Self::Markdown, Self::Html, Self::Json];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Json => "json",
        }
    }

    /// How the name of its file ends.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Markdown => "md",
            Self::Html => "html",
            Self::Json => "json",
        }
    }

    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Markdown => "text/markdown; charset=utf-8",
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
        }
    }
}

impl FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|form| form.as_str() == text);
        found.ok_or_else(|| "expected markdown, html or json".to_owned())
    }
}

// === impl Bundle ===

impl Bundle {
    /// Writes it.
    pub fn write(&self, form: Form) -> String {
        match form {
            Form::Markdown => markdown::write(&part::parts(self)),
            Form::Html => html::write(&part::parts(self)),
            Form::Json => serde_json::to_string_pretty(self).unwrap_or_default() + "\n",
        }
    }

    /// What of the HTML file stands within a page.
    pub(crate) fn to_body(&self) -> String {
        html::body(&part::parts(self))
    }
}

// === impl ScheduleLine ===

impl ScheduleLine {
    /// Of a schedule as the API shows it.
    pub fn of(shown: &serde_json::Value) -> Self {
        let text = |name: &str| shown[name].as_str().unwrap_or_default().to_owned();
        let one = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => vec![text.clone()],
            serde_json::Value::Array(all) => {
                all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
            }
            _ => Vec::new(),
        };
        let zone = shown["zone"].as_str().map(|zone| format!(" {zone}")).unwrap_or_default();
        let cron = one(&shown["cron"]).into_iter().map(|cron| format!("{cron}{zone}"));
        let every = one(&shown["every"]).into_iter().map(|every| format!("every {every}"));
        let rule: Vec<_> = cron.chain(every).chain(one(&shown["at"])).collect();
        Self {
            id: text("id"),
            kind: text("kind"),
            queue: text("queue"),
            rule: rule.join(", "),
            paused: shown["paused"] == true,
            next_at: shown["next_at"].as_str().map(str::to_owned),
            fires: shown["fires"].as_u64().unwrap_or_default(),
            misfires: shown["misfires"].as_u64().unwrap_or_default(),
        }
    }
}
