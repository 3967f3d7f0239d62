//! Changes of a schedule by hand: each on the condition that nobody else has changed it meanwhile.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use windlass_broker::Broker;
use windlass_core::ScheduleId;
use windlass_core::schedule::{Pause, Request, Wish};
use windlass_core::trace::TraceParent;

use super::{Error, LONGEST_NOTE, ScheduleStore, Stored, remember};
use crate::Invalid;

/// Who changes a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// As it is to be told.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// In which trace.
    pub trace: Option<TraceParent>,
    /// Why, for people; empty if nobody says.
    pub reason: String,
}

/// Requests of one schedule that may stand at one time.
const MOST_REQUESTS: usize = 100;
/// Between two looks at whether a request was taken up.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// When a pause that begins now ends by itself, where that is said by its length or by its end.
pub fn pause_until(
    now: Timestamp,
    length: Option<Duration>,
    until: Option<Timestamp>,
) -> Result<Option<Timestamp>, Invalid> {
    let wrong = |field, reason: String| Err(Invalid { field, reason });
    match (length, until) {
        (Some(_), Some(_)) => wrong("for", "stands beside `until`: expected one of them".to_owned()),
        (Some(length), None) => match now.checked_add(length) {
            Ok(until) => Ok(Some(until)),
            Err(_) => wrong("for", "is too long: expected at most years".to_owned()),
        },
        (None, Some(until)) if until <= now => wrong("until", format!("is {until}: expected a time to come")),
        (None, until) => Ok(until),
    }
}

// === impl Author ===

impl Author {
    /// Somebody who changes it now, by the broker's clock; by this machine's, if the broker does not tell it.
    pub async fn now(broker: &Broker, by: impl Into<String>, trace: Option<TraceParent>) -> Self {
        let at = broker.read_time().await.unwrap_or_else(|_| Timestamp::now());
        Self { by: by.into(), at, trace, reason: String::new() }
    }
}

// === impl ScheduleStore ===

impl ScheduleStore {
    /// Reads, changes and stores a schedule, if it has the revision that is meant, or any if none is.
    async fn edit(
        &self,
        id: &ScheduleId,
        revision: Option<u64>,
        author: &Author,
        change: impl FnOnce(&mut Stored) -> Result<Option<String>, Error>,
    ) -> Result<Stored, Error> {
        let mut stored = self.get(id).await?.ok_or_else(|| Error::None(id.clone()))?;
        if let Some(expected) = revision.filter(|expected| *expected != stored.revision) {
            return Err(Error::Revision { id: id.clone(), expected, found: stored.revision });
        }
        if let Some(what) = change(&mut stored)? {
            remember(&mut stored.schedule, author, &what);
            stored.revision = self.write(&stored.schedule, Some(stored.revision)).await?;
        }
        Ok(stored)
    }

    /// Pauses a schedule, or changes its pause.
    pub async fn pause(
        &self,
        id: &ScheduleId,
        revision: Option<u64>,
        pause: Pause,
        author: &Author,
    ) -> Result<Stored, Error> {
        self.edit(id, revision, author, |stored| {
            let note = pause.note.chars().take(LONGEST_NOTE).collect();
            let pause = Some(Pause { note, ..pause });
            if stored.schedule.pause == pause {
                return Ok(None);
            }
            let until = pause.as_ref().and_then(|pause| pause.until);
            let until = until.map(|until| format!(" until {until}")).unwrap_or_default();
            let note = pause.as_ref().map(|pause| pause.note.clone()).filter(|note| !note.is_empty());
            stored.schedule.pause = pause;
            Ok(Some(format!("paused{until}{}", note.map(|note| format!(": {note}")).unwrap_or_default())))
        })
        .await
    }

    /// Ends a pause. Instants that it passed over are not made up for.
    pub async fn resume(
        &self,
        id: &ScheduleId,
        revision: Option<u64>,
        author: &Author,
    ) -> Result<Stored, Error> {
        self.edit(id, revision, author, |stored| {
            let resumed = stored.schedule.pause.take().is_some();
            if resumed {
                stored.schedule.created_at = author.at;
            }
            Ok(resumed.then(|| "resumed".to_owned()))
        })
        .await
    }

    /// Waits until the scheduler has taken a request up, and what it asks for has begun; false: not within the time.
    pub async fn is_taken_up(
        &self,
        id: &ScheduleId,
        request: &Request,
        timeout: Duration,
    ) -> Result<bool, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            let cursor = self.cursor(id).await?;
            let begun = cursor.is_some_and(|cursor| {
                let waits = cursor.waiting.iter().any(|waiting| waiting.instant == request.at);
                cursor.requests_through.is_some_and(|through| request.at <= through) && !waits
            });
            if begun || Instant::now() >= deadline {
                return Ok(begun);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Asks a schedule for jobs, which the scheduler that leads makes, if it has the revision that is meant, or any if
    /// none is. Gives the time of the request.
    pub async fn request(
        &self,
        id: &ScheduleId,
        revision: Option<u64>,
        wish: Wish,
        author: &Author,
    ) -> Result<Request, Error> {
        let mut request = Request { at: author.at, by: author.by.clone(), wish };
        self.edit(id, revision, author, |stored| {
            let cursor = stored.cursor.as_ref();
            let taken_up = cursor.and_then(|cursor| cursor.requests_through);
            let going_on =
                cursor.and_then(|cursor| cursor.backfill.as_ref()).map(|progress| progress.requested_at);
            let requests = &mut stored.schedule.requests;
            requests.retain(|other| {
                taken_up.is_none_or(|through| other.at > through) || going_on == Some(other.at)
            });
            let is_backfill = |request: &Request| matches!(request.wish, Wish::Backfill(_));
            let refuse = |reason| Err(Error::Busy { id: id.clone(), reason });
            if requests.len() >= MOST_REQUESTS {
                return refuse("has a hundred requests that wait: expected fewer, and a scheduler that runs");
            }
            if is_backfill(&request) && requests.iter().any(is_backfill) {
                return refuse("has a backfill that goes on: expected none, one at a time");
            }
            // Later than all before: so they are told apart.
            let last = requests.iter().map(|other| other.at).chain(taken_up).max();
            if let Some(last) = last.filter(|last| request.at <= *last) {
                request.at = last.checked_add(jiff::SignedDuration::from_nanos(1)).unwrap_or(last);
            }
            let what = match &request.wish {
                Wish::Trigger => "triggered".to_owned(),
                Wish::Backfill(backfill) => format!("backfill of {} instants", backfill.instants.len()),
            };
            requests.push(request.clone());
            Ok(Some(what))
        })
        .await?;
        Ok(request)
    }
}
