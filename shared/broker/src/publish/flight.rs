//! One batch on its way: what the broker's answers say of each message in it (NATS ADR-50, "fast-ingest").

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Error, read};
use crate::answer::ErrorBody;

/// A message that is to be stored.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What became of one message.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is stored; or stood already, if it has a message id.
    Stored,
    /// The broker has refused it.
    Refused(Error),
    /// There was no word of it in time, or it was lost: it may be stored, now or later.
    Silent,
    /// It was not sent, or surely not stored, for a reason that has nothing to do with it.
    NotTried,
}

/// Whoever waits for one message.
pub(super) type Waits = oneshot::Sender<Outcome>;

/// The stream takes no batches, or does not know this one, or has too many.
const NO_BATCHES: std::ops::RangeInclusive<u64> = 10205..=10211;
/// The stream's settings allow none.
const BATCHES_DISABLED: u64 = 10205;

/// Messages on their way together; one that is alone is a plain publish.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) sent_at: Instant,
    /// None where the outcome was said.
    waiting: Vec<Option<Waits>>,
    unsaid: usize,
}

/// What an answer comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// More will come.
    More,
    /// All outcomes are said.
    Landed,
    /// This stream takes no batches; more may come.
    Disabled,
}

/// Every answer to a message of a batch: of progress (`ack`), of a loss (`gap`), of a refusal (`err`), or of the whole.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<&'a str>,
    /// Of a gap: what follows it. Of a refusal: which message.
    #[serde(default)]
    seq: u64,
    /// Of a gap: its first message.
    #[serde(default)]
    last_seq: u64,
    /// Of the whole: how many messages it covers.
    #[serde(default)]
    count: u64,
    error: Option<ErrorBody>,
}

// === impl Flight ===

impl Flight {
    pub(super) fn new(waiting: impl IntoIterator<Item = Waits>) -> Self {
        let waiting: Vec<_> = waiting.into_iter().map(Some).collect();
        Self { sent_at: Instant::now(), unsaid: waiting.len(), waiting }
    }

    fn say(&mut self, number: u64, outcome: Outcome) {
        let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        if let Some(waits) = index.and_then(|index| self.waiting.get_mut(index)?.take()) {
            self.unsaid -= 1;
            let _ = waits.send(outcome);
        }
    }

    /// Says the same of all that nothing was said of yet.
    pub(super) fn end(&mut self, outcome: impl Fn() -> Outcome) {
        for number in 1..=self.waiting.len() as u64 {
            self.say(number, outcome());
        }
    }

    /// Nobody is there for the message of this number, from 1.
    pub(super) fn unheard(&mut self, number: u64) -> Heard {
        self.say(number, Outcome::NotTried);
        self.rest()
    }

    /// An answer to the message of this number, from 1.
    pub(super) fn heard(&mut self, number: u64, answer: &[u8]) -> Heard {
        if self.waiting.len() == 1 {
            let outcome = match read(answer, String::new) {
                Ok(_) => Outcome::Stored,
                Err(error) => Outcome::Refused(error),
            };
            self.say(1, outcome);
            return Heard::Landed;
        }
        let Ok(answer) = serde_json::from_slice::<Answer<'_>>(answer) else {
            self.say(number, Outcome::Silent);
            return self.rest();
        };
        match (answer.kind, answer.error) {
            (Some("gap"), _) => {
                for lost in answer.last_seq..answer.seq {
                    self.say(lost, Outcome::Silent);
                }
                self.rest()
            }
            (Some("err"), Some(error)) => {
                self.say(answer.seq, refused(error));
                self.rest()
            }
            (Some(_), _) => Heard::More,
            (None, Some(error)) => {
                let is_disabled = error.err_code == BATCHES_DISABLED;
                self.say(number, refused(error));
                if is_disabled && self.unsaid > 0 { Heard::Disabled } else { self.rest() }
            }
            // The last one's answer: what it covers and was not refused is stored.
            (None, None) => {
                for stored in 1..=answer.count {
                    self.say(stored, Outcome::Stored);
                }
                self.end(|| Outcome::Silent);
                Heard::Landed
            }
        }
    }

    fn rest(&self) -> Heard {
        if self.unsaid == 0 { Heard::Landed } else { Heard::More }
    }
}

fn refused(error: ErrorBody) -> Outcome {
    if NO_BATCHES.contains(&error.err_code) {
        return Outcome::NotTried;
    }
    Outcome::Refused(Error::Refused { code: error.err_code, description: error.description })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of each message of a flight of so many, in words, after these answers to these messages.
    fn said(messages: usize, answers: &[(u64, &str)]) -> (Vec<String>, Heard) {
        let (waits, mut outcomes): (Vec<_>, Vec<_>) = (0..messages).map(|_| oneshot::channel()).unzip();
        let mut flight = Flight::new(waits);
        let mut heard = Heard::More;
        for (number, answer) in answers {
            heard = flight.heard(*number, answer.as_bytes());
        }
        let word = |outcome: &mut oneshot::Receiver<Outcome>| match outcome.try_recv() {
            Ok(Outcome::Refused(Error::Refused { code, .. })) => code.to_string(),
            Ok(outcome) => format!("{outcome:?}").to_lowercase(),
            Err(_) => "waits".to_owned(),
        };
        (outcomes.iter_mut().map(word).collect(), heard)
    }

    const ACK: &str = r#"{"type":"ack","seq":0,"msgs":1}"#;

    #[test]
    fn the_last_answer_speaks_for_all_that_were_not_refused() {
        let refused = r#"{"type":"err","seq":2,"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"}}"#;
        let whole = r#"{"stream":"JOBS","seq":9,"batch":"a-1","count":3}"#;
        let (words, heard) = said(3, &[(1, ACK), (2, refused), (3, whole)]);
        assert_eq!((words, heard), (["stored", "10071", "stored"].map(String::from).to_vec(), Heard::Landed));
        assert_eq!(
            said(3, &[(1, ACK), (2, refused)]),
            (vec!["waits".into(), "10071".into(), "waits".into()], Heard::More)
        );
    }

    #[test]
    fn what_was_lost_or_is_not_covered_is_not_stored() {
        let gap = r#"{"type":"gap","last_seq":2,"seq":4}"#;
        let whole = r#"{"stream":"JOBS","seq":9,"batch":"a-1","count":4}"#;
        let (words, _) = said(5, &[(1, ACK), (4, gap), (5, whole)]);
        assert_eq!(words, ["stored", "silent", "silent", "stored", "silent"]);
    }

    #[test]
    fn a_stream_without_batches_is_told_apart() {
        let disabled = r#"{"error":{"code":400,"err_code":10205,"description":"batch publish is disabled"},"stream":"JOBS","seq":0}"#;
        assert_eq!(said(2, &[(1, disabled)]), (vec!["nottried".into(), "waits".into()], Heard::Disabled));
        assert_eq!(said(2, &[(1, disabled), (2, disabled)]).1, Heard::Landed);
    }

    #[test]
    fn what_nobody_is_there_for_was_not_tried() {
        let (waits, mut outcomes): (Vec<_>, Vec<_>) = (0..2).map(|_| oneshot::channel()).unzip();
        let mut flight = Flight::new(waits);
        assert_eq!((flight.unheard(2), flight.unheard(1)), (Heard::More, Heard::Landed));
        assert!(outcomes.iter_mut().all(|outcome| matches!(outcome.try_recv(), Ok(Outcome::NotTried))));
    }

    #[test]
    fn one_alone_is_a_plain_publish() {
        let stored = r#"{"stream":"JOBS","seq":7}"#;
        let refused =
            r#"{"error":{"code":400,"err_code":10071,"description":"wrong"},"stream":"JOBS","seq":0}"#;
        assert_eq!(said(1, &[(1, stored)]), (vec!["stored".into()], Heard::Landed));
        assert_eq!(said(1, &[(1, refused)]), (vec!["10071".into()], Heard::Landed));
    }
}
