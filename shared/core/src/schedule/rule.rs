//! One rule, and what a schedule makes of several.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{Cron, Error, Exclusions, Interval};
use crate::ScheduleId;

/// One rule for instants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// By the calendar and the clock of a zone.
    Cron(Cron),
    /// Evenly, from the Unix epoch.
    Interval(Interval),
    /// One instant.
    Once(Timestamp),
}

/// Which instants a schedule names: those of its rules that lie between its bounds and are not excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    rules: Vec<Rule>,
    exclusions: Exclusions,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    jitter: Duration,
}

/// How many rules a schedule may have.
pub const MAX_RULES: usize = 64;
/// For the distance of a rule's instants that many are looked at.
const SAMPLE: usize = 400;

// === impl Rule ===

impl Rule {
    /// Reads a cron expression, or `@every` with a period as `@every 1h` or, with a phase, `@every 1h/15m`.
    pub fn parse(expression: &str, zone: &str) -> Result<Self, Error> {
        let trimmed = expression.trim();
        match trimmed.split_once(char::is_whitespace) {
            Some((word, period)) if word.eq_ignore_ascii_case("@every") => {
                if !zone.is_empty() {
                    super::Zone::new(zone)?;
                }
                Interval::parse(period).map(Self::Interval)
            }
            _ => Cron::new(expression, zone).map(Self::Cron),
        }
    }

    /// The first instant after this one; none if the rule names no further one that can be written down.
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron) => cron.next_after(instant),
            Self::Interval(interval) => interval.next_after(instant),
            Self::Once(at) => (*at > instant).then_some(*at),
        }
    }

    /// The shortest distance between two instants that follow; none if there are not two.
    fn shortest_distance(&self, from: Timestamp) -> Option<Duration> {
        if let Self::Interval(interval) = self {
            return Some(interval.period());
        }
        let instants: Vec<_> =
            std::iter::successors(self.next_after(from), |at| self.next_after(*at)).take(SAMPLE).collect();
        let distances = instants.windows(2).map(|pair| pair[1].duration_since(pair[0]).unsigned_abs());
        distances.min()
    }
}

// === impl Spec ===

impl Spec {
    /// Takes the rules, at least one.
    pub fn new(rules: Vec<Rule>) -> Result<Self, Error> {
        if rules.is_empty() || rules.len() > MAX_RULES {
            return Err(Error::new("rules", &rules.len().to_string(), format!("1 to {MAX_RULES} of them")));
        }
        let exclusions = Exclusions::default();
        Ok(Self { rules, exclusions, starts_at: None, ends_at: None, jitter: Duration::ZERO })
    }

    /// Leaves out the instants that lie in one of these.
    #[must_use]
    pub fn without(self, exclusions: Exclusions) -> Self {
        Self { exclusions, ..self }
    }

    /// Names only instants from the first, and up to the second, which lies after it.
    pub fn between(self, starts_at: Option<Timestamp>, ends_at: Option<Timestamp>) -> Result<Self, Error> {
        if let (Some(start), Some(end)) = (starts_at, ends_at)
            && end <= start
        {
            return Err(Error::new("end", &end.to_string(), format!("an instant after the start, {start}")));
        }
        Ok(Self { starts_at, ends_at, ..self })
    }

    /// Fires each instant up to this much later, see [`Self::fires_at`]. It is no more than the shortest distance
    /// between instants of one rule, by those that follow `from`.
    pub fn with_jitter(self, jitter: Duration, from: Timestamp) -> Result<Self, Error> {
        let shortest = self.shortest_distance(from).filter(|_| !jitter.is_zero());
        if let Some(shortest) = shortest.filter(|shortest| jitter > *shortest) {
            let expected = format!("at most {shortest:?}, the shortest time between two instants of a rule");
            return Err(Error::new("jitter", &format!("{jitter:?}"), expected));
        }
        Ok(self.with_checked_jitter(jitter))
    }

    /// As [`Self::with_jitter`], of what was checked when it was made.
    #[must_use]
    pub fn with_checked_jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    /// The rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What is left out.
    pub const fn exclusions(&self) -> &Exclusions {
        &self.exclusions
    }

    /// No instant lies before this.
    pub const fn starts_at(&self) -> Option<Timestamp> {
        self.starts_at
    }

    /// No instant lies after this.
    pub const fn ends_at(&self) -> Option<Timestamp> {
        self.ends_at
    }

    /// At most so much later than its instant it fires.
    pub const fn jitter(&self) -> Duration {
        self.jitter
    }

    /// The shortest distance between two instants of one rule.
    pub fn shortest_distance(&self, from: Timestamp) -> Option<Duration> {
        self.rules.iter().filter_map(|rule| rule.shortest_distance(from)).min()
    }

    /// The first instant after this one; none if there is no further one.
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        let just_before =
            |at: Timestamp| at.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MIN);
        let mut after = self.starts_at.map_or(instant, |start| instant.max(just_before(start)));
        // Each round leaves an exclusion behind.
        for _ in 0..=self.exclusions.len() {
            let next = self.rules.iter().filter_map(|rule| rule.next_after(after)).min()?;
            if self.ends_at.is_some_and(|end| next > end) {
                return None;
            }
            match self.exclusions.end_of(next) {
                None => return Some(next),
                Some(end) => after = just_before(end),
            }
        }
        None
    }

    /// When an instant fires: later than it by a part of the jitter that follows from the schedule's id and the instant
    /// alone, and always before the next instant.
    pub fn fires_at(&self, id: &ScheduleId, instant: Timestamp) -> Timestamp {
        if self.jitter.is_zero() {
            return instant;
        }
        let room = self
            .next_after(instant)
            .map_or(self.jitter, |next| self.jitter.min(next.duration_since(instant).unsigned_abs()));
        let name = format!("jitter/{id}/{}", instant.as_nanosecond());
        let drawn = Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).as_u128() >> 64;
        // Whole milliseconds, less than the room.
        let millis = room.as_millis().max(1);
        let later = u64::try_from(drawn % millis).unwrap_or_default();
        instant.checked_add(Duration::from_millis(later)).unwrap_or(instant)
    }

    /// The instants after `after` and up to `until`, in order, the first `limit` of them.
    pub fn instants_between(&self, after: Timestamp, until: Timestamp, limit: usize) -> Vec<Timestamp> {
        std::iter::successors(self.next_after(after), |instant| self.next_after(*instant))
            .take_while(|instant| *instant <= until)
            .take(limit)
            .collect()
    }
}

impl From<Rule> for Spec {
    fn from(rule: Rule) -> Self {
        Self {
            rules: vec![rule],
            exclusions: Exclusions::default(),
            starts_at: None,
            ends_at: None,
            jitter: Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn cron(expression: &str) -> Rule {
        Rule::parse(expression, "Europe/Berlin").unwrap()
    }

    #[test]
    fn an_expression_may_be_an_interval() {
        let hour = Duration::from_hours(1);
        let quarter = Duration::from_mins(15);
        let interval = |period, phase| Ok(Rule::Interval(Interval::new(period, phase).unwrap()));
        assert_eq!(Rule::parse("@every 1h", ""), interval(hour, Duration::ZERO));
        assert_eq!(Rule::parse(" @EVERY  1h/15m ", "UTC"), interval(hour, quarter));
        for (text, field) in [
            ("@every 0s", "interval"),
            ("@every 1h/1h", "phase"),
            ("@every x", "interval"),
            ("@every", "cron"),
        ] {
            assert_eq!(Rule::parse(text, "").unwrap_err().field, field, "{text}");
        }
        assert_eq!(Rule::parse("@every 1h", "Mars").unwrap_err().field, "zone");
    }

    #[test]
    fn several_rules_are_one_sequence() {
        let once = Rule::Once(at("2024-01-01T12:00:00Z"));
        let spec = Spec::new(vec![cron("0 9 * * *"), cron("0 9,17 * * MON"), once]).unwrap();
        let found = spec.instants_between(at("2024-01-01T00:00:00Z"), Timestamp::MAX, 5);
        let expected = [
            "2024-01-01T08:00:00Z",
            "2024-01-01T12:00:00Z",
            "2024-01-01T16:00:00Z",
            "2024-01-02T08:00:00Z",
            "2024-01-03T08:00:00Z",
        ];
        assert_eq!(found, expected.map(at));
        assert!(Spec::new(vec![]).is_err() && Spec::new(vec![cron("@daily"); 65]).is_err());
    }

    #[test]
    fn bounds_belong_to_it() {
        let (start, end) = (at("2024-01-01T08:00:00Z"), at("2024-01-03T08:00:00Z"));
        let spec = Spec::from(cron("0 9 * * *")).between(Some(start), Some(end)).unwrap();
        assert_eq!(spec.instants_between(Timestamp::UNIX_EPOCH, Timestamp::MAX, 9).len(), 3);
        assert_eq!(spec.next_after(end), None);
        assert_eq!(spec.clone().between(Some(end), Some(start)).unwrap_err().field, "end");
    }

    #[test]
    fn what_is_excluded_is_left_out() {
        let zone = super::super::Zone::new("Europe/Berlin").unwrap();
        let days = ["2024-01-02", "2024-01-03"].map(|day| (day.parse().unwrap(), day.parse().unwrap()));
        let span = (at("2024-01-04T10:00:00Z"), at("2024-01-04T12:00:00Z"));
        let exclusions = Exclusions::new(zone, days.to_vec(), vec![span]).unwrap();
        let spec = Spec::from(cron("0 0,11,13 * * *")).without(exclusions);
        let found = spec.instants_between(at("2024-01-01T12:30:00Z"), Timestamp::MAX, 4);
        let expected =
            ["2024-01-03T23:00:00Z", "2024-01-04T12:00:00Z", "2024-01-04T23:00:00Z", "2024-01-05T10:00:00Z"];
        assert_eq!(found, expected.map(at));
        // Everything up to the end of the calendar.
        let always = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        let zone = super::super::Zone::new("").unwrap();
        let never = Spec::from(cron("@daily")).without(Exclusions::new(zone, vec![], vec![always]).unwrap());
        assert_eq!(never.next_after(Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn jitter_over_the_period_is_refused() {
        let now = at("2024-01-01T00:00:00Z");
        let check = |expression: &str, minutes: u64| {
            Spec::from(cron(expression)).with_jitter(Duration::from_mins(minutes), now).map_err(|e| e.field)
        };
        assert!(check("@every 1h", 60).is_ok() && check("0 * * * *", 60).is_ok());
        assert_eq!(check("@every 1h", 61), Err("jitter"));
        assert_eq!(check("0 * * * *", 61), Err("jitter"));
        // The shortest distance counts.
        assert_eq!(check("0 9,10 * * *", 61), Err("jitter"));
        // One instant has no period.
        assert!(Spec::from(Rule::Once(now)).with_jitter(Duration::from_hours(9), now).is_ok());
    }

    proptest! {
        #[test]
        fn jitter_keeps_the_order(second in 0i64..2_000_000_000, jitter in 1u64..120) {
            let spec = Spec::new(vec![cron("*/2 * * * *"), cron("@every 5m/17s")]).unwrap();
            let spec = spec.with_jitter(Duration::from_secs(jitter), Timestamp::UNIX_EPOCH).unwrap();
            let id = "a".parse().unwrap();
            let after = Timestamp::from_second(second).unwrap();
            for pair in spec.instants_between(after, Timestamp::MAX, 9).windows(2) {
                let fires = spec.fires_at(&id, pair[0]);
                prop_assert!(pair[0] <= fires && fires < pair[1]);
                prop_assert!(fires.duration_since(pair[0]).unsigned_abs() < Duration::from_secs(jitter));
                prop_assert_eq!(fires, spec.clone().fires_at(&id, pair[0]));
            }
        }
    }
}
