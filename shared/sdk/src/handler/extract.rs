//! What a handler may have as a further parameter.
//!
//! | parameter | what it is |
//! |---|---|
//! | [`State<T>`] | the worker's state, or a part of it |
//! | [`AttemptNumber`] | which attempt, from 1 |
//! | [`Deadline`] | until when this attempt may run |
//! | [`Cancellation`] | whether it should stop, and why |
//! | [`Progress`] | tells how far it is |
//! | [`Logger`] | tells lines for the job's log |
//! | [`Checkpoint<T>`] | keeps how far it has come, for the next attempt |
//! | [`Client`] | submits children of this job |
//! | [`Payload`] | the payload as it was published |
//! | [`JobId`] | the job |
//! | [`Context`] | all of these |

use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use windlass_core::JobId;

use crate::client::Client;
use crate::failure::Failure;
use crate::worker::context::{Context, NotSaved, Reason};
pub use crate::worker::telling::{Logger, Progress};

/// What a handler may have as a further parameter.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be extracted from an attempt of a worker with state `{S}`",
    note = "what can be extracted is listed in `windlass::handler::extract`; `State<T>` where `T` is, or is part of, the worker's state"
)]
pub trait Extract<S>: Sized + Send {
    /// Takes it out. An error fails the attempt.
    fn extract(context: &Context, state: &S) -> Result<Self, Failure>;
}

/// A part of the worker's state.
#[derive(Debug, Clone)]
pub struct State<T>(pub T);

/// A state of which `Self` is part.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not part of the worker's state `{S}`",
    note = "implement `FromRef<{S}>` for it, or give the worker another state"
)]
pub trait FromRef<S> {
    /// Takes it out.
    fn from_ref(state: &S) -> Self;
}

impl<T: Clone> FromRef<T> for T {
    fn from_ref(state: &T) -> Self {
        state.clone()
    }
}

impl<S, T: FromRef<S> + Send> Extract<S> for State<T> {
    fn extract(_: &Context, state: &S) -> Result<Self, Failure> {
        Ok(Self(T::from_ref(state)))
    }
}

impl<S> Extract<S> for Context {
    fn extract(context: &Context, _: &S) -> Result<Self, Failure> {
        Ok(context.clone())
    }
}

/// The job that is worked on.
impl<S> Extract<S> for JobId {
    fn extract(context: &Context, _: &S) -> Result<Self, Failure> {
        Ok(context.job_id())
    }
}

/// For tasks that this one leads to: they are its children, and belong to the same trace.
impl<S> Extract<S> for Client {
    fn extract(context: &Context, _: &S) -> Result<Self, Failure> {
        Ok(context.client().clone())
    }
}

impl<S> Extract<S> for Progress {
    fn extract(context: &Context, _: &S) -> Result<Self, Failure> {
        Ok(context.progress())
    }
}

impl<S> Extract<S> for Logger {
    fn extract(context: &Context, _: &S) -> Result<Self, Failure> {
        Ok(context.logger())
    }
}

/// Which attempt, from 1. Crashes and hand-backs count here, other than in a retry policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptNumber(pub u32);

impl<S> Extract<S> for AttemptNumber {
    fn extract(context: &Context, _: &S) -> Result<Self, Failure> {
        Ok(Self(context.attempt()))
    }
}

/// Until when this attempt may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// The time that is left; zero past it.
    pub fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

impl<S> Extract<S> for Deadline {
    fn extract(context: &Context, _: &S) -> Result<Self, Failure> {
        Ok(Self(context.deadline()))
    }
}

/// The payload as it was published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Payload {
    /// The bytes.
    pub bytes: Bytes,
    /// As the publisher named it; may be empty.
    pub content_type: String,
}

impl<S> Extract<S> for Payload {
    fn extract(context: &Context, _: &S) -> Result<Self, Failure> {
        Ok(context.payload().clone())
    }
}

/// Whether the attempt should stop, and why.
#[derive(Debug, Clone)]
pub struct Cancellation(Context);

impl Cancellation {
    /// Resolves when the attempt should stop.
    pub async fn cancelled(&self) -> &Reason {
        self.0.cancelled().await;
        self.0.reason().unwrap_or(&Reason::TimedOut)
    }

    /// Why it should stop, if it should.
    pub fn reason(&self) -> Option<&Reason> {
        self.0.reason()
    }

    /// For loops that do not await: a failure if the attempt should stop.
    pub fn check(&self) -> Result<(), Failure> {
        match self.reason() {
            Some(reason) => Err(Failure::new(format!("stopped: {reason}")).code("stopped")),
            None => Ok(()),
        }
    }
}

impl<S> Extract<S> for Cancellation {
    fn extract(context: &Context, _: &S) -> Result<Self, Failure> {
        Ok(Self(context.clone()))
    }
}

/// How far the job has come: what an attempt saves, the next one finds, after a crash, a deployment or a failure.
///
/// A checkpoint is part of the job's record, so it is saved only while this attempt holds the job, and gone with it.
pub struct Checkpoint<T> {
    context: Context,
    saved: Option<T>,
    _form: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Checkpoint<T> {
    /// What the last attempt saved; none if there is nothing.
    pub fn saved(&self) -> Option<&T> {
        self.saved.as_ref()
    }

    /// Takes what the last attempt saved.
    pub fn take(&mut self) -> Option<T> {
        self.saved.take()
    }

    /// Saves; returns once it is stored. At most 64 KiB of JSON. It costs a write at the broker: save as often as the
    /// work is worth, not in each turn of a fast loop.
    pub async fn save(&self, value: &T) -> Result<(), NotSaved> {
        self.context.save(value).await
    }
}

impl<S, T: Serialize + DeserializeOwned + Send> Extract<S> for Checkpoint<T> {
    fn extract(context: &Context, _: &S) -> Result<Self, Failure> {
        let saved = context.checkpoint().map_err(|e| {
            Failure::new(format!("the checkpoint of an earlier attempt cannot be read: {e}"))
                .code("invalid_checkpoint")
        })?;
        Ok(Self { context: context.clone(), saved, _form: PhantomData })
    }
}
