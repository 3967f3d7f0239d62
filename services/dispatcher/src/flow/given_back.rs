//! What was given back, read ahead of its delivery: behind a great number of jobs that have become due at once, it would
//! come only when it is decided on all of them, and until then nothing would be let go.

use tokio_util::task::AbortOnDropHandle;
use windlass_broker::connect::Error;
use windlass_broker::flow::{Flow, Notice};

use super::round::Input;

/// Notices that are read at once.
const MOST: usize = 256;

/// The notices of a queue, as far as they have been read. They are read beside the rounds, which wait for nothing.
#[derive(Debug)]
pub(super) struct GivenBack {
    next: u64,
    reading: Option<AbortOnDropHandle<Read>>,
}

/// Some, and where those begin that were not read.
type Read = Result<(Vec<Notice>, u64), Error>;

// === impl GivenBack ===

impl GivenBack {
    /// What is given back from this sequence on.
    pub(super) fn from(next: u64) -> Self {
        Self { next, reading: None }
    }

    /// Adds what has been read.
    pub(super) fn take(&mut self, inputs: &mut Vec<Input>) {
        let Some(read) = self.reading.as_mut().and_then(futures::FutureExt::now_or_never) else {
            return;
        };
        self.reading = None;
        match read {
            Ok(Ok((notices, next))) => {
                self.next = next;
                inputs.extend(notices.into_iter().map(|notice| Input::Notice(notice, None)));
            }
            // They come in the end; and it is read again.
            Ok(Err(error)) => tracing::debug!(%error, "what was given back could not be read"),
            Err(error) => tracing::error!(%error, "what was given back was not read"),
        }
    }

    /// Reads on, unless that is going on.
    pub(super) fn read(&mut self, flow: &Flow) {
        let (flow, next) = (flow.clone(), self.next);
        self.reading.get_or_insert_with(|| {
            AbortOnDropHandle::new(tokio::spawn(async move { flow.notices(next, MOST).await }))
        });
    }
}
