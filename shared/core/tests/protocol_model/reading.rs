//! Reading a job: its last message and whether it has ended, one operation each.

use windlass_core::protocol::View;

use crate::model::Protocol;
use crate::state::{Last, LastRead, Phase, State, Why};

/// A view, with what its last message says.
pub(crate) struct Read {
    pub(crate) view: View,
    pub(crate) last: Option<Last>,
}

/// The next phase of a reader, or all that it wanted to know.
pub(crate) enum Reading {
    Goes(Phase),
    Ends(Read),
}

impl Protocol {
    /// What one more read of a job can give.
    pub(crate) fn read(
        &self,
        state: &State,
        why: Why,
        last: Option<LastRead>,
        done: Option<bool>,
    ) -> Vec<(&'static str, Reading)> {
        let reads_last = if self.defences.read_order { last.is_none() } else { done.is_some() };
        let mut all = self.read_one(state, why, last, done, reads_last);
        // A glance is at both at once, so either may be answered first.
        if why == Why::Glance && last.is_none() && done.is_none() {
            all.extend(self.read_one(state, why, last, done, !reads_last));
        }
        all
    }

    fn read_one(
        &self,
        state: &State,
        why: Why,
        last: Option<LastRead>,
        done: Option<bool>,
        reads_last: bool,
    ) -> Vec<(&'static str, Reading)> {
        let words = if reads_last { "reads the last message" } else { "asks for a done" };
        let mut all = Vec::new();
        let mut add = |words, last, done| {
            let reading = match (last, done) {
                (Some(last), Some(done)) => Reading::Ends(Read { view: view(last, done), last }),
                (last, done) => Reading::Goes(Phase::Read { why, last, done }),
            };
            all.push((words, reading));
        };
        if reads_last {
            add(words, Some(nth_last(state, 0)), done);
            if !self.defences.leader_reads {
                add("reads, from a stale replica, the last message", Some(nth_last(state, 1)), done);
            }
        } else {
            let ended = state.done().is_some();
            add(words, last, Some(ended));
            if !self.defences.leader_reads && ended {
                add("asks a stale replica for a done", last, Some(false));
            }
        }
        all
    }
}

fn view(last: Option<Last>, done: bool) -> View {
    View { last: last.map(|l| l.record), done }
}

fn nth_last(state: &State, nth: usize) -> Option<Last> {
    let message = state.jobs.iter().rev().nth(nth)?;
    Some(Last { record: message.record, history: message.history, handed_back: message.handed_back })
}
