//! One job of a key at a time, and several tasks as one job.

use std::time::Duration;

use bytes::Bytes;
use windlass_core::flow::FlowKey;
use windlass_core::unique::{self, Of, OnConflict};
use windlass_core::{InvalidTask, JobState, Start, Task};

/// What makes a task needless while another job of its key counts.
///
/// A task that gets no job is still a task with an id: it ends at once, and [`Client::wait`](super::Client::wait) and
/// [`Submission::submit_admitted`](super::Submission::submit_admitted) return
/// [`Error::NoJob`](super::Error::NoJob) with the id of the other job.
///
/// ```
/// use std::time::Duration;
/// use windlass::Unique;
///
/// // Refused while a report of this account waits or runs, and for ten minutes after it was accepted.
/// let report = Unique::key("report/42").for_time(Duration::from_secs(600));
/// // The same, by the member `account` of the payload.
/// let report = Unique::over(["kind", "payload.account"]);
/// // Runs once nothing was submitted for five seconds, and after a minute at the latest.
/// let index = Unique::key("index/42").debounce(Duration::from_secs(5)).max_delay(Duration::from_secs(60));
/// // Once in thirty seconds, with the latest payload.
/// let sync = Unique::key("sync/42").throttle(Duration::from_secs(30));
/// ```
#[derive(Debug, Clone)]
#[must_use = "it is to be given to a submission"]
pub struct Unique {
    inner: Result<unique::Unique, InvalidTask>,
    delay: Option<Duration>,
}

/// What makes several tasks of one key and kind one job, whose payload is the JSON list of theirs.
///
/// Its handler takes the list: for `windlass::Client::raw` or a [`Job`](crate::Job) of kind `mail.digest` with the
/// payload `T`, the handler's type is one that reads a JSON array of `T`. Each task's own id ends at once, and
/// [`Error::NoJob`](super::Error::NoJob) tells which job it was merged into. Payloads are neither compressed nor sealed,
/// and at most as large together as that of one task.
#[derive(Debug, Clone)]
#[must_use = "it is to be given to a submission"]
pub struct Aggregate {
    inner: Result<unique::Aggregate, InvalidTask>,
}

// === impl Unique ===

impl Unique {
    /// By a text of 1 to 256 bytes, within the queue.
    pub fn key(key: &str) -> Self {
        let key = key.parse::<FlowKey>().map_err(|error| InvalidTask::new("unique.key", error));
        Self { inner: key.map(unique::Unique::key), delay: None }
    }

    /// By fields of the task: `kind`, `key`, `tenant`, `payload`, or members of a JSON payload as `payload.user.id`.
    pub fn over<'a>(fields: impl IntoIterator<Item = &'a str>) -> Self {
        let of = unique::fields(fields).map(Of::Fields);
        Self { inner: of.map(|of| unique::Unique { of, ..empty() }), delay: None }
    }

    fn with(mut self, change: impl FnOnce(&mut unique::Unique)) -> Self {
        if let Ok(inner) = &mut self.inner {
            change(inner);
        }
        self
    }

    /// Another job counts in these states only: scheduled, held, queued, running, retrying.
    pub fn states(self, states: &[JobState]) -> Self {
        self.with(|inner| inner.states = states.to_vec())
    }

    /// Its job counts for this long from its acceptance, ended or not.
    pub fn for_time(self, time: Duration) -> Self {
        self.with(|inner| inner.lasts = Some(time))
    }

    /// What becomes of the two; [`OnConflict::Reject`] unless set.
    pub fn on_conflict(self, on_conflict: OnConflict) -> Self {
        self.with(|inner| inner.on_conflict = on_conflict)
    }

    /// Starts once none of its key was submitted for this long: each replaces the one that waits. One that runs already
    /// goes on, and another follows it.
    pub fn debounce(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self.with(|inner| inner.on_conflict = OnConflict::Replace)
    }

    /// With a debounce: starts no later than this after the first of those that replaced each other.
    pub fn max_delay(self, max_delay: Duration) -> Self {
        self.with(|inner| inner.max_delay = Some(max_delay))
    }

    /// Starts at once, but once in this time: what comes sooner waits for the rest of it, and the latest of those runs.
    pub fn throttle(self, period: Duration) -> Self {
        self.with(|inner| {
            inner.on_conflict = OnConflict::Replace;
            inner.period = Some(period);
        })
    }

    pub(super) fn apply(self, task: &mut Task<Bytes>) -> Result<(), InvalidTask> {
        let inner = self.inner?;
        if let Some(delay) = self.delay {
            if delay.is_zero() {
                return Err(InvalidTask::new("debounce", "is 0 s: expected more than 0"));
            }
            if task.start != Start::Now {
                return Err(InvalidTask::new(
                    "debounce",
                    "stands beside delay or run_at: expected one of them",
                ));
            }
            task.start = Start::After(delay);
        }
        task.unique = Some(Box::new(inner));
        Ok(())
    }
}

fn empty() -> unique::Unique {
    unique::Unique {
        of: Of::Fields(Vec::new()),
        states: Vec::new(),
        lasts: None,
        on_conflict: OnConflict::default(),
        max_delay: None,
        period: None,
    }
}

// === impl Aggregate ===

impl Aggregate {
    /// By a text of 1 to 256 bytes, within the queue and the kind. The job starts once none has come for `grace`, and
    /// `max_delay` after the first at the latest.
    pub fn key(key: &str, grace: Duration, max_delay: Duration) -> Self {
        let key = key.parse::<FlowKey>().map_err(|error| InvalidTask::new("aggregate.key", error));
        let max_size = unique::Aggregate::DEFAULT_SIZE;
        Self { inner: key.map(|key| unique::Aggregate { key, grace, max_delay, max_size }) }
    }

    /// And at once when so many have come: 1 to 10,000, 1,000 unless set.
    pub fn max_size(mut self, max_size: u32) -> Self {
        if let Ok(inner) = &mut self.inner {
            inner.max_size = max_size;
        }
        self
    }

    pub(super) fn check(self) -> Result<unique::Aggregate, InvalidTask> {
        self.inner
    }
}

/// Puts the key in the place of the fields that it is made of, while the payload can still be read.
pub(super) fn resolve(task: &mut Task<Bytes>) -> Result<(), InvalidTask> {
    let Some(unique) = task.unique.as_deref().filter(|unique| matches!(unique.of, Of::Fields(_))) else {
        return Ok(());
    };
    unique.check(task.start, Duration::MAX)?;
    let of = Of::Key(unique.resolve(task)?);
    task.unique = Some(Box::new(unique::Unique { of, ..unique.clone() }));
    Ok(())
}

/// Refuses what cannot be collected, before anything is sent.
pub(super) fn check_encoded(task: &Task<Bytes>, large: Option<&[u8]>) -> Result<(), InvalidTask> {
    if let (Some(_), Some(large)) = (&task.aggregate, large) {
        let reason = format!("has {} bytes, too many for one of several in a job", large.len());
        return Err(InvalidTask::new("payload", reason));
    }
    Ok(())
}
