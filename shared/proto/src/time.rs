//! Instants and durations.

use std::time::Duration;

use jiff::Timestamp;

use crate::Error;

/// An instant as it stands in messages.
pub fn to_wire(at: Timestamp) -> prost_types::Timestamp {
    let (mut seconds, mut nanos) = (at.as_second(), at.subsec_nanosecond());
    // The wire counts fractions forward, also before 1970.
    if nanos < 0 {
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    prost_types::Timestamp { seconds, nanos }
}

pub(crate) fn from_wire(field: &str, at: prost_types::Timestamp) -> Result<Timestamp, Error> {
    Timestamp::new(at.seconds, at.nanos)
        .map_err(|_| Error::new(field, "is not an instant of the years -9999 to 9999"))
}

pub(crate) fn required(field: &str, at: Option<prost_types::Timestamp>) -> Result<Timestamp, Error> {
    from_wire(field, at.ok_or_else(|| Error::missing(field))?)
}

/// An instant as it stands in messages, if one does.
pub fn optional(field: &str, at: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>, Error> {
    at.map(|at| from_wire(field, at)).transpose()
}

pub(crate) fn duration_to_wire(duration: Duration) -> prost_types::Duration {
    // Longer than the wire can say is longer than anything accepts.
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

pub(crate) fn duration_from_wire(field: &str, duration: prost_types::Duration) -> Result<Duration, Error> {
    Duration::try_from(duration).map_err(|_| Error::new(field, "is negative: expected zero or more"))
}
