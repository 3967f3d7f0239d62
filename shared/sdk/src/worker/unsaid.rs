//! Events that must be stored before their message is acknowledged.

use windlass_broker::events::{EncodedEvent, EventWriter, Storing};
use windlass_core::Event;

/// Some of them may be on their way already.
#[derive(Debug, Default)]
pub(super) struct Unsaid {
    events: Vec<EncodedEvent>,
    storing: Option<Storing>,
}

// === impl Unsaid ===

impl Unsaid {
    /// To be said with the next.
    pub(super) fn add(&mut self, events: Vec<Event>) {
        self.events.extend(events.into_iter().map(EncodedEvent::from));
    }

    /// Says this, and what was added before, without waiting for it.
    pub(super) fn begin(&mut self, writer: &EventWriter, event: Event) {
        self.events.push(event.into());
        // Without room, they are said with the last.
        self.storing = writer.try_record_all(self.events.iter().cloned());
    }

    /// Says this too; true once all of it is stored.
    pub(super) async fn finish(&mut self, writer: &EventWriter, event: Event) -> bool {
        // Small from here on: it is part of each job's future.
        let event = EncodedEvent::from(event);
        let storing = self.storing.take();
        let earlier = async {
            let stored = match storing {
                Some(storing) => storing.stored().await,
                None => false,
            };
            stored || writer.record_all(self.events.iter().cloned()).await.is_ok()
        };
        let (earlier, last) = tokio::join!(earlier, writer.record(event));
        if earlier {
            self.events.clear();
        }
        earlier && last.is_ok()
    }
}
