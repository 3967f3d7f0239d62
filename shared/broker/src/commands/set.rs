//! Who is meant by a command to many: a set that is made first, and does not change any more.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use windlass_core::letter::{Filter, Letter};
use windlass_core::{JobId, QueueName};

use super::{Command, Verb};
use crate::connect::Error;
use crate::dead::Letters;

/// The most members of a set: they are held in memory.
pub const MOST: usize = 100_000;
/// Members that are shown before.
pub const SAMPLE: usize = 5;
/// Letters that are held at a time while a set is made.
const PORTION: usize = 500;
/// Of a reason in a sample.
const REASON_CHARACTERS: usize = 80;

/// A job, or the letter of one: as much of it as a command names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Of the job.
    pub queue: QueueName,
    /// Of the job.
    pub job_id: JobId,
    /// Of the letter, where one is meant.
    pub dead_at: Option<Timestamp>,
}

/// Who is meant. A job is in it once.
#[derive(Debug, Default)]
pub struct Set {
    /// They.
    pub members: Vec<Member>,
    /// How many match and are left out, as it cannot be done to them.
    pub unfit: usize,
    /// Whether more match than one set may have.
    pub more: bool,
    /// Some of them for people, at most [`SAMPLE`].
    pub sample: Vec<String>,
    seen: HashSet<(QueueName, JobId)>,
}

// === impl Member ===

impl Member {
    /// The command about it.
    pub fn command<'a>(&'a self, verb: Verb, reason: &'a str, requested_by: &'a str) -> Command<'a> {
        let Self { queue, job_id, dead_at } = self;
        Command { queue, verb, job_id: *job_id, reason, requested_by, dead_at: *dead_at }
    }
}

impl<P> From<&Letter<P>> for Member {
    fn from(letter: &Letter<P>) -> Self {
        Self { queue: letter.queue.clone(), job_id: letter.job_id, dead_at: Some(letter.dead_at) }
    }
}

// === impl Set ===

impl Set {
    /// The letters that match now, but those that hold no task if one is needed. What dies later is not among them.
    pub async fn of_letters(letters: &Letters, verb: Verb, filter: &Filter) -> Result<Self, Error> {
        let mut set = Self::default();
        let mut next = None;
        loop {
            let page = letters.page(filter, next, PORTION, usize::MAX).await?;
            for letter in &page.letters {
                if verb == Verb::Redrive && letter.task.is_err() {
                    set.unfit += 1;
                } else {
                    set.add(letter.into(), || line(letter));
                }
            }
            next = page.next;
            if next.is_none() || set.more {
                return Ok(set);
            }
        }
    }

    /// Adds a member that is not in it yet. Of one more than [`MOST`] is only noted that there is one.
    pub fn add(&mut self, member: Member, line: impl FnOnce() -> String) {
        if self.seen.contains(&(member.queue.clone(), member.job_id)) {
            return;
        }
        if self.members.len() == MOST {
            self.more = true;
            return;
        }
        if self.sample.len() < SAMPLE {
            self.sample.push(line());
        }
        self.seen.insert((member.queue.clone(), member.job_id));
        self.members.push(member);
    }

    /// How long it takes to command all of it.
    pub fn estimate(&self, per_second: u32) -> Duration {
        let members = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        Duration::from_secs(1) * members / per_second.max(1)
    }
}

fn line<P>(letter: &Letter<P>) -> String {
    let kind = letter.kind.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut reason = letter.message();
    if let Some((end, _)) = reason.char_indices().nth(REASON_CHARACTERS) {
        reason.replace_range(end.., "…");
    }
    format!("{} {} {kind} {}: {reason}", letter.job_id, letter.queue, letter.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_bounded_and_has_nobody_twice() {
        let member = |n: usize| Member {
            queue: "mail".parse().unwrap(),
            job_id: format!("01890a5d-ac96-774b-bcce-{n:012x}").parse().unwrap(),
            dead_at: None,
        };
        let mut set = Set::default();
        for n in (0..MOST).chain(0..9) {
            set.add(member(n), || n.to_string());
        }
        assert_eq!((set.members.len(), set.more, set.sample.len()), (MOST, false, SAMPLE));
        set.add(member(MOST), String::new);
        assert_eq!((set.members.len(), set.more), (MOST, true));
        assert_eq!(set.estimate(50), Duration::from_secs(2000));
        let other = Member { queue: "web".parse().unwrap(), ..member(0) };
        let mut set = Set::default();
        set.add(member(0), String::new);
        set.add(other, String::new);
        assert_eq!(set.members.len(), 2, "an id is unique within its queue");
    }
}
