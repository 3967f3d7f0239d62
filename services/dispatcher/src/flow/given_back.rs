//! What was given back, read ahead of its delivery: behind a great number of jobs that have become due at once, it would
//! come only when it is decided on all of them, and until then nothing would be let go.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;
use windlass_broker::flow::{Flow, Notice};

use super::round::Input;

/// Notices that are read at once, and that wait to be looked at.
const MOST: usize = 256;
/// Between two reads: where much ends, each finds some.
const PAUSE: Duration = Duration::from_millis(3);

/// The notices of a queue, as far as they have been read. They are read beside the rounds, which wait for nothing.
#[derive(Debug)]
pub(super) struct GivenBack {
    read: mpsc::Receiver<Notice>,
    look: Arc<Notify>,
    _reading: AbortOnDropHandle<()>,
}

// === impl GivenBack ===

impl GivenBack {
    /// What is given back from this sequence on.
    pub(super) fn from(flow: Flow, next: u64, came: Arc<Notify>) -> Self {
        let (sender, read) = mpsc::channel(MOST);
        let look = Arc::new(Notify::new());
        let reading = tokio::spawn(read_on(flow, next, Arc::clone(&look), came, sender));
        let reading = AbortOnDropHandle::new(reading);
        Self { read, look, _reading: reading }
    }

    /// Adds what has been read.
    pub(super) fn take(&mut self, inputs: &mut Vec<Input>) {
        while let Ok(notice) = self.read.try_recv() {
            inputs.push(Input::Notice(notice, None));
        }
    }

    /// To be told when there is something to be read; being told for nothing does no harm.
    pub(super) fn look(&self) -> &Arc<Notify> {
        &self.look
    }
}

/// Reads what there is, whenever it is told to look; and tells who waits for what `came`.
async fn read_on(
    flow: Flow,
    mut next: u64,
    look: Arc<Notify>,
    came: Arc<Notify>,
    sender: mpsc::Sender<Notice>,
) {
    loop {
        look.notified().await;
        let read = flow.notices(next, MOST).await.inspect_err(|error| {
            // They come in the end; and it is read again.
            tracing::debug!(%error, "what was given back could not be read");
        });
        if let Ok((notices, following)) = read {
            next = following;
            if notices.len() == MOST {
                look.notify_one();
            }
            for notice in notices {
                if sender.send(notice).await.is_err() {
                    return;
                }
                came.notify_one();
            }
        }
        sleep(PAUSE).await;
    }
}
