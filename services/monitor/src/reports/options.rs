//! The section `monitor.reports` of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use windlass_core::schedule::{Rule, Spec};
use windlass_service::Problems;

use crate::report::What;
use crate::webhook::Webhook;

/// Reports that are made by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// When a daily report is made: a cron expression, or `@every` with a period.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily: Option<String>,
    /// The same for weekly ones,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weekly: Option<String>,
    /// for what jobs died of,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<String>,
    /// for who takes over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handoff: Option<String>,
    /// And for what schedules did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedules: Option<String>,
    /// Of the expressions: a name as `Europe/Berlin`.
    pub zone: String,
    /// So many of each sort are kept.
    pub keep: u32,
    /// Files of them are written there as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Where each is sent, as a POST of JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

const LEAST_DISTANCE: Duration = Duration::from_mins(1);
const MOST_KEPT: u32 = 1000;
/// An instant that has passed is looked for so far back: a leap year's, for what is made once a year.
const LOOKS_BACK: SignedDuration = SignedDuration::from_hours(24 * 367);

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            daily: None,
            weekly: None,
            failures: None,
            handoff: None,
            schedules: None,
            zone: "UTC".to_owned(),
            keep: 30,
            folder: None,
            webhook: None,
        }
    }
}

impl Options {
    fn expressions(&self) -> [(What, Option<&String>); What::ALL.len()] {
        [
            (What::Daily, self.daily.as_ref()),
            (What::Weekly, self.weekly.as_ref()),
            (What::Failures, self.failures.as_ref()),
            (What::Handoff, self.handoff.as_ref()),
            (What::Schedules, self.schedules.as_ref()),
        ]
    }

    /// What is made when.
    pub(super) fn schedules(&self) -> Vec<(What, Spec)> {
        let read = |(what, expression): (What, Option<&String>)| {
            // What is none is named by `validate`.
            Some((what, Spec::from(Rule::parse(expression?, &self.zone).ok()?)))
        };
        self.expressions().into_iter().filter_map(read).collect()
    }

    pub(crate) fn validate(&self, problems: &mut Problems) {
        for (what, expression) in self.expressions() {
            let Some(expression) = expression else { continue };
            let key = format!("reports.{what}");
            match Rule::parse(expression, &self.zone).map(Spec::from) {
                Err(error) if error.field == "zone" => {
                    problems.add("reports.zone", format!("{error}, expected a name as Europe/Berlin"));
                }
                Err(error) => problems
                    .add(&key, format!("{error}: expected a cron expression as `0 6 * * *`, or `@every 1d`")),
                Ok(spec) => {
                    if spec
                        .shortest_distance(Timestamp::UNIX_EPOCH)
                        .is_some_and(|distance| distance < LEAST_DISTANCE)
                    {
                        problems.add(&key, "its instants are less than 1m apart: expected fewer");
                    }
                }
            }
        }
        if !(1..=MOST_KEPT).contains(&self.keep) {
            problems.add("reports.keep", format!("found {}, expected 1 to {MOST_KEPT}", self.keep));
        }
        if let Some(folder) = self.folder.as_ref().filter(|folder| !folder.is_dir()) {
            problems.add("reports.folder", format!("{} is no folder: expected one", folder.display()));
        }
    }
}

/// The latest instant that has passed; none in the last year.
pub(super) fn latest(spec: &Spec, now: Timestamp) -> Option<Timestamp> {
    // Twice as far each time, so that little is looked at, however close its instants are.
    let mut back = SignedDuration::from_hours(1);
    loop {
        let after = now.checked_sub(back.min(LOOKS_BACK)).ok()?;
        let instants = std::iter::successors(spec.next_after(after), |instant| spec.next_after(*instant));
        if let Some(found) = instants.take_while(|instant| *instant <= now).last() {
            return Some(found);
        }
        if back >= LOOKS_BACK {
            return None;
        }
        back = back.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_wrong_is_named() {
        let check = |options: &Options, expected: &[&str]| {
            let mut problems = Problems::default();
            options.validate(&mut problems);
            assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), expected, "{options:?}");
        };
        let daily = |text: &str| Options { daily: Some(text.to_owned()), ..Options::default() };
        check(&Options::default(), &[]);
        for good in ["0 6 * * *", "@every 1m", "*/5 * * * *"] {
            check(&daily(good), &[]);
        }
        for bad in ["", "6 o'clock", "0 25 * * *", "@every 30s", "* * * * * *"] {
            check(&daily(bad), &["reports.daily"]);
        }
        check(&Options { zone: "Mars".to_owned(), ..daily("0 6 * * *") }, &["reports.zone"]);
        check(
            &Options { keep: 0, folder: Some("/nowhere".into()), ..Options::default() },
            &["reports.keep", "reports.folder"],
        );
        assert!(serde_json::from_str::<Options>(r#"{"monthly": "0 6 1 * *"}"#).is_err());
    }

    #[test]
    fn the_latest_instant_is_found_however_long_ago() {
        let check = |expression: &str, zone: &str, now: &str, expected: Option<&str>| {
            let spec = Spec::from(Rule::parse(expression, zone).unwrap());
            let found = latest(&spec, now.parse().unwrap());
            assert_eq!(found, expected.map(|text| text.parse().unwrap()), "{expression} {now}");
        };
        check("0 6 * * *", "UTC", "2026-01-31T06:00:00Z", Some("2026-01-31T06:00:00Z"));
        check("0 6 * * *", "UTC", "2026-01-31T05:59:59Z", Some("2026-01-30T06:00:00Z"));
        check("0 6 * * *", "Europe/Berlin", "2026-07-31T05:00:00Z", Some("2026-07-31T04:00:00Z"));
        check("0 6 * * 1", "UTC", "2026-01-31T12:00:00Z", Some("2026-01-26T06:00:00Z"));
        check("0 6 1 1 *", "UTC", "2026-12-31T12:00:00Z", Some("2026-01-01T06:00:00Z"));
        check("* * * * *", "UTC", "2026-01-31T12:00:30Z", Some("2026-01-31T12:00:00Z"));
        check("0 6 29 2 *", "UTC", "2024-03-31T12:00:30Z", Some("2024-02-29T06:00:00Z"));
        check("0 6 29 2 *", "UTC", "2026-01-31T12:00:30Z", None);
    }
}
