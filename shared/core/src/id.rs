//! The id of a job.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The namespace of ids that are derived, so that no other use of UUID version 5 makes the same ones.
const DERIVED: Uuid = Uuid::from_u128(0x7b0d_5c1e_2a64_5f0e_9d3a_7769_6e64_6c61);

/// A job's id: a UUID (RFC 9562), written hyphenated in lower case.
///
/// The publisher makes a version 7; where the publisher cannot (a plain message, a schedule), it is derived from
/// what identifies the task, so that publishing again gives the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(Uuid);

/// The text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a job id: expected a UUID as 01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct InvalidId {
    text: String,
}

// === impl JobId ===

impl JobId {
    /// The UUID whose bits are all zero: of no job.
    pub const fn nil() -> Self {
        Self(Uuid::nil())
    }

    /// Takes a UUID of any version.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// Room for its text.
    pub const fn buffer() -> [u8; 36] {
        [0; 36]
    }

    /// Its text, without an allocation.
    pub fn encode<'b>(&self, buffer: &'b mut [u8; 36]) -> &'b str {
        self.0.hyphenated().encode_lower(buffer)
    }

    /// As a UUID.
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }

    /// A version 7 id of this instant; `random` fills what the instant leaves open.
    pub fn from_parts(at: Timestamp, random: [u8; 10]) -> Self {
        let millis = u64::try_from(at.as_millisecond()).unwrap_or_default();
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// When it was made, by the clock of who made it: a version 7 tells, others do not.
    pub fn made_at(&self) -> Option<Timestamp> {
        let (seconds, nanos) = self.0.get_timestamp().filter(|_| self.0.get_version_num() == 7)?.to_unix();
        Timestamp::new(seconds.try_into().ok()?, nanos.try_into().ok()?).ok()
    }

    /// The id of the task at this place of a stream: the same for every delivery of it.
    ///
    /// `stream_created_at` tells a stream from a later one of the same name.
    pub fn of_message(stream_created_at: Timestamp, sequence: u64) -> Self {
        let name = format!("message/{}/{sequence}", stream_created_at.as_nanosecond());
        Self(Uuid::new_v5(&DERIVED, name.as_bytes()))
    }

    /// The id of a schedule's job at this instant: the same whoever fires it, and however often.
    pub fn of_fire(schedule: &crate::ScheduleId, instant: Timestamp) -> Self {
        let name = format!("fire/{schedule}/{}", instant.as_nanosecond());
        Self(Uuid::new_v5(&DERIVED, name.as_bytes()))
    }

    /// The id of a job that somebody asked a schedule for at this time.
    pub fn of_trigger(schedule: &crate::ScheduleId, requested_at: Timestamp) -> Self {
        let name = format!("trigger/{schedule}/{}", requested_at.as_nanosecond());
        Self(Uuid::new_v5(&DERIVED, name.as_bytes()))
    }

    /// The id of a further job of a schedule's instant, that somebody asked for at this time.
    pub fn of_backfill(schedule: &crate::ScheduleId, instant: Timestamp, requested_at: Timestamp) -> Self {
        let name =
            format!("backfill/{schedule}/{}/{}", instant.as_nanosecond(), requested_at.as_nanosecond());
        Self(Uuid::new_v5(&DERIVED, name.as_bytes()))
    }

    /// The id of the job that starts a dead one again: the same for one death, however often it is asked for.
    ///
    /// It is the UUID version 5 of `redrive/<id>/<nanoseconds since 1970 of the death>`.
    pub fn of_redrive(dead: Self, dead_at: Timestamp) -> Self {
        let name = format!("redrive/{dead}/{}", dead_at.as_nanosecond());
        Self(Uuid::new_v5(&DERIVED, name.as_bytes()))
    }

    /// The id of the task on this line of what somebody submits: the same each time that it is submitted as this run.
    ///
    /// It is the UUID version 5 of `line/<bytes of the run's name>/<run>/<number>/<text>`.
    pub fn of_line(run: &str, number: u64, text: &str) -> Self {
        let name = format!("line/{}/{run}/{number}/{text}", run.len());
        Self(Uuid::new_v5(&DERIVED, name.as_bytes()))
    }

    /// The id of a job that another one submits: the same in each of the parent's attempts, so that a second attempt
    /// makes no duplicates. `name` tells the children of one parent apart.
    ///
    /// It is the UUID version 5 of `child/<parent>/<name>`, the parent's id hyphenated in lower case.
    pub fn of_child(parent: Self, name: &str) -> Self {
        let name = format!("child/{parent}/{name}");
        Self(Uuid::new_v5(&DERIVED, name.as_bytes()))
    }
}

impl JobId {
    /// The id of the job that collects tasks of which this is the first: the same for every delivery of it.
    ///
    /// It is the UUID version 5 of `aggregate/<first>`.
    pub fn of_aggregate(first: Self) -> Self {
        let name = format!("aggregate/{first}");
        Self(Uuid::new_v5(&DERIVED, name.as_bytes()))
    }
}

impl FromStr for JobId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        // The crate also reads braces, URNs and bare digits; one form keeps subjects and searches unambiguous.
        let invalid = || InvalidId { text: text.chars().take(64).collect() };
        if text.len() != 36 {
            return Err(invalid());
        }
        Uuid::try_parse(text).map(Self).map_err(|_| invalid())
    }
}

impl TryFrom<String> for JobId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_is_read() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(id.parse::<JobId>().unwrap().to_string(), id);
        assert_eq!(id.to_uppercase().parse::<JobId>().unwrap().to_string(), id);
        for bad in [
            "",
            "7",
            "{01890a5d-ac96-774b-bcce-b302099a8057}",
            "01890a5dac96774bbcceb302099a8057",
            "*",
            "a.b",
        ] {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_version_7_tells_its_time() {
        let at = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        assert_eq!(JobId::from_parts(at, [7; 10]).made_at(), Some(at));
        assert_eq!(JobId::of_message(at, 7).made_at(), None);
    }

    #[test]
    fn derived_ids_depend_on_all_parts() {
        let (a, b) = (Timestamp::from_second(1).unwrap(), Timestamp::from_second(2).unwrap());
        assert_eq!(JobId::of_message(a, 7), JobId::of_message(a, 7));
        assert_ne!(JobId::of_message(a, 7), JobId::of_message(b, 7));
        assert_ne!(JobId::of_message(a, 7), JobId::of_message(a, 8));
        let (parent, other) = (JobId::of_message(a, 7), JobId::of_message(a, 8));
        // Written down: a change would make the second attempt of a running parent repeat its children.
        assert_eq!(
            JobId::of_child(parent, "src/main.rs").to_string(),
            "d227d9c1-bd31-5772-9295-a3031214d728"
        );
        assert_ne!(JobId::of_child(parent, "src/main.rs"), JobId::of_child(parent, "src/lib.rs"));
        assert_ne!(JobId::of_child(parent, "src/main.rs"), JobId::of_child(other, "src/main.rs"));
    }
}
