//! What a handler may know of its attempt.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use windlass_core::{JobId, Kind, Priority, QueueName, told};

use super::telling::{Logger, Progress, Telling};
use crate::client::Client;
use crate::codec::{self, Codec, Field};
use crate::handler::extract::Payload;

/// The most that a checkpoint may have: it travels with the job's record.
pub const CHECKPOINT_LIMIT_BYTES: usize = 64 * 1024;

/// An attempt, as its handler sees it. Clones are the same attempt.
#[derive(Debug, Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    about: About,
    /// Set before the handler is called.
    payload: OnceLock<Payload>,
    deadline: Instant,
    cancelled: CancellationToken,
    reason: OnceLock<Reason>,
    telling: Telling,
    saves: mpsc::Sender<Save>,
    /// What goes on although the handler's future has ended: threads, batches.
    busy: TaskTracker,
}

/// What is known of an attempt when it begins.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) job_id: JobId,
    pub(crate) kind: Kind,
    pub(crate) queue: QueueName,
    pub(crate) priority: Priority,
    pub(crate) attempt: u32,
    pub(crate) timeout: Duration,
    /// Of an earlier attempt, as it is stored; empty if there is none.
    pub(crate) checkpoint: Bytes,
    pub(crate) client: Client,
    /// Seals what the handler saves and tells.
    pub(crate) codec: Codec,
}

/// The job is to be claimed anew by the attempt that holds it.
#[derive(Debug)]
pub(crate) struct Save {
    pub(crate) why: Renewal,
    pub(crate) saved: oneshot::Sender<Result<(), NotSaved>>,
}

/// Why a job is claimed anew by the attempt that holds it.
#[derive(Debug)]
pub(crate) enum Renewal {
    /// The handler wants this checkpoint saved.
    Checkpoint(Bytes),
    /// The broker has delivered it once more, this often, to the worker that has it.
    Redelivered(u64),
}

/// Why an attempt should stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It took longer than it may.
    TimedOut,
    /// Somebody cancelled the job, with these words.
    Cancelled(String),
    /// Another worker may have the job now: whatever this attempt returns is refused.
    LeaseLost,
    /// The worker stops; the job will run again elsewhere.
    Draining,
    /// Its queue, kind or key was paused, with these words, and what runs is to stop; the job will run again once it
    /// is resumed.
    Recalled(String),
}

/// A checkpoint is not stored.
#[derive(Debug, thiserror::Error)]
pub enum NotSaved {
    /// It cannot be written.
    #[error("the checkpoint is no JSON")]
    Invalid(#[from] serde_json::Error),
    /// It cannot be sealed.
    #[error("the checkpoint cannot be sealed")]
    Codec(#[from] codec::Error),
    /// There is a bound.
    #[error("the checkpoint has {0} bytes: expected at most {CHECKPOINT_LIMIT_BYTES}")]
    TooLarge(usize),
    /// This attempt does not hold the job any more: stop.
    #[error("this attempt does not hold its job any more")]
    NotHeld,
    /// The broker did not say in time whether it is stored.
    #[error("it is not known whether the checkpoint is stored")]
    Unknown,
}

/// A checkpoint cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum NotRead {
    /// It is of another form.
    #[error("it is of another form")]
    Invalid(#[from] serde_json::Error),
    /// It is sealed, and does not open.
    #[error("it cannot be opened")]
    Codec(#[from] codec::Error),
}

/// In the place of a text that cannot be sealed.
const UNSEALED: &str = "(could not be sealed)";

// === impl Context ===

impl Context {
    /// With the saves that its handler asks for.
    pub(crate) fn new(about: About) -> (Self, mpsc::Receiver<Save>) {
        // One at a time: a handler that saves from several places waits for the others.
        let (saves, asked) = mpsc::channel(1);
        let telling = Telling::new(about.queue.clone(), about.job_id, about.attempt);
        let inner = Inner {
            deadline: Instant::now() + about.timeout,
            about,
            payload: OnceLock::new(),
            cancelled: CancellationToken::new(),
            reason: OnceLock::new(),
            telling,
            saves,
            busy: TaskTracker::new(),
        };
        inner.busy.close();
        (Self { inner: Arc::new(inner) }, asked)
    }

    /// The job.
    pub fn job_id(&self) -> JobId {
        self.inner.about.job_id
    }

    /// Its kind.
    pub fn kind(&self) -> &Kind {
        &self.inner.about.kind
    }

    /// Its queue.
    pub fn queue(&self) -> &QueueName {
        &self.inner.about.queue
    }

    /// Its priority, for tasks that it leads to.
    pub fn priority(&self) -> Priority {
        self.inner.about.priority
    }

    /// Which attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.inner.about.attempt
    }

    /// Time allowed for this attempt.
    pub fn timeout(&self) -> Duration {
        self.inner.about.timeout
    }

    /// Until when this attempt may run.
    pub fn deadline(&self) -> Instant {
        self.inner.deadline
    }

    /// The payload as it was published.
    pub fn payload(&self) -> &Payload {
        self.inner.payload.get_or_init(Payload::default)
    }

    /// It was fetched and opened.
    pub(crate) fn load(&self, payload: Payload) {
        let _ = self.inner.payload.set(payload);
    }

    /// Resolves when the attempt should stop; [`Context::reason`] says why.
    pub async fn cancelled(&self) {
        self.inner.cancelled.cancelled().await;
    }

    /// Whether the attempt should stop.
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancelled.is_cancelled()
    }

    /// Why it should stop, if it should.
    pub fn reason(&self) -> Option<&Reason> {
        self.inner.reason.get()
    }

    /// For tasks that this one leads to: they are its children, and belong to the same trace.
    pub fn client(&self) -> &Client {
        &self.inner.about.client
    }

    /// Tells how far it is.
    pub fn progress(&self) -> Progress {
        Progress::new(self.clone())
    }

    /// Tells lines for the job's log.
    pub fn logger(&self) -> Logger {
        Logger::new(self.clone())
    }

    /// What an earlier attempt saved; none if there is nothing.
    pub fn checkpoint<T: DeserializeOwned>(&self) -> Result<Option<T>, NotRead> {
        let About { job_id, checkpoint, codec, .. } = &self.inner.about;
        if checkpoint.is_empty() {
            return Ok(None);
        }
        let text = codec.open_text(*job_id, Field::Checkpoint, &String::from_utf8_lossy(checkpoint))?;
        Ok(Some(serde_json::from_str(&text)?))
    }

    /// Saves a checkpoint for the next attempt; returns once it is stored.
    pub async fn save<T: Serialize>(&self, value: &T) -> Result<(), NotSaved> {
        let About { job_id, codec, .. } = &self.inner.about;
        let plain = serde_json::to_string(value)?;
        // What the handler gave counts: sealed it is a third longer, which the claim has room for.
        if plain.len() > CHECKPOINT_LIMIT_BYTES {
            return Err(NotSaved::TooLarge(plain.len()));
        }
        let checkpoint = Bytes::from(codec.seal_text(*job_id, Field::Checkpoint, &plain)?);
        self.renew(Renewal::Checkpoint(checkpoint)).await
    }

    /// Claims the job anew.
    pub(crate) async fn renew(&self, why: Renewal) -> Result<(), NotSaved> {
        let (saved, told) = oneshot::channel();
        self.inner.saves.send(Save { why, saved }).await.map_err(|_| NotSaved::NotHeld)?;
        told.await.unwrap_or(Err(NotSaved::NotHeld))
    }

    /// The first reason stands.
    pub(crate) fn cancel(&self, reason: Reason) {
        let _ = self.inner.reason.set(reason);
        self.inner.cancelled.cancel();
    }

    /// The attempt is not over before this is dropped.
    pub(crate) fn busy(&self) -> TaskTrackerToken {
        self.inner.busy.token()
    }

    /// Whether anything of it goes on although its future has ended.
    pub(crate) fn is_busy(&self) -> bool {
        !self.inner.busy.is_empty()
    }

    /// Waits until nothing of it goes on.
    pub(crate) async fn idle(&self) {
        self.inner.busy.wait().await;
    }

    pub(crate) fn telling(&self) -> &Telling {
        &self.inner.telling
    }

    /// What the handler has told since, sealed where there are keys.
    pub(crate) fn take_told(&self) -> (Option<told::Progress>, Vec<told::LogLine>) {
        let (mut progress, mut lines) = self.inner.telling.take();
        let About { job_id, codec, .. } = &self.inner.about;
        if codec.seals() {
            let seal = |field, text: &mut String| {
                *text = codec.seal_text(*job_id, field, text).unwrap_or_else(|_| UNSEALED.to_owned());
            };
            if let Some(progress) = &mut progress {
                seal(Field::Note, &mut progress.note);
            }
            for line in &mut lines {
                seal(Field::Log, &mut line.message);
            }
        }
        (progress, lines)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("the attempt took longer than it may"),
            Self::Cancelled(words) | Self::Recalled(words) => f.write_str(words),
            Self::LeaseLost => f.write_str("the lease was lost"),
            Self::Draining => f.write_str("the worker stops"),
        }
    }
}
