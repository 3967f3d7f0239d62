//! One schedule of a file.

use std::fmt;

use bytes::Bytes;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use windlass_core::schedule::{
    self, Cron, Exclusions, Interval, Misfire, Overlap, Pause, Policy, Rule, Schedule, Spec, Template, Zone,
};
use windlass_core::{Kind, Priority, QueueName, RetryPolicy, ScheduleId, duration};

use super::calendar::{self, Calendar};
use super::{Desired, Error, ReadFile};

/// A schedule as a file says it, valid but for its rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Names it among all schedules.
    pub id: ScheduleId,
    /// Where its tasks go.
    #[serde(default)]
    pub queue: QueueName,
    /// What they ask for.
    pub kind: Kind,
    /// The body of each, as JSON.
    #[serde(default)]
    pub payload: serde_json::Value,
    /// Of the jobs.
    #[serde(default)]
    pub priority: Priority,
    /// Cron expressions.
    #[serde(default, deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub cron: Vec<String>,
    /// The IANA name of the zone of `cron` and of the days of `exclude`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Periods.
    #[serde(default, deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub every: Vec<String>,
    /// Of all periods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// Single instants.
    #[serde(default, deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub at: Vec<String>,
    /// No instant lies before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// No instant lies after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// Days, `first/last`, or instants `from/until`.
    #[serde(default, deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// Files in iCalendar's form whose events are excluded.
    #[serde(default, deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub exclude_calendar: Vec<String>,
    /// Each instant fires up to so much later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<String>,
    /// What to do while the job before is live.
    #[serde(default)]
    pub overlap: Overlap,
    /// What to do about instants that came while no scheduler could fire.
    #[serde(default)]
    pub misfire: Misfire,
    /// Older instants are not made up for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up_window: Option<String>,
    /// Between paced fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<String>,
    /// A job that ends as dead or expired pauses the schedule.
    #[serde(default)]
    pub pause_on_failure: bool,
    /// It fires so often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Failed attempts allowed, the first one included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Time allowed for one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_timeout: Option<String>,
    /// Time allowed to wait for the first attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_wait: Option<String>,
    /// While true, it fires nothing; if it is not said, that stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// A text, or a list of texts.
fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    struct Texts;

    impl<'de> Visitor<'de> for Texts {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text, or a list of texts")
        }

        fn visit_str<E>(self, text: &str) -> Result<Vec<String>, E> {
            Ok(vec![text.to_owned()])
        }

        fn visit_unit<E>(self) -> Result<Vec<String>, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<String>, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = items.next_element()? {
                texts.push(text);
            }
            Ok(texts)
        }
    }

    from.deserialize_any(Texts)
}

/// What is wrong with a field.
type Wrong = (&'static str, String);

fn wrong(e: &schedule::Error) -> Wrong {
    // As the file names it.
    (if e.field == "interval" { "every" } else { e.field }, e.reason())
}

fn duration(name: &'static str, text: &str) -> Result<std::time::Duration, Wrong> {
    duration::parse(text).filter(|d| !d.is_zero()).ok_or_else(|| {
        let expected = duration::EXPECTED;
        (name, format!("`{text}` is not a duration: expected {expected}, more than 0"))
    })
}

fn optional(name: &'static str, text: Option<&String>) -> Result<Option<std::time::Duration>, Wrong> {
    text.map(|text| duration(name, text)).transpose()
}

fn instant(name: &'static str, text: &str) -> Result<Timestamp, Wrong> {
    text.trim().parse().map_err(|_| {
        (name, format!("`{text}` is not an instant: expected with its offset, as 2026-01-31T09:00:00Z"))
    })
}

/// Days `first/last`, a day, or instants `from/until`.
fn excluded(text: &str) -> Option<Calendar> {
    let (first, last) = text.split_once('/').unwrap_or((text, text));
    let days = (first.trim().parse::<Date>(), last.trim().parse::<Date>());
    // What has a time would lose it.
    if let (Ok(first), Ok(last)) = days
        && !text.contains(['T', 't', ':'])
    {
        return Some(Calendar { days: vec![(first, last)], spans: vec![] });
    }
    let span = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    Some(Calendar { days: vec![], spans: vec![span] })
}

// === impl Definition ===

impl Definition {
    /// Checks the rule, and takes `now` as the instant from which the schedule counts.
    pub fn desired(self, now: Timestamp, read_file: ReadFile<'_>) -> Result<Desired, Error> {
        self.build(now, read_file).map_err(|(field, reason)| Error::Field {
            id: self.id.clone(),
            field,
            reason,
        })
    }

    fn build(&self, now: Timestamp, read_file: ReadFile<'_>) -> Result<Desired, Wrong> {
        let spec = self.spec(now, read_file)?;
        let policy = Policy {
            overlap: self.overlap,
            misfire: self.misfire,
            catch_up_window: optional("catch_up_window", self.catch_up_window.as_ref())?
                .unwrap_or(Policy::CATCH_UP_WINDOW),
            pace: optional("pace", self.pace.as_ref())?.unwrap_or(Policy::PACE),
            pause_on_failure: self.pause_on_failure,
            limit: self.limit,
        };
        if self.pace.is_some() && self.misfire != Misfire::Paced {
            return Err(("pace", "stands without `misfire = \"paced\"`: expected with it only".into()));
        }
        policy.check(&spec, now).map_err(|e| wrong(&e))?;
        let retry = |max_attempts| {
            RetryPolicy::default()
                .with_max_attempts(max_attempts)
                .map_err(|e| ("max_attempts", e.to_string()))
        };
        let schedule = Schedule {
            task: Template {
                kind: self.kind.clone(),
                payload: Bytes::from(self.payload.to_string()),
                content_type: "application/json".to_owned(),
                priority: self.priority,
                retry: self.max_attempts.map(retry).transpose()?,
                attempt_timeout: optional("attempt_timeout", self.attempt_timeout.as_ref())?,
                max_wait: optional("max_wait", self.max_wait.as_ref())?,
            },
            spec,
            policy,
            pause: (self.paused == Some(true)).then(Pause::default),
            created_at: now,
            queue: self.queue.clone(),
            id: self.id.clone(),
            requests: Vec::new(),
            edits: Vec::new(),
        };
        Ok(Desired { schedule, keeps_pause: self.paused.is_none() })
    }

    fn spec(&self, now: Timestamp, read_file: ReadFile<'_>) -> Result<Spec, Wrong> {
        if self.cron.is_empty() && self.every.is_empty() && self.at.is_empty() {
            return Err(("cron", "expected `cron`, `every` or `at`".into()));
        }
        let excludes = !self.exclude.is_empty() || !self.exclude_calendar.is_empty();
        if self.zone.is_some() && self.cron.is_empty() && !excludes {
            return Err(("zone", "stands with neither: expected with `cron` or `exclude` only".into()));
        }
        if self.phase.is_some() && self.every.is_empty() {
            return Err(("phase", "stands alone: expected with `every` only".into()));
        }
        let zone = self.zone.as_deref().unwrap_or_default();
        let mut rules = Vec::new();
        for expression in &self.cron {
            rules.push(Rule::Cron(Cron::new(expression, zone).map_err(|e| wrong(&e))?));
        }
        let phase = self.phase.as_ref().map(|text| {
            duration::parse(text).ok_or_else(|| {
                ("phase", format!("`{text}` is not a duration: expected {}", duration::EXPECTED))
            })
        });
        let phase = phase.transpose()?.unwrap_or_default();
        for every in &self.every {
            rules.push(Rule::Interval(
                Interval::new(duration("every", every)?, phase).map_err(|e| wrong(&e))?,
            ));
        }
        for at in &self.at {
            rules.push(Rule::Once(instant("at", at)?));
        }
        let bound = |name, text: Option<&String>| text.map(|text| instant(name, text)).transpose();
        let spec = Spec::new(rules).and_then(|spec| Ok((spec, Zone::new(zone)?))).map_err(|e| wrong(&e))?;
        let (spec, zone) = spec;
        let spec = spec
            .between(bound("start", self.start.as_ref())?, bound("end", self.end.as_ref())?)
            .map_err(|e| wrong(&e))?;
        let spec = if excludes { spec.without(self.exclusions(zone, now, read_file)?) } else { spec };
        let jitter = optional("jitter", self.jitter.as_ref())?.unwrap_or_default();
        spec.with_jitter(jitter, now).map_err(|e| wrong(&e))
    }

    fn exclusions(&self, zone: Zone, now: Timestamp, read_file: ReadFile<'_>) -> Result<Exclusions, Wrong> {
        let mut all = Calendar::default();
        for text in &self.exclude {
            let found = excluded(text).ok_or_else(|| {
                let expected = "a day as 2026-12-24, days as 2026-12-24/2026-12-26, or instants \
                                as 2026-12-24T18:00:00Z/2026-12-24T20:00:00Z";
                ("exclude", format!("`{text}` is none: expected {expected}"))
            })?;
            all.join(found);
        }
        for name in &self.exclude_calendar {
            let text = read_file(name)
                .map_err(|error| ("exclude_calendar", format!("`{name}` cannot be read: {error}")))?;
            let civil = zone.time_zone().to_datetime(now).date();
            let years = (civil.saturating_sub(1.year()), civil.saturating_add(10.years()));
            let found = calendar::read(&text, zone.time_zone(), years)
                .map_err(|error| ("exclude_calendar", format!("`{name}` is not understood: {error}")))?;
            all.join(found);
        }
        Exclusions::new(zone, all.days, all.spans).map_err(|e| wrong(&e))
    }
}
