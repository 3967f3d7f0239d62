//! Times in which a schedule does not fire: holidays, maintenance.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};

use super::{Error, Zone};

/// Days of a zone and spans of time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exclusions {
    zone: Option<Zone>,
    days: Vec<(Date, Date)>,
    spans: Vec<(Timestamp, Timestamp)>,
    /// All of them as spans, in order and apart.
    merged: Vec<(Timestamp, Timestamp)>,
}

/// How many a schedule may have.
pub const MAX_EXCLUSIONS: usize = 2000;

// === impl Exclusions ===

impl Exclusions {
    /// Takes days, from the first to the last of each pair, in this zone; and spans, whose end does not belong to
    /// them.
    pub fn new(
        zone: Zone,
        days: Vec<(Date, Date)>,
        spans: Vec<(Timestamp, Timestamp)>,
    ) -> Result<Self, Error> {
        let count = days.len() + spans.len();
        if count > MAX_EXCLUSIONS {
            return Err(Error::new(
                "exclude",
                &count.to_string(),
                format!("at most {MAX_EXCLUSIONS} entries"),
            ));
        }
        let mut all = Vec::with_capacity(count);
        for (first, last) in &days {
            let wrong = |expected: &str| Error::new("exclude", &format!("{first} to {last}"), expected);
            if last < first {
                return Err(wrong("a first day that is not after the last"));
            }
            let begin = |date: Date| zone.time_zone().to_zoned(date.at(0, 0, 0, 0)).map(|at| at.timestamp());
            let next = last.checked_add(1.day()).map_err(|_| wrong("days of the calendar"))?;
            all.push((
                begin(*first).map_err(|_| wrong("days of the calendar"))?,
                begin(next).map_err(|_| wrong("days of the calendar"))?,
            ));
        }
        for (from, until) in &spans {
            if until <= from {
                return Err(Error::new("exclude", &format!("{from} to {until}"), "an end after the start"));
            }
            all.push((*from, *until));
        }
        all.sort_unstable();
        let mut merged: Vec<(Timestamp, Timestamp)> = Vec::with_capacity(all.len());
        for (from, until) in all {
            match merged.last_mut() {
                Some((_, end)) if from <= *end => *end = until.max(*end),
                _ => merged.push((from, until)),
            }
        }
        Ok(Self { zone: Some(zone), days, spans, merged })
    }

    /// The end of the span in which this instant lies; none if it lies in none.
    pub fn end_of(&self, instant: Timestamp) -> Option<Timestamp> {
        let after = self.merged.partition_point(|(from, _)| *from <= instant);
        let (_, until) = self.merged.get(after.checked_sub(1)?)?;
        (instant < *until).then_some(*until)
    }

    /// How many there are that do not touch.
    pub fn len(&self) -> usize {
        self.merged.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.merged.is_empty()
    }

    /// The days, each with a first and a last.
    pub fn days(&self) -> &[(Date, Date)] {
        &self.days
    }

    /// In which the days are.
    pub const fn zone(&self) -> Option<&Zone> {
        self.zone.as_ref()
    }

    /// The spans.
    pub fn spans(&self) -> &[(Timestamp, Timestamp)] {
        &self.spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_merged_and_found() {
        let zone = Zone::new("America/Havana").unwrap();
        let day = |text: &str| text.parse::<Date>().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        // Its midnight is left out on that day.
        let days = vec![(day("2024-03-10"), day("2024-03-10")), (day("2024-03-11"), day("2024-03-12"))];
        let spans = vec![(at("2024-03-13T00:00:00Z"), at("2024-03-13T12:00:00Z"))];
        let all = Exclusions::new(zone.clone(), days, spans).unwrap();
        assert_eq!(all.len(), 1);
        let end = Some(at("2024-03-13T12:00:00Z"));
        for (instant, expected) in [
            ("2024-03-10T04:59:59Z", None),
            ("2024-03-10T05:00:00Z", end),
            ("2024-03-13T11:59:59Z", end),
            ("2024-03-13T12:00:00Z", None),
        ] {
            assert_eq!(all.end_of(at(instant)), expected, "{instant}");
        }
        let backwards = vec![(day("2024-03-12"), day("2024-03-11"))];
        assert_eq!(Exclusions::new(zone.clone(), backwards, vec![]).unwrap_err().field, "exclude");
        let empty = vec![(at("2024-03-13T00:00:00Z"), at("2024-03-13T00:00:00Z"))];
        assert!(Exclusions::new(zone, vec![], empty).is_err());
    }
}
