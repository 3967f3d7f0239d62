//! Who has slots, as an owner knows it: exactly, without reading them again.

use std::collections::HashMap;

use crate::JobId;

/// The jobs that have a slot, each with a place in the stream by which it had it.
///
/// That a slot was given back is told in messages that may come late and twice. One that was stored before a job took
/// its slot is about an earlier one, and is ignored.
#[derive(Debug, Clone, Default)]
pub struct Holders {
    since: HashMap<JobId, u64>,
}

/// Stands for the sequence of what is not written yet: nothing that is told can be about it.
const UNWRITTEN: u64 = u64::MAX;

// === impl Holders ===

impl Holders {
    /// As they stand in the stream, when its last sequence is this or a later one.
    pub fn as_read(jobs: impl IntoIterator<Item = JobId>, last_sequence: u64) -> Self {
        Self { since: jobs.into_iter().map(|job| (job, last_sequence)).collect() }
    }

    /// A job has a slot from this sequence on.
    pub fn take(&mut self, job: JobId, sequence: u64) {
        self.since.insert(job, sequence);
    }

    /// A message of this sequence says that the job's slot was given back; true if it was the one that it has.
    pub fn given_back(&mut self, job: JobId, sequence: u64) -> bool {
        let is_this = self.since.get(&job).is_some_and(|since| *since < sequence);
        if is_this {
            self.since.remove(&job);
        }
        is_this
    }

    /// A job is about to have a slot, if it has none.
    pub fn expect(&mut self, job: JobId) {
        self.since.entry(job).or_insert(UNWRITTEN);
    }

    /// The write was refused in the expectation of which it was taken. A slot that the job has from before it keeps.
    pub fn forget(&mut self, job: JobId) {
        if self.since.get(&job) == Some(&UNWRITTEN) {
            self.since.remove(&job);
        }
    }

    /// Whether this job has one.
    pub fn has(&self, job: JobId) -> bool {
        self.since.contains_key(&job)
    }

    /// How many are taken.
    pub fn len(&self) -> usize {
        self.since.len()
    }

    /// Whether none is taken.
    pub fn is_empty(&self) -> bool {
        self.since.is_empty()
    }

    /// Who has had one longest; nobody whose slot is not written yet.
    pub fn oldest(&self) -> Option<JobId> {
        let written = self.since.iter().filter(|(_, since)| **since < UNWRITTEN);
        written.min_by_key(|(job, since)| (**since, **job)).map(|(job, _)| *job)
    }

    /// Who has them, in no order.
    pub fn jobs(&self) -> impl Iterator<Item = JobId> + '_ {
        self.since.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn what_comes_late_or_twice_gives_nothing_back() {
        let job = JobId::of_message(Timestamp::UNIX_EPOCH, 1);
        let mut holders = Holders::as_read([job], 10);
        assert!(!holders.given_back(job, 10), "it was read after that");
        assert!(holders.given_back(job, 11));
        assert!(!holders.given_back(job, 11) && holders.is_empty());
        holders.take(job, 20);
        assert!(!holders.given_back(job, 11), "of the earlier slot");
        assert!(holders.has(job) && holders.given_back(job, 21));
    }

    #[test]
    fn what_was_expected_in_vain_takes_no_slot_away() {
        let [first, second] = [1, 2].map(|number| JobId::of_message(Timestamp::UNIX_EPOCH, number));
        let mut holders = Holders::as_read([first], 10);
        for job in [first, second] {
            holders.expect(job);
            assert_eq!(holders.oldest(), Some(first));
            assert!(!holders.given_back(second, 30), "it is not written");
            holders.forget(job);
        }
        assert!(holders.has(first) && !holders.has(second));
        assert!(holders.given_back(first, 11));
    }
}
