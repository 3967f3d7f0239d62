//! What was submitted to a fleet.

use std::panic::Location;

use bytes::Bytes;
use windlass::Job;
use windlass_core::Kind;

use crate::error::Error;
use crate::fleet::Fleet;

/// A task that was accepted.
struct Accepted {
    kind: Option<Kind>,
    /// Or why it is not known.
    payload: Result<Bytes, String>,
}

/// How many payloads an assertion shows, and of each how many characters.
const SHOWN: usize = 10;
const SHOWN_CHARS: usize = 200;

// === impl Fleet ===

impl Fleet {
    /// Every task of this kind that was accepted so far, in order: the test's own, those of handlers, and those of any
    /// other client of this broker. Payloads that are none of this type are left out.
    pub async fn submitted<J: Job>(&self) -> Result<Vec<J>, Error> {
        let accepted = self.accepted().await?;
        Ok(accepted.iter().filter_map(Accepted::read::<J>).collect())
    }

    /// Panics unless a task of this kind was accepted for which this holds. The message shows what was.
    ///
    /// # Panics
    ///
    /// If there is none, or if it cannot be found out.
    #[track_caller]
    pub fn assert_submitted<J: Job>(&self, holds: impl Fn(&J) -> bool) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            let accepted = match self.accepted().await {
                Ok(accepted) => accepted,
                Err(error) => panic!("{caller}: what was submitted is not known: {error}"),
            };
            let found = accepted.iter().filter_map(Accepted::read::<J>).any(|job| holds(&job));
            assert!(found, "{caller}: {}", missing::<J>(&accepted));
        }
    }

    async fn accepted(&self) -> Result<Vec<Accepted>, Error> {
        self.settle().await?;
        self.ear()
            .until("the payload of every job", |known| {
                let accepted = known.accepted.iter().map(|(key, kind)| {
                    let payload = known.payloads.get(key)?.clone();
                    Some(Accepted { kind: kind.clone(), payload })
                });
                accepted.collect()
            })
            .await
    }
}

// === impl Accepted ===

impl Accepted {
    fn is<J: Job>(&self) -> bool {
        self.kind.as_ref().is_some_and(|kind| kind.as_str() == J::KIND)
    }

    fn read<J: Job>(&self) -> Option<J> {
        let payload = self.payload.as_ref().ok().filter(|_| self.is::<J>())?;
        let text: &[u8] = if payload.is_empty() { b"null" } else { payload };
        serde_json::from_slice(text).ok()
    }

    fn shown(&self) -> String {
        match &self.payload {
            Ok(payload) => String::from_utf8_lossy(payload).chars().take(SHOWN_CHARS).collect(),
            Err(reason) => format!("(a payload that cannot be read: {reason})"),
        }
    }
}

/// Why an assertion does not hold.
fn missing<J: Job>(accepted: &[Accepted]) -> String {
    let (of_kind, others): (Vec<_>, Vec<_>) = accepted.iter().partition(|accepted| accepted.is::<J>());
    let mut text =
        format!("no such task of the kind {} was submitted, of {} of that kind", J::KIND, of_kind.len());
    for accepted in of_kind.iter().take(SHOWN) {
        text = format!("{text}\n  {}", accepted.shown());
    }
    if of_kind.len() > SHOWN {
        text = format!("{text}\n  (and {} more)", of_kind.len() - SHOWN);
    }
    let kinds: Vec<_> = others.iter().filter_map(|other| other.kind.as_ref()).map(Kind::as_str).collect();
    if kinds.is_empty() {
        return format!("{text}; no others were");
    }
    format!("{text}\nof other kinds were: {}", kinds.join(", "))
}
