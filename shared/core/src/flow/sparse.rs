//! Who is decided on out of their order, where very much is to be decided.
//!
//! What is due is delivered to a queue's owner in the order in which it came, so that whoever comes right behind a burst
//! would wait until all of that has a place in line. The owner hears of what comes meanwhile, and says it here, with what
//! is delivered. Lanes of which little is being delivered take turns; of each the jobs keep the order in which they were
//! heard of. A burst's own lane is what is being delivered, and is left to that.
//!
//! All of it is a hint. What was not heard, or found no room here, is decided on when it is delivered.

use std::collections::{HashMap, VecDeque};

use super::Lane;
use crate::JobId;

/// Jobs of one lane that are remembered.
const MOST_OF_LANE: usize = 4096;
/// Of all lanes: a few megabytes.
const MOST: usize = 1 << 16;
/// Lanes that are remembered.
const MOST_LANES: usize = 10_000;
/// And of each lane in any case, so that there is room for whoever has few.
const FEW: usize = 16;
/// A lane with this part of what was delivered lately, or more, is left to that.
const PART: usize = 8;
/// So many deliveries count at most: half of each lane's are forgotten when there are more.
const LATELY: usize = 512;

/// The jobs that wait for a decision, by lanes, as far as they are remembered.
#[derive(Debug, Default)]
pub struct Sparse {
    lines: HashMap<Lane, VecDeque<JobId>>,
    /// Whose turn it is: each of these lanes once.
    rotation: VecDeque<Lane>,
    remembered: usize,
    /// How many of each lane were delivered lately.
    delivered: HashMap<Lane, usize>,
    delivered_together: usize,
}

// === impl Sparse ===

impl Sparse {
    /// A job has come to this lane.
    pub fn heard(&mut self, lane: Lane, job: JobId) {
        if self.lines.len() >= MOST_LANES && !self.lines.contains_key(&lane) {
            return;
        }
        let line = self.lines.entry(lane.clone()).or_insert_with(|| {
            self.rotation.push_back(lane);
            VecDeque::new()
        });
        let most = if self.remembered < MOST { MOST_OF_LANE } else { FEW };
        if line.len() < most {
            line.push_back(job);
            self.remembered += 1;
        }
    }

    /// What was delivered since, in order.
    pub fn delivered(&mut self, jobs: impl IntoIterator<Item = (Lane, JobId)>) {
        for (lane, job) in jobs {
            if let Some(line) = self.lines.get_mut(&lane)
                // They come about in the order in which they were heard of.
                && let Some(at) = line.iter().position(|known| *known == job)
            {
                line.remove(at);
                self.remembered -= 1;
            }
            *self.delivered.entry(lane).or_default() += 1;
            self.delivered_together += 1;
        }
        while self.delivered_together > LATELY {
            self.delivered.retain(|_, count| {
                *count /= 2;
                *count > 0
            });
            self.delivered_together = self.delivered.values().sum();
        }
    }

    /// The next to be decided on out of their order, at most so many, of lanes that `want` some.
    pub fn take(&mut self, most: usize, mut wants: impl FnMut(&Lane) -> bool) -> Vec<(Lane, JobId)> {
        let (mut taken, mut want_none) = (Vec::new(), Vec::new());
        while taken.len() < most
            && let Some(lane) = self.rotation.pop_front()
        {
            let is_left = self.is_left(&lane);
            let Some(line) = self.lines.get_mut(&lane) else { continue };
            if line.is_empty() {
                self.lines.remove(&lane);
            } else if is_left || !wants(&lane) {
                want_none.push(lane);
            } else if let Some(job) = line.pop_front() {
                self.remembered -= 1;
                self.rotation.push_back(lane.clone());
                taken.push((lane, job));
            }
        }
        self.rotation.extend(want_none);
        taken
    }

    /// Whether it is delivered so many of a lane that it is left to that.
    fn is_left(&self, lane: &Lane) -> bool {
        self.delivered.get(lane).is_some_and(|count| count * PART >= self.delivered_together)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::Priority;

    fn lane(tenant: &str) -> Lane {
        Lane::new(Priority::Normal, tenant)
    }

    fn id(number: usize) -> JobId {
        JobId::of_message(jiff::Timestamp::UNIX_EPOCH, number as u64)
    }

    #[test]
    fn lanes_of_which_little_is_delivered_take_turns() {
        let (mut sparse, ids) = (Sparse::default(), std::array::from_fn::<_, 7, _>(id));
        for (tenant, id) in ["burst", "burst", "b", "b", "b", "c", "burst"].into_iter().zip(ids) {
            sparse.heard(lane(tenant), id);
        }
        sparse.delivered([(lane("burst"), ids[0])]);
        assert_eq!(sparse.take(9, |lane| &*lane.tenant != "b"), [(lane("c"), ids[5])]);
        assert_eq!(sparse.take(1, |_| true), [(lane("b"), ids[2])]);
        // One that was delivered is not taken any more; one of ten is little.
        sparse.delivered((0..9).map(|n| (lane("burst"), ids[n % 2])).chain([(lane("b"), ids[4])]));
        assert_eq!(sparse.take(9, |_| true), [(lane("b"), ids[3])]);
        // However few come at a time, the burst is what was delivered lately; until that is another.
        sparse.delivered([(lane("c"), ids[5])]);
        assert_eq!(sparse.take(9, |_| true), []);
        sparse.delivered((0..LATELY).map(|_| (lane("d"), ids[0])));
        assert_eq!(sparse.take(9, |_| true), [(lane("burst"), ids[6])]);
        assert_eq!(sparse.take(9, |_| true), []);
        assert!(sparse.lines.is_empty() && sparse.rotation.is_empty(), "{sparse:?}");
    }

    #[test]
    fn whoever_has_few_finds_room() {
        let mut sparse = Sparse::default();
        for number in 0..2 * MOST {
            sparse.heard(lane(&format!("burst-{}", number % 20)), id(number));
        }
        assert_eq!(sparse.remembered, MOST);
        for number in 0..FEW + 5 {
            sparse.heard(lane("few"), id(2 * MOST + number));
        }
        let taken = sparse.take(usize::MAX, |lane| &*lane.tenant == "few");
        assert_eq!(taken.len(), FEW);
    }

    proptest! {
        /// Whatever is heard, delivered and taken: each job is given out once at most, those of a lane in their order,
        /// none that was delivered before, and as many as are asked for if there are.
        #[test]
        fn each_is_taken_once_and_in_order(
            heard in prop::collection::vec(0_u8..4, 1..300),
            steps in prop::collection::vec((0_usize..20, 0_usize..10, 0_usize..10), 1..60),
        ) {
            let jobs: Vec<_> = heard.iter().enumerate().map(|(n, t)| (lane(&t.to_string()), id(n))).collect();
            let (mut sparse, mut told, mut delivered) = (Sparse::default(), 0, 0);
            let mut gone = HashSet::new();
            for (hears, has, most) in steps {
                for (lane, id) in jobs.iter().skip(told).take(hears) {
                    sparse.heard(lane.clone(), *id);
                }
                told = (told + hears).min(jobs.len());
                let to = (delivered + has).min(told);
                sparse.delivered(jobs[delivered..to].iter().cloned());
                gone.extend(jobs[delivered..to].iter().map(|(_, id)| *id));
                delivered = to;
                let there = jobs[..told].iter().filter(|(_, id)| !gone.contains(id));
                let there = there.filter(|(lane, _)| !sparse.is_left(lane)).count();
                let taken = sparse.take(most, |_| true);
                prop_assert_eq!(taken.len(), most.min(there));
                for (lane, id) in taken {
                    let at = jobs.iter().position(|(_, known)| *known == id).unwrap();
                    prop_assert_eq!(&jobs[at].0, &lane);
                    prop_assert!(gone.insert(id), "twice");
                    prop_assert!(jobs[..at].iter().filter(|(l, _)| *l == lane).all(|(_, id)| gone.contains(id)));
                }
                prop_assert_eq!(sparse.remembered, sparse.lines.values().map(VecDeque::len).sum::<usize>());
                prop_assert_eq!(sparse.rotation.len(), sparse.lines.len());
            }
        }
    }
}
