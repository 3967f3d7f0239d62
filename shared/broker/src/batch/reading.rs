//! Reading a list of messages page by page, however long it is.
//!
//! The broker counts what follows a batch: it walks over all subjects under the filter, twice, while nothing can be
//! written to the stream. So a long list is not read in batches, but in reads of one message each, which count nothing.
//! These are asked for together, at the sequences where messages are expected. Each answer says that between what was
//! asked for and what was found there is nothing; where that leaves holes, they are asked for anew.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::StatusCode;
use futures::future::try_join_all;

use super::{Raw, Start, raw, read, unexpected};
use crate::connect::{Broker, Error};

/// Messages that follow a batch, at most: the broker counts as many in about a millisecond.
const LONG: u64 = 5000;
/// Reads of one message that are on their way together.
const TOGETHER: usize = 128;
/// How often holes are asked for before a page ends at the first of them.
const ROUNDS: usize = 4;
/// For one message.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How far a list has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// At or after this sequence the next page begins.
    next: u64,
    /// How many messages follow, as far as is known; none before the first page.
    left: Option<u64>,
    /// From one message to the next, about.
    gap: u64,
}

/// What single reads have said: at or after a sequence, which message is next; none if there is none.
type Answers = BTreeMap<u64, Option<u64>>;

/// What is known of a list from where it is read on.
#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    /// Messages that follow one another, nothing between them.
    found: Vec<u64>,
    /// Where it is not known what is next: the first ends what was found.
    holes: Vec<u64>,
    /// Nothing follows what was found.
    ended: bool,
}

// === impl Reading ===

impl Default for Reading {
    /// From the beginning.
    fn default() -> Self {
        Self::from(1)
    }
}

impl Reading {
    /// From this sequence on.
    pub fn from(sequence: u64) -> Self {
        Self { next: sequence.max(1), left: None, gap: 1 }
    }

    /// Of a list that ends before this sequence: what comes to it is told by [`grew`](Self::grew).
    pub fn at_end(sequence: u64) -> Self {
        Self { left: Some(0), ..Self::from(sequence) }
    }

    /// A message was stored at the end of the list: so it is known, without a count, when it is long.
    pub fn grew(&mut self, sequence: u64) {
        if let Some(left) = &mut self.left {
            *left += 1;
            self.gap = ((sequence + 1).saturating_sub(self.next) / *left).max(1);
        }
    }

    /// Where the next page begins.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// What was read from this sequence on is to be read again.
    pub fn back_to(&mut self, sequence: u64) {
        if sequence < self.next {
            let read = self.next - sequence;
            self.next = sequence;
            self.left = self.left.map(|left| left.saturating_add(read / self.gap.max(1)));
        }
    }

    /// Nothing before this sequence is to be read.
    pub fn on_to(&mut self, sequence: u64) {
        self.next = self.next.max(sequence);
    }

    /// The next page, and whether there are more. A page may be shorter than asked for though more follows. Any replica
    /// may answer, which may lack what was stored last and still have what was removed last.
    pub(crate) async fn page(
        &mut self,
        broker: &Broker,
        stream: &str,
        filter: &str,
        most: usize,
    ) -> Result<(Vec<Raw>, bool), Error> {
        let (messages, more) = match self.left {
            Some(left) if left > LONG => {
                let (messages, ended) = self.one_by_one(broker, stream, filter, most).await?;
                self.left = Some(if ended { 0 } else { left.saturating_sub(messages.len() as u64) });
                (messages, !ended)
            }
            _ => {
                let batch = read(broker, stream, filter, Start::Sequence(self.next), most).await?;
                self.left = Some(batch.pending);
                (batch.messages, batch.more)
            }
        };
        if let (Some(first), Some(last)) = (messages.first(), messages.last()) {
            self.next = last.sequence + 1;
            if let Some(between) = (last.sequence - first.sequence).checked_div(messages.len() as u64 - 1) {
                self.gap = between.max(1);
            }
        }
        Ok((messages, more))
    }

    /// Where so many messages may be.
    fn expected(&self, most: usize) -> Vec<u64> {
        (0..most as u64).map(|number| self.next + number * self.gap).collect()
    }

    /// A page, and whether nothing follows it.
    async fn one_by_one(
        &self,
        broker: &Broker,
        stream: &str,
        filter: &str,
        most: usize,
    ) -> Result<(Vec<Raw>, bool), Error> {
        let most = most.min(TOGETHER);
        let mut ask = self.expected(most);
        let (mut answers, mut messages, mut known) = (Answers::new(), BTreeMap::new(), Known::default());
        for _ in 0..ROUNDS {
            let asked = ask.iter().map(|sequence| first_from(broker, stream, filter, *sequence));
            for (sequence, found) in ask.iter().zip(try_join_all(asked).await?) {
                answers.insert(*sequence, found.as_ref().map(|raw| raw.sequence));
                messages.extend(found.map(|raw| (raw.sequence, raw)));
            }
            known = Known::of(self.next, &answers, most);
            if known.holes.is_empty() {
                break;
            }
            ask = std::mem::take(&mut known.holes);
        }
        let Known { found, ended, .. } = known;
        Ok((found.iter().filter_map(|sequence| messages.remove(sequence)).collect(), ended))
    }
}

// === impl Known ===

impl Known {
    /// What these answers say of a list from `next` on, for a page of `most`.
    fn of(next: u64, answers: &Answers, most: usize) -> Self {
        let mut known = Self::default();
        let (mut at, mut seen) = (next, 0);
        while seen < most {
            // Of all that was asked for at or before this place, the nearest says most.
            match answers.range(..=at).next_back() {
                Some((_, None)) => {
                    known.ended = known.holes.is_empty();
                    break;
                }
                Some((_, Some(found))) if *found >= at => {
                    if known.holes.is_empty() {
                        known.found.push(*found);
                    }
                    at = found + 1;
                }
                _ => {
                    known.holes.push(at);
                    let Some((after, _)) = answers.range(at..).next() else { break };
                    at = *after;
                }
            }
            seen += 1;
        }
        known
    }
}

/// The first message under a filter at or after this sequence.
async fn first_from(
    broker: &Broker,
    stream: &str,
    filter: &str,
    sequence: u64,
) -> Result<Option<Raw>, Error> {
    let subject = broker.api_subject(&format!("DIRECT.GET.{stream}"));
    let request = serde_json::json!({ "seq": sequence, "next_by_subj": filter });
    let answer = broker.request(subject.clone(), None, request.to_string().into(), TIMEOUT).await?;
    match answer.status {
        None => raw(&subject, answer).map(Some),
        Some(StatusCode::NOT_FOUND) => Ok(None),
        Some(status) => Err(unexpected(&subject, status, &answer)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Asks a list as pages do.
    fn page(list: &[u64], reading: &Reading, most: usize) -> (Known, usize) {
        let next_of = |sequence: u64| list.iter().copied().find(|found| *found >= sequence);
        let (mut ask, mut answers, mut rounds) = (reading.expected(most), Answers::new(), 0);
        while rounds < ROUNDS && !ask.is_empty() {
            answers.extend(ask.iter().map(|sequence| (*sequence, next_of(*sequence))));
            ask = Known::of(reading.next, &answers, most).holes;
            rounds += 1;
        }
        (Known::of(reading.next, &answers, most), rounds)
    }

    #[test]
    fn an_even_list_is_read_in_two_rounds() {
        let list: Vec<u64> = (0..1000).map(|number| 102 + 3 * number).collect();
        let reading = Reading { next: 100, left: Some(1000), gap: 3 };
        let (known, rounds) = page(&list, &reading, 128);
        assert_eq!(known.found, list[..128]);
        assert!(rounds <= 2 && !known.ended, "{rounds} {known:?}");
    }

    #[test]
    fn a_list_that_grows_is_known_to_be_long() {
        let mut reading = Reading::at_end(100);
        (1..=6000).for_each(|number| reading.grew(99 + 3 * number));
        assert_eq!(reading, Reading { next: 100, left: Some(6000), gap: 3 });
        let mut unknown = Reading::from(100);
        unknown.grew(102);
        assert_eq!(unknown, Reading::from(100), "how many there were before is not known");
    }

    #[test]
    fn what_is_read_again_counts_again() {
        let mut reading = Reading { next: 100, left: Some(7000), gap: 2 };
        reading.back_to(120);
        assert_eq!(reading, Reading { next: 100, left: Some(7000), gap: 2 });
        reading.back_to(80);
        assert_eq!(reading, Reading { next: 80, left: Some(7010), gap: 2 });
    }

    proptest! {
        /// Nothing is left out, whatever the gaps: what is found follows one another, and each page goes on.
        #[test]
        fn pages_have_all_of_a_list_in_order(
            gaps in prop::collection::vec(1_u64..40, 0..200),
            gap in 1_u64..60,
            most in 1_usize..50,
        ) {
            let list: Vec<u64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let (mut reading, mut found) = (Reading { gap, ..Reading::default() }, Vec::<u64>::new());
            loop {
                let (known, _) = page(&list, &reading, most);
                prop_assert!(known.found.len() <= most);
                found.extend(&known.found);
                if known.ended {
                    break;
                }
                prop_assert!(!known.found.is_empty(), "a page goes on");
                reading.next = known.found.last().unwrap() + 1;
            }
            prop_assert_eq!(found, list);
        }
    }
}
