//! Group commit: while some messages are on their way, what is to be written gathers for the next ones.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Writes what belongs together in few messages; clones share one buffer.
#[derive(Debug, Clone)]
pub(crate) struct Grouped<K> {
    buffer: mpsc::Sender<Pending<K>>,
}

/// How much at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// How many may wait to be written before callers wait too.
    pub(crate) buffer: usize,
    /// The most of one message.
    pub(crate) items: usize,
    /// About the most bytes of one message.
    pub(crate) bytes: usize,
    /// How many rounds may be on their way at a time: a round is all that had gathered, a message for each key. With
    /// more of them, each message holds less, and it costs the broker far more than what is in it (ARCHITECTURE.md,
    /// "Where the time goes").
    pub(crate) in_flight: usize,
}

#[derive(Debug)]
struct Pending<K> {
    key: K,
    bytes: Bytes,
    stored: oneshot::Sender<bool>,
}

/// What is on its way; answered with whether it is stored.
pub(crate) type OnItsWay = oneshot::Receiver<bool>;

// === impl Grouped ===

impl<K: Eq + Hash + Send + 'static> Grouped<K> {
    /// Starts to write. What has the same key goes into one message, its bytes one after the other, and is given to
    /// `store`, which says whether it is stored. Ends when the last clone is dropped and all is written.
    pub(crate) fn start<S>(bounds: Bounds, store: impl Fn(K, Bytes) -> S + Send + 'static) -> Self
    where
        S: Future<Output = bool> + Send + 'static,
    {
        let (buffer, waiting) = mpsc::channel(bounds.buffer);
        tokio::spawn(write(bounds, waiting, store));
        Self { buffer }
    }

    /// Waits while the buffer is full; none if nothing is written any more.
    pub(crate) async fn put(&self, key: K, bytes: Bytes) -> Option<OnItsWay> {
        let (stored, answer) = oneshot::channel();
        self.buffer.send(Pending { key, bytes, stored }).await.ok()?;
        Some(answer)
    }

    /// Does not wait; none if there is no room.
    pub(crate) fn try_put(&self, key: K, bytes: Bytes) -> Option<OnItsWay> {
        let (stored, answer) = oneshot::channel();
        self.buffer.try_send(Pending { key, bytes, stored }).ok()?;
        Some(answer)
    }
}

/// Groups what has come by key; while as many rounds as may be are on their way, more gathers for the next.
async fn write<K, S>(bounds: Bounds, mut waiting: mpsc::Receiver<Pending<K>>, store: impl Fn(K, Bytes) -> S)
where
    K: Eq + Hash,
    S: Future<Output = bool> + Send + 'static,
{
    let in_flight = Arc::new(Semaphore::new(bounds.in_flight));
    let mut received = Vec::new();
    loop {
        // Room first: what comes meanwhile goes with the same messages.
        let Ok(permit) = Arc::clone(&in_flight).acquire_owned().await else { return };
        if waiting.recv_many(&mut received, bounds.buffer).await == 0 {
            return;
        }
        let mut full = Vec::new();
        let mut open: HashMap<K, Message> = HashMap::new();
        for Pending { key, bytes, stored } in received.drain(..) {
            if open.get(&key).is_some_and(|message| !message.has_room(&bytes, &bounds)) {
                full.extend(open.remove_entry(&key));
            }
            let message = open.entry(key).or_default();
            message.body.extend_from_slice(&bytes);
            message.stored.push(stored);
        }
        let messages = full.into_iter().chain(open).map(|(key, Message { body, stored })| {
            let storing = store(key, body.into());
            async move {
                let is_stored = storing.await;
                for answer in stored {
                    let _ = answer.send(is_stored);
                }
            }
        });
        let round = join_all(messages);
        tokio::spawn(async move {
            round.await;
            drop(permit);
        });
    }
}

/// What goes together.
#[derive(Default)]
struct Message {
    body: Vec<u8>,
    stored: Vec<oneshot::Sender<bool>>,
}

// === impl Message ===

impl Message {
    fn has_room(&self, bytes: &Bytes, bounds: &Bounds) -> bool {
        self.stored.len() < bounds.items && self.body.len() + bytes.len() <= bounds.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const BOUNDS: Bounds = Bounds { buffer: 100, items: 3, bytes: 10, in_flight: 1 };

    /// Puts these while nothing is taken, and says what was written, by key and in the order of each.
    async fn written(items: &[(u8, &'static str)]) -> Vec<(u8, Vec<String>)> {
        let messages = Arc::new(Mutex::new(HashMap::<u8, Vec<String>>::new()));
        let seen = Arc::clone(&messages);
        let grouped = Grouped::start(BOUNDS, move |key, bytes: Bytes| {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let is_stored = text != "bad";
            seen.lock().unwrap().entry(key).or_default().push(text);
            async move { is_stored }
        });
        let answers: Vec<_> = items
            .iter()
            .map(|(key, text)| grouped.try_put(*key, Bytes::from_static(text.as_bytes())))
            .collect();
        for (answer, (_, text)) in answers.into_iter().zip(items) {
            assert_eq!(answer.unwrap().await, Ok(*text != "bad"), "{text}");
        }
        let mut written: Vec<_> = messages.lock().unwrap().drain().collect();
        written.sort();
        written
    }

    #[tokio::test]
    async fn what_gathers_is_one_message_of_each_key_within_its_bounds() {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let all = [(1, "a"), (2, "b"), (1, "c"), (1, "d"), (1, "e"), (3, "12345678"), (3, "90"), (3, "1")];
        let expected = vec![(1, texts(&["acd", "e"])), (2, texts(&["b"])), (3, texts(&["1234567890", "1"]))];
        assert_eq!(written(&all).await, expected);
    }

    #[tokio::test]
    async fn each_is_told_of_its_own_message() {
        assert_eq!(written(&[(1, "bad"), (2, "good")]).await.len(), 2);
    }

    #[tokio::test]
    async fn a_full_buffer_is_said() {
        let grouped =
            Grouped::start(Bounds { buffer: 1, ..BOUNDS }, |_: u8, _| std::future::pending::<bool>());
        assert!(grouped.try_put(1, Bytes::new()).is_some());
        assert!(grouped.try_put(1, Bytes::new()).is_none());
    }
}
