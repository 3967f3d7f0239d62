//! When the ends of a queue's jobs may be forgotten before their horizon.
//!
//! The record of an end is what stops whoever was given the job's work: while any of that may still be delivered, the
//! record must stand. So an end is forgotten by what has become of all that stood beside it, never by its age alone:
//! once all work that was in the queue a while after the end is settled, and all tasks and commands that waited then are
//! dealt with. What is given up is the refusal of what comes later still: the same id, submitted again, and a timer that
//! fires again more than that while after its job's end.

use std::collections::VecDeque;
use std::time::Duration;

/// How far streams had come at one moment: the sequence of the last message that each has stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The stream of jobs. Read before the others: what made a job was published before the job.
    pub jobs: u64,
    /// TASKS.
    pub tasks: u64,
    /// COMMANDS.
    pub commands: u64,
}

/// Up to where everything is dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// No work of the queue up to this sequence is, or will be, with anybody.
    pub work: u64,
    /// TASKS has no message up to this sequence.
    pub tasks: u64,
    /// COMMANDS has none up to this one.
    pub commands: u64,
}

/// What is remembered of the streams of one queue.
#[derive(Debug)]
pub struct Forgetting {
    /// How long an end is kept at least.
    keep: Duration,
    /// Where the streams stood, by a clock that only goes on; the oldest first.
    marks: VecDeque<(Duration, Place)>,
}

/// So many places are remembered; where work takes long, they lie farther apart.
const MARKS: usize = 256;

// === impl Forgetting ===

impl Forgetting {
    /// Nothing is forgotten before it is this old.
    pub fn new(keep: Duration) -> Self {
        Self { keep, marks: VecDeque::new() }
    }

    /// How long an end is kept at least.
    pub fn keep(&self) -> Duration {
        self.keep
    }

    /// The streams stood there at this instant, which is none before one that was told already.
    pub fn mark(&mut self, at: Duration, place: Place) {
        if self.marks.len() == MARKS {
            // The newest is kept.
            let mut is_odd = true;
            self.marks.retain(|_| {
                is_odd = !is_odd;
                is_odd
            });
        }
        self.marks.push_back((at, place));
    }

    /// The sequence up to which the queue's ends may go; none if nothing new may.
    pub fn up_to(&mut self, settled: Settled) -> Option<u64> {
        let is_over = |place: &Place| {
            place.jobs <= settled.work && place.tasks <= settled.tasks && place.commands <= settled.commands
        };
        let over_at = self.marks.iter().rev().find(|(_, place)| is_over(place)).map(|(at, _)| *at)?;
        let old = |(at, _): &&(Duration, Place)| *at + self.keep <= over_at;
        let count = self.marks.iter().take_while(old).count();
        // What is older tells nothing more.
        let gone = self.marks.drain(..count).next_back()?;
        Some(gone.1.jobs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEEP: Duration = Duration::from_secs(1);

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn place(jobs: u64) -> Place {
        Place { jobs, tasks: jobs * 10, commands: 5 }
    }

    fn settled(work: u64) -> Settled {
        Settled { work, tasks: u64::MAX, commands: u64::MAX }
    }

    #[test]
    fn an_end_goes_once_all_that_stood_beside_it_is_settled() {
        let mut forgetting = Forgetting::new(KEEP);
        for (millis, jobs) in [(0, 10), (500, 20), (1000, 30), (1500, 40)] {
            forgetting.mark(at(millis), place(jobs));
        }
        assert_eq!(forgetting.up_to(settled(29)), None, "work beside the oldest ends is with somebody");
        assert_eq!(forgetting.up_to(settled(30)), Some(10));
        assert_eq!(forgetting.up_to(settled(30)), None, "nothing new");
        assert_eq!(forgetting.up_to(settled(99)), Some(20), "those at 30 are not old enough");
    }

    #[test]
    fn a_task_or_a_command_that_waits_holds_all() {
        let mut forgetting = Forgetting::new(KEEP);
        forgetting.mark(at(0), place(10));
        forgetting.mark(at(1000), place(20));
        assert_eq!(forgetting.up_to(Settled { tasks: 199, ..settled(99) }), None);
        assert_eq!(forgetting.up_to(Settled { commands: 4, ..settled(99) }), None);
        assert_eq!(forgetting.up_to(Settled { work: 20, tasks: 200, commands: 5 }), Some(10));
    }

    #[test]
    fn work_that_takes_long_fills_no_memory_and_is_waited_for() {
        let mut forgetting = Forgetting::new(KEEP);
        for n in 0..10_000 {
            forgetting.mark(at(n * 500), place(n));
            assert!(forgetting.marks.len() <= MARKS);
            assert_eq!(forgetting.up_to(settled(0)), None);
        }
        let gone = forgetting.up_to(settled(9999)).unwrap();
        assert!((9000..=9997).contains(&gone), "{gone}");
    }

    proptest! {
        /// Whatever is settled when: what goes is older than `keep`, and all that stood so long after it is settled.
        #[test]
        fn nothing_goes_too_soon(steps in proptest::collection::vec((1u64..2000, 0u64..50, 0u64..60), 1..80)) {
            let mut forgetting = Forgetting::new(KEEP);
            let (mut now, mut last, mut done) = (0, 0, 0);
            let mut marks = Vec::new();
            for (wait, stored, finished) in steps {
                now += wait;
                last += stored;
                done = last.min(done + finished);
                marks.push((now, last));
                forgetting.mark(at(now), Place { jobs: last, tasks: 0, commands: 0 });
                if let Some(gone) = forgetting.up_to(settled(done)) {
                    let ended = marks.iter().find(|(_, last)| *last >= gone).map(|(at, _)| *at).unwrap();
                    prop_assert!(ended + 1000 <= now);
                    prop_assert!(marks.iter().any(|(at, last)| *at >= ended + 1000 && *last <= done && *last >= gone));
                }
            }
        }
    }
}
