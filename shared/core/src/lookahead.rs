//! What is taken out of its order, where much waits in a stream that is read from its head.
//!
//! A consumer delivers messages in the order in which they were stored, so that whoever comes right behind a burst
//! waits for all of it. A lookout reads on to the end of the stream meanwhile, and says here what it sees, by lanes: a
//! queue, or a tenant in it. Lanes that stand far behind the consumer take turns, and their first messages are dealt
//! with ahead of it. A lane that the consumer is at, or almost, needs none of that: it is left to the consumer, which is
//! how a burst itself is worked on. So messages of one lane keep their order.
//!
//! This is the favour that fair queueing does sparse flows (Hoeiland-Joergensen and others, RFC 8290, 2018).

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

/// Messages of one lane that are remembered.
const MOST_OF_LANE: usize = 256;
/// Of all lanes.
const MOST: usize = 1 << 18;
/// Lanes that are remembered; those beyond it wait for the consumer.
const MOST_LANES: usize = 10_000;
/// Messages that wait in one lane: a burst.
const BURST: usize = MOST_OF_LANE / 2;

/// The messages that wait, by lanes, as far as they are remembered: no more than a few megabytes.
#[derive(Debug)]
pub struct Lookahead<L> {
    lines: HashMap<L, Line>,
    /// Whose turn it is; each lane that has messages once.
    rotation: VecDeque<L>,
    remembered: usize,
    /// Up to here some are of lanes that there was no room for: those keep their order only if none joins before the
    /// consumer has come so far.
    left_out_to: u64,
    /// Some lane has a burst.
    any_burst: bool,
}

/// Where a consumer is.
#[derive(Debug, Default, Clone, Copy)]
pub struct At {
    /// What stands up to here was delivered.
    pub reached: u64,
    /// And up to here it is about to be.
    pub near: u64,
    /// Up to here it will be soon: sooner than a lane of many has its turn.
    pub soon: u64,
}

#[derive(Debug, Default)]
struct Line {
    /// In order.
    sequences: VecDeque<u64>,
    /// Up to here each was remembered.
    seen_to: u64,
    /// The first and the last that there was no room for.
    unseen: Option<(u64, u64)>,
}

// === impl Lookahead ===

impl<L> Default for Lookahead<L> {
    fn default() -> Self {
        Self {
            lines: HashMap::new(),
            rotation: VecDeque::new(),
            remembered: 0,
            left_out_to: 0,
            any_burst: false,
        }
    }
}

impl<L: Clone + Eq + Hash> Lookahead<L> {
    /// What waits from one sequence to another, both included, of the lanes that were looked at: each message's lane and
    /// sequence, in order. Pages are told from the head to the end of the stream, and again from where
    /// [`look_from`](Self::look_from) says.
    pub fn saw(
        &mut self,
        looked_at: impl Fn(&L) -> bool,
        from: u64,
        to: u64,
        page: impl IntoIterator<Item = (L, u64)>,
    ) {
        let mut full = HashSet::new();
        for (lane, sequence) in page {
            if !self.lines.contains_key(&lane) {
                if self.lines.len() >= MOST_LANES || self.left_out_to > 0 {
                    self.left_out_to = self.left_out_to.max(sequence);
                    continue;
                }
                self.lines.insert(lane.clone(), Line::default());
            }
            let Some(line) = self.lines.get_mut(&lane).filter(|line| line.seen_to < sequence) else {
                continue;
            };
            // From the first gap on there are only gaps, until it is looked for there.
            let leads_on = line.unseen.is_none_or(|(first, _)| from <= first);
            let has_room = line.sequences.len() < MOST_OF_LANE && self.remembered < MOST;
            if !leads_on || !has_room || full.contains(&lane) {
                let (first, last) = line.unseen.unwrap_or((sequence, sequence));
                line.unseen = Some((first, last.max(sequence)));
                full.extend(leads_on.then_some(lane));
                continue;
            }
            if line.sequences.is_empty() {
                self.rotation.push_back(lane);
            }
            line.sequences.push_back(sequence);
            line.seen_to = sequence;
            self.remembered += 1;
            line.looked_to(sequence);
        }
        for (lane, line) in &mut self.lines {
            let leads_on = line.unseen.is_some_and(|(first, _)| from <= first);
            if leads_on && !full.contains(lane) && looked_at(lane) {
                line.looked_to(to);
            }
        }
    }

    /// Whether nothing of this lane is remembered that the consumer, which has come to `reached`, has still before it.
    pub fn is_empty(&self, lane: &L, reached: u64) -> bool {
        self.lines.get(lane).is_none_or(|line| line.sequences.back().is_none_or(|last| *last <= reached))
    }

    /// The next to be taken out of its order, and its lane. What the consumer will have soon is left to it; beside a burst,
    /// of a lane in which few wait, only what it is about to have.
    pub fn next(&mut self, at: At) -> Option<(L, u64)> {
        for _ in 0..self.rotation.len() {
            let lane = self.rotation.pop_front()?;
            let Some(line) = self.lines.get_mut(&lane) else { continue };
            let before = line.sequences.len();
            let left = if self.any_burst && !line.is_burst() { at.near } else { at.soon };
            let sequence = line.take(at.reached, left);
            self.remembered -= before - line.sequences.len();
            if !line.sequences.is_empty() {
                self.rotation.push_back(lane.clone());
            }
            if let Some(sequence) = sequence {
                return Some((lane, sequence));
            }
        }
        None
    }

    /// Where it is to be looked for more of a lane of which nothing is left that is remembered, though there is more
    /// beyond `soon`.
    pub fn look_from(&self, soon: u64) -> Option<(&L, u64)> {
        let dry = self.lines.iter().filter(|(_, line)| line.sequences.is_empty());
        let unseen = dry.filter_map(|(lane, line)| Some((lane, line.unseen?.0)));
        unseen.filter(|(_, first)| *first > soon).min_by_key(|(_, first)| *first)
    }

    /// Forgets lanes that the consumer has passed.
    pub fn passed(&mut self, reached: u64) {
        if reached >= self.left_out_to {
            self.left_out_to = 0;
        }
        self.lines.retain(|_, line| {
            line.unseen = line.unseen.filter(|(_, last)| *last > reached);
            !line.sequences.is_empty() || line.unseen.is_some() || line.seen_to > reached
        });
        self.any_burst = self.lines.values().any(Line::is_burst);
    }
}

// === impl Line ===

impl Line {
    fn is_burst(&self) -> bool {
        self.unseen.is_some() || self.sequences.len() >= BURST
    }

    /// Nothing is left up to here that is not remembered.
    fn looked_to(&mut self, to: u64) {
        let left = self.unseen.map(|(first, last)| (first.max(to.saturating_add(1)), last));
        self.unseen = left.filter(|(first, last)| first <= last);
    }

    /// The first, if it stands behind what is left to the consumer.
    fn take(&mut self, reached: u64, left: u64) -> Option<u64> {
        while self.sequences.pop_front_if(|first| *first <= reached).is_some() {}
        // Some of it, which is not remembered, may be where the consumer is.
        if self.unseen.is_some_and(|(first, last)| first <= left && last > reached) {
            return None;
        }
        self.sequences.pop_front_if(|first| *first > left)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(ahead: &mut Lookahead<char>, reached: u64, soon: u64) -> Vec<(char, u64)> {
        std::iter::from_fn(|| ahead.next(At { reached, near: soon, soon })).collect()
    }

    fn saw(ahead: &mut Lookahead<char>, lane: char, sequences: std::ops::RangeInclusive<u64>) {
        ahead.saw(|_| true, *sequences.start(), *sequences.end(), sequences.map(|sequence| (lane, sequence)));
    }

    #[test]
    fn who_comes_behind_a_burst_is_taken_ahead_of_it() {
        let mut ahead = Lookahead::default();
        saw(&mut ahead, 'a', 1..=10_000);
        saw(&mut ahead, 'b', 10_001..=10_003);
        saw(&mut ahead, 'c', 10_004..=10_004);
        let taken = all(&mut ahead, 100, 200);
        assert_eq!(taken, [('b', 10_001), ('c', 10_004), ('b', 10_002), ('b', 10_003)]);
        // Those that were taken are not taken again, however often they are seen.
        saw(&mut ahead, 'b', 10_001..=10_003);
        assert_eq!(all(&mut ahead, 100, 200), []);
        saw(&mut ahead, 'b', 10_005..=10_005);
        assert_eq!(all(&mut ahead, 9_000, 9_100), [('b', 10_005)]);
    }

    #[test]
    fn whom_the_consumer_will_have_soon_is_left_to_it() {
        let mut ahead = Lookahead::default();
        let lane = |sequence| if sequence % 2 == 0 { 'a' } else { 'b' };
        ahead.saw(
            |_| true,
            1,
            400,
            (1..=400).filter(|s| *s != 90).map(|sequence| (lane(sequence), sequence)),
        );
        assert_eq!(all(&mut ahead, 0, 100), [], "both are where the consumer is");
        let mut ahead = Lookahead::default();
        ahead.saw(|_| true, 1, 500, [('c', 90), ('c', 500)]);
        assert_eq!(all(&mut ahead, 0, 100), [], "the first of a lane comes first");
        assert_eq!(all(&mut ahead, 95, 195), [('c', 500)]);
    }

    #[test]
    fn beside_a_burst_a_few_need_not_wait_until_it_is_almost_their_turn() {
        let at = At { reached: 0, near: 50, soon: 500 };
        let few = |ahead: &mut Lookahead<char>| {
            ahead.passed(0);
            std::iter::from_fn(|| ahead.next(at)).collect::<Vec<_>>()
        };
        let mut ahead = Lookahead::default();
        saw(&mut ahead, 'a', 1..=400);
        ahead.saw(|_| true, 401, 401, [('b', 401)]);
        assert_eq!(few(&mut ahead), [('b', 401)]);
        // Where few wait of each lane, none of them is a burst.
        let mut ahead = Lookahead::default();
        ahead.saw(|_| true, 1, 400, ('a'..='z').cycle().zip(1..=400));
        assert_eq!(few(&mut ahead), []);
        // What the consumer is about to have is left to it in any case.
        let mut ahead = Lookahead::default();
        ahead.saw(|_| true, 1, 400, (1..=400).map(|at| (if at == 40 { 'b' } else { 'a' }, at)));
        assert_eq!(few(&mut ahead), []);
    }

    #[test]
    fn of_a_long_lane_the_rest_is_looked_for_when_it_is_needed() {
        let mut ahead = Lookahead::default();
        saw(&mut ahead, 'a', 1..=5000);
        saw(&mut ahead, 'b', 5001..=8000);
        assert_eq!(ahead.look_from(100), None, "some are remembered");
        let mut taken = all(&mut ahead, 10, 100);
        while let Some((_, from)) = ahead.look_from(100) {
            assert_eq!(from, 5001 + taken.len() as u64);
            // What ended meanwhile is not there any more.
            let page = (from..=from + 999).filter(|sequence| *sequence <= 7990);
            ahead.saw(|_| true, from, from + 999, page.map(|sequence| ('b', sequence)));
            taken.extend(all(&mut ahead, 10, 100));
        }
        assert!(taken.iter().map(|(_, sequence)| *sequence).eq(5001..=7990), "{}", taken.len());
        saw(&mut ahead, 'b', 9000..=9000);
        assert_eq!(all(&mut ahead, 10, 100), [('b', 9000)]);
    }

    #[test]
    fn a_page_of_some_lanes_says_nothing_of_others() {
        let mut ahead = Lookahead::default();
        saw(&mut ahead, 'b', 5001..=8000);
        // Of a queue that is read to its end, in which lane 'b' is not.
        ahead.saw(|lane| *lane == 'a', 1, u64::MAX, [('a', 9000)]);
        saw(&mut ahead, 'b', 9001..=9001);
        let mut taken = all(&mut ahead, 10, 100);
        while let Some((_, from)) = ahead.look_from(100) {
            let of_b = (5001..=8000).chain([9001]).filter(|sequence| *sequence >= from);
            ahead.saw(|lane| *lane == 'b', from, u64::MAX, of_b.map(|sequence| ('b', sequence)));
            taken.extend(all(&mut ahead, 10, 100));
        }
        let of_b = taken.iter().filter(|(lane, _)| *lane == 'b').map(|(_, sequence)| *sequence);
        assert!(of_b.eq((5001..=8000).chain([9001])), "{} were taken", taken.len());
    }

    #[test]
    fn a_lane_with_messages_that_are_not_remembered_is_left_to_a_consumer_that_has_come_to_them() {
        let mut ahead = Lookahead::default();
        saw(&mut ahead, 'a', 1..=1000);
        saw(&mut ahead, 'a', 90_000..=90_000);
        assert_eq!(all(&mut ahead, 300, 400), []);
        assert_eq!(ahead.look_from(400), None, "the consumer is there");
        ahead.passed(90_000);
        saw(&mut ahead, 'a', 90_001..=90_001);
        assert_eq!(all(&mut ahead, 90_000, 90_000), [('a', 90_001)]);
    }

    proptest! {
        /// Whatever is seen and however far the consumer comes: each lane's messages are taken in their order, none
        /// twice, none that the consumer will have soon, and none while one before it is left out.
        #[test]
        fn each_lane_keeps_its_order(
            lanes in prop::collection::vec(0_u8..3, 1..4000),
            steps in prop::collection::vec((0_u64..60, 0_u64..900, 0_usize..200), 1..40),
        ) {
            let (mut ahead, mut reached, mut looked) = (Lookahead::default(), 0, 0);
            let mut last = HashMap::<u8, u64>::new();
            let lane = |sequence: u64| lanes.get(usize::try_from(sequence).unwrap() - 1).copied();
            let page = |from: u64, to: u64| (from..=to).filter_map(|at| Some((lane(at)?, at))).collect::<Vec<_>>();
            for (goes, sees, takes) in steps {
                ahead.saw(|_| true, looked + 1, looked + sees, page(looked + 1, looked + sees));
                looked += sees;
                reached += goes;
                let (near, soon) = (reached + 5, reached + 20);
                if let Some((_, from)) = ahead.look_from(soon) {
                    let to = (from + 300).min(looked);
                    ahead.saw(|_| true, from, to, page(from, to));
                }
                for _ in 0..takes {
                    let Some((of, sequence)) = ahead.next(At { reached, near, soon }) else { break };
                    let left = if ahead.any_burst { near } else { soon };
                    prop_assert!(sequence > left);
                    prop_assert_eq!(lane(sequence), Some(of));
                    let before = last.insert(of, sequence).unwrap_or(0).max(reached);
                    prop_assert!((before + 1..sequence).all(|between| lane(between) != Some(of)), "{before} {sequence}");
                }
                ahead.passed(reached);
                prop_assert_eq!(ahead.remembered, ahead.lines.values().map(|l| l.sequences.len()).sum::<usize>());
                prop_assert_eq!(ahead.rotation.len(), ahead.lines.values().filter(|l| !l.sequences.is_empty()).count());
            }
        }
    }
}
