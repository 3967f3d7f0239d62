//! One attempt of one handler.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use windlass_core::told::{LogLine, Progress};
use windlass_core::{JobId, Kind, Priority, QueueName};

use crate::client::Client;
use crate::codec::Codec;
use crate::failure::Failure;
use crate::handler::extract::Payload;
use crate::handler::{Erased, Returned};
use crate::worker::context::{About, Context, Reason, Renewal};
use crate::worker::panicked;

/// An attempt that is being put together.
#[must_use = "nothing runs before `run`"]
pub struct TestAttempt {
    pub(super) handler: Option<Erased>,
    pub(super) about: About,
    pub(super) payload: Payload,
    pub(super) cancelled: Option<Reason>,
}

/// What became of an attempt.
#[derive(Debug)]
pub struct Ran {
    /// What the handler returned, as JSON text; a panic is a failure with the code `panic`.
    pub returned: Returned,
    /// What it saved last, or what it began with.
    pub checkpoint: Bytes,
    /// What it told last of how far it is.
    pub progress: Option<Progress>,
    /// The lines that it logged.
    pub lines: Vec<LogLine>,
}

// === impl TestAttempt ===

impl TestAttempt {
    pub(super) fn new(handler: Option<Erased>, kind: Kind, payload: Payload, client: Client) -> Self {
        let about = About {
            job_id: JobId::from_parts(Timestamp::now(), rand::random()),
            kind,
            queue: QueueName::default(),
            priority: Priority::default(),
            attempt: 1,
            timeout: Duration::from_secs(300),
            checkpoint: Bytes::new(),
            client,
            codec: Codec::default(),
        };
        Self { handler, about, payload, cancelled: None }
    }

    /// Another attempt than the first.
    pub fn number(mut self, number: u32) -> Self {
        self.about.attempt = number;
        self
    }

    /// Time allowed; the handler learns of it, and is cancelled past it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.about.timeout = timeout;
        self
    }

    /// With what an earlier attempt saved.
    pub fn checkpoint<T: Serialize>(mut self, value: &T) -> Self {
        self.about.checkpoint = serde_json::to_vec(value).unwrap_or_default().into();
        self
    }

    /// Told to stop before it begins.
    pub fn cancelled(mut self, reason: Reason) -> Self {
        self.cancelled = Some(reason);
        self
    }

    /// Runs the handler, and waits for its end.
    pub async fn run(self) -> Ran {
        let Self { handler, about, payload, cancelled } = self;
        let mut checkpoint = about.checkpoint.clone();
        let kind = about.kind.clone();
        let (context, mut saves) = Context::new(about);
        context.load(payload);
        if let Some(reason) = cancelled {
            context.cancel(reason);
        }
        let Some(handler) = handler else {
            let failure = Failure::new(format!("there is no handler for the kind {kind}")).terminal();
            let returned = Err(failure.code("unknown_kind"));
            return Ran { returned, checkpoint, progress: None, lines: Vec::new() };
        };
        let (payload, for_handler) = (context.payload().bytes.clone(), context.clone());
        let run = Arc::clone(&handler.run);
        let mut running = tokio::spawn(async move { run(payload, for_handler).await });
        let returned = loop {
            tokio::select! {
                returned = &mut running => break returned,
                Some(save) = saves.recv() => {
                    if let Renewal::Checkpoint(saved) = save.why {
                        checkpoint = saved;
                    }
                    let _ = save.saved.send(Ok(()));
                }
                () = tokio::time::sleep_until(context.deadline()), if !context.is_cancelled() => {
                    context.cancel(Reason::TimedOut);
                }
            }
        };
        let returned = returned.unwrap_or_else(|error| {
            let panic = error.try_into_panic();
            Err(panic.map_or_else(|error| Failure::new(error.to_string()), |panic| panicked(panic.as_ref())))
        });
        let (progress, lines) = context.telling().take();
        Ran { returned, checkpoint, progress, lines }
    }
}

// === impl Ran ===

impl Ran {
    /// The handler's value; none if it did not return one, or one of another form.
    pub fn value<T: serde::de::DeserializeOwned>(&self) -> Option<T> {
        self.returned.as_ref().ok().and_then(|value| serde_json::from_slice(value).ok())
    }
}
