//! Uniqueness and aggregation in the headers of a plain task.

use windlass_core::duration;
use windlass_core::unique::{self, Aggregate, Of, OnConflict, Unique};

use crate::Error;
use crate::unique::key_of;

/// The headers, as `proto/windlass/v1/task.proto` documents them.
pub mod headers {
    /// One job of this key at a time.
    pub const UNIQUE_KEY: &str = "Windlass-Unique-Key";
    /// The fields that the key is made of.
    pub const UNIQUE_OVER: &str = "Windlass-Unique-Over";
    /// In which another job counts.
    pub const UNIQUE_STATES: &str = "Windlass-Unique-States";
    /// How long its job counts, ended or not.
    pub const UNIQUE_FOR: &str = "Windlass-Unique-For";
    /// What becomes of the two.
    pub const UNIQUE_ON_CONFLICT: &str = "Windlass-Unique-On-Conflict";
    /// The longest wait of all that replaced each other.
    pub const UNIQUE_MAX_DELAY: &str = "Windlass-Unique-Max-Delay";
    /// One start in each such time.
    pub const UNIQUE_PERIOD: &str = "Windlass-Unique-Period";
    /// Tasks of this key become one job.
    pub const AGGREGATE_KEY: &str = "Windlass-Aggregate-Key";
    /// How long to wait for the next.
    pub const AGGREGATE_GRACE: &str = "Windlass-Aggregate-Grace";
    /// How long to wait at most, from the first.
    pub const AGGREGATE_MAX_DELAY: &str = "Windlass-Aggregate-Max-Delay";
    /// How many at most.
    pub const AGGREGATE_MAX_SIZE: &str = "Windlass-Aggregate-Max-Size";
}

use headers as h;

/// All of them.
pub(crate) const KNOWN: [&str; 11] = [
    h::UNIQUE_KEY,
    h::UNIQUE_OVER,
    h::UNIQUE_STATES,
    h::UNIQUE_FOR,
    h::UNIQUE_ON_CONFLICT,
    h::UNIQUE_MAX_DELAY,
    h::UNIQUE_PERIOD,
    h::AGGREGATE_KEY,
    h::AGGREGATE_GRACE,
    h::AGGREGATE_MAX_DELAY,
    h::AGGREGATE_MAX_SIZE,
];

/// Reads them; `find` looks a header up.
pub(crate) fn unique<'a>(
    find: impl Fn(&str) -> Result<Option<&'a str>, Error>,
) -> Result<Option<Box<Unique>>, Error> {
    let time = |name: &str| find(name)?.map(|text| duration(name, text)).transpose();
    let of = match (find(h::UNIQUE_KEY)?, find(h::UNIQUE_OVER)?) {
        (None, None) => {
            let others = [
                h::UNIQUE_STATES,
                h::UNIQUE_FOR,
                h::UNIQUE_ON_CONFLICT,
                h::UNIQUE_MAX_DELAY,
                h::UNIQUE_PERIOD,
            ];
            return alone(&find, &others, h::UNIQUE_KEY).map(|()| None);
        }
        (Some(key), None) => Of::Key(key_of(h::UNIQUE_KEY, key)?),
        (None, Some(over)) => {
            let fields = unique::fields(over.split(',').map(str::trim));
            Of::Fields(fields.map_err(|error| Error::new(h::UNIQUE_OVER, error.reason))?)
        }
        (Some(_), Some(_)) => {
            let reason = "stands beside Windlass-Unique-Key: expected one of them";
            return Err(Error::new(h::UNIQUE_OVER, reason));
        }
    };
    let states = match find(h::UNIQUE_STATES)? {
        None => Vec::new(),
        Some(words) => unique::states(words.split(',').map(str::trim))
            .map_err(|error| Error::new(h::UNIQUE_STATES, error.reason))?,
    };
    let on_conflict = match find(h::UNIQUE_ON_CONFLICT)? {
        None => OnConflict::default(),
        Some(word) => OnConflict::from_word(word)
            .ok_or_else(|| Error::new(h::UNIQUE_ON_CONFLICT, "expected reject, replace or keep_earlier"))?,
    };
    Ok(Some(Box::new(Unique {
        of,
        states,
        lasts: time(h::UNIQUE_FOR)?,
        on_conflict,
        max_delay: time(h::UNIQUE_MAX_DELAY)?,
        period: time(h::UNIQUE_PERIOD)?,
    })))
}

/// Reads them; `find` looks a header up.
pub(crate) fn aggregate<'a>(
    find: impl Fn(&str) -> Result<Option<&'a str>, Error>,
) -> Result<Option<Box<Aggregate>>, Error> {
    let Some(key) = find(h::AGGREGATE_KEY)? else {
        let others = [h::AGGREGATE_GRACE, h::AGGREGATE_MAX_DELAY, h::AGGREGATE_MAX_SIZE];
        return alone(&find, &others, h::AGGREGATE_KEY).map(|()| None);
    };
    let time = |name: &str| duration(name, find(name)?.ok_or_else(|| Error::missing(name))?);
    let size = |text: &str| text.parse().ok().filter(|size| (1..=Aggregate::MOST).contains(size));
    let max_size = match find(h::AGGREGATE_MAX_SIZE)? {
        None => Aggregate::DEFAULT_SIZE,
        Some(text) => size(text).ok_or_else(|| {
            Error::new(h::AGGREGATE_MAX_SIZE, format!("expected a number from 1 to {}", Aggregate::MOST))
        })?,
    };
    Ok(Some(Box::new(Aggregate {
        key: key_of(h::AGGREGATE_KEY, key)?,
        grace: time(h::AGGREGATE_GRACE)?,
        max_delay: time(h::AGGREGATE_MAX_DELAY)?,
        max_size,
    })))
}

/// What says nothing without its key must not be passed over.
fn alone<'a>(
    find: impl Fn(&str) -> Result<Option<&'a str>, Error>,
    names: &[&str],
    key: &str,
) -> Result<(), Error> {
    for name in names {
        if find(name)?.is_some() {
            return Err(Error::new(*name, format!("goes with the header {key}, which is missing")));
        }
    }
    Ok(())
}

fn duration(field: &str, text: &str) -> Result<std::time::Duration, Error> {
    duration::parse(text).ok_or_else(|| Error::new(field, format!("expected {}", duration::EXPECTED)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(lines: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Result<Option<&'a str>, Error> {
        |wanted| Ok(lines.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value))
    }

    #[test]
    fn headers_are_read() {
        let lines = [
            (h::UNIQUE_OVER, "kind, payload.user.id"),
            (h::UNIQUE_STATES, "scheduled,queued"),
            (h::UNIQUE_FOR, "5m"),
            (h::UNIQUE_ON_CONFLICT, "keep_earlier"),
        ];
        let read = unique(find(&lines)).unwrap().unwrap();
        assert_eq!((read.states.len(), read.on_conflict), (2, OnConflict::KeepEarlier));
        assert_eq!(read.lasts, Some(std::time::Duration::from_mins(5)));
        assert!(matches!(&read.of, Of::Fields(fields) if fields.len() == 2));
        let lines = [(h::AGGREGATE_KEY, "k"), (h::AGGREGATE_GRACE, "1s"), (h::AGGREGATE_MAX_DELAY, "9s")];
        assert_eq!(aggregate(find(&lines)).unwrap().unwrap().max_size, 1000);
        assert_eq!((unique(find(&[])), aggregate(find(&[]))), (Ok(None), Ok(None)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let key = (h::UNIQUE_KEY, "k");
        for (lines, field) in [
            (&[(h::UNIQUE_KEY, "")][..], h::UNIQUE_KEY),
            (&[key, (h::UNIQUE_OVER, "kind")], h::UNIQUE_OVER),
            (&[(h::UNIQUE_OVER, "kind,")], h::UNIQUE_OVER),
            (&[key, (h::UNIQUE_STATES, "waiting")], h::UNIQUE_STATES),
            (&[key, (h::UNIQUE_FOR, "long")], h::UNIQUE_FOR),
            (&[key, (h::UNIQUE_ON_CONFLICT, "ignore")], h::UNIQUE_ON_CONFLICT),
            (&[(h::UNIQUE_PERIOD, "1s")], h::UNIQUE_PERIOD),
        ] {
            assert_eq!(unique(find(lines)).unwrap_err().field, field, "{lines:?}");
        }
        let key = (h::AGGREGATE_KEY, "k");
        let (grace, delay) = ((h::AGGREGATE_GRACE, "1s"), (h::AGGREGATE_MAX_DELAY, "1s"));
        for (lines, field) in [
            (&[grace][..], h::AGGREGATE_GRACE),
            (&[key, delay], h::AGGREGATE_GRACE),
            (&[key, grace], h::AGGREGATE_MAX_DELAY),
            (&[key, grace, delay, (h::AGGREGATE_MAX_SIZE, "0")], h::AGGREGATE_MAX_SIZE),
        ] {
            assert_eq!(aggregate(find(lines)).unwrap_err().field, field, "{lines:?}");
        }
    }
}
