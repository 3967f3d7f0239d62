//! Arguments as they are typed, read into what they mean. What is wrong is named by its field.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use windlass_core::{JobId, QueueName, duration};

use super::Error;

/// Which job.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// The job's id
    #[arg(value_name = "ID")]
    id: String,
    /// Its queue, where several have the id
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    queue: Option<String>,
}

impl Which {
    pub(super) fn read(&self) -> Result<(JobId, Option<QueueName>), Error> {
        Ok((parse("id", &self.id)?, optional("queue", self.queue.as_deref())?))
    }
}

/// Reads an argument by its type's own rule.
pub(super) fn parse<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|error| Error::input(field, error))
}

/// As [`parse`], where the argument may be left out.
pub(super) fn optional<T: FromStr<Err: Display>>(
    field: &str,
    text: Option<&str>,
) -> Result<Option<T>, Error> {
    text.map(|text| parse(field, text)).transpose()
}

/// A duration of zero or more, as the headers of a task have it.
pub(super) fn duration(field: &str, text: &str) -> Result<Duration, Error> {
    duration::parse(text).ok_or_else(|| {
        Error::input(field, format!("`{text}` is not a duration: expected {}", duration::EXPECTED))
    })
}

/// An instant with its offset.
pub(super) fn instant(field: &str, text: &str) -> Result<Timestamp, Error> {
    text.parse().map_err(|_| {
        Error::input(
            field,
            format!("`{text}` is not an instant: expected with its offset, as 2026-01-31T09:00:00Z"),
        )
    })
}

/// A number within bounds.
pub(super) fn number(field: &str, text: &str, least: u32, most: u32) -> Result<u32, Error> {
    text.parse().ok().filter(|n| (least..=most).contains(n)).ok_or_else(|| {
        Error::input(field, format!("`{text}` is not a number that fits: expected {least} to {most}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("30s", 30_000),
            ("1h 30m", 5_400_000),
            ("250ms", 250),
            ("PT30S", 30_000),
            ("0s", 0),
            ("1d", 86_400_000),
        ] {
            let found = duration("delay", text).map(|d| d.as_millis()).ok();
            assert_eq!(found, Some(millis), "{text}");
        }
        for bad in ["", "30", "-1s", "soon", "1y"] {
            assert_eq!(duration("delay", bad).unwrap_err().field(), Some("delay"), "{bad}");
        }
    }

    #[test]
    fn instants_have_an_offset() {
        let at = instant("at", "2026-01-31T10:00:00+01:00").unwrap();
        assert_eq!(at, "2026-01-31T09:00:00Z".parse().unwrap());
        for bad in ["2026-01-31", "2026-01-31T10:00:00", "now"] {
            assert_eq!(instant("at", bad).unwrap_err().field(), Some("at"), "{bad}");
        }
    }

    #[test]
    fn numbers_keep_to_their_bounds() {
        assert_eq!(number("limit", "500", 1, 500).ok(), Some(500));
        for bad in ["0", "501", "-1", "many", ""] {
            assert_eq!(number("limit", bad, 1, 500).unwrap_err().field(), Some("limit"), "{bad}");
        }
    }
}
