//! The dispatcher with a task: creates the job, then acknowledges the task.

use windlass_core::protocol::{AfterWrite, Answer};

use crate::model::Protocol;
use crate::publish::{Tried, compare};
use crate::scenario::Fault;
use crate::state::{Dispatcher, Phase, State};
use crate::step::{Actor, Moves, Step};

impl Protocol {
    pub(crate) fn dispatcher_moves(&self, moves: &mut Moves<'_>, index: usize) {
        let state = moves.from;
        let dispatcher = state.dispatchers[index];
        let mut rest = state.clone();
        rest.dispatchers.remove(index);
        let actor = Actor::Dispatcher { overdue: dispatcher.overdue };
        let with = |mut next: State, phase| {
            next.dispatchers.push(Dispatcher { phase, ..dispatcher });
            next
        };
        match dispatcher.phase {
            Phase::Write { .. } if dispatcher.overdue && self.defences.drop_overdue_create => {
                moves.add(Step::new(actor, "drops the create"), rest.clone());
            }
            Phase::Write { write, silent } => {
                for Tried { state: next, write, words, answer } in self.publish(&rest, write) {
                    let silent = silent || matches!(answer, Answer::Silent | Answer::Undecided);
                    let phase = match self.defences.after_write(answer, silent) {
                        AfterWrite::Won(_) | AfterWrite::Lost => Phase::Acknowledge,
                        AfterWrite::Compare => Phase::Compare(write),
                        AfterWrite::Again => Phase::Write { write, silent },
                    };
                    moves.add(Step::new(actor, "creates the job").answered(words), with(next, phase));
                }
                if silent {
                    let next = if self.defences.unacknowledged_at_deadline {
                        again(rest.clone(), &dispatcher)
                    } else {
                        with(rest.clone(), Phase::Acknowledge)
                    };
                    moves.add(Step::new(actor, "gives up at its deadline"), next);
                }
            }
            Phase::Compare(write) => {
                // Either way the job exists.
                let words = match compare(state, &write) {
                    AfterWrite::Won(_) => "it is its own write",
                    _ => "it is not its own write",
                };
                let step = Step::new(actor, "compares the last message").answered(words);
                moves.add(step, with(rest.clone(), Phase::Acknowledge));
            }
            _ => {
                let mut next = rest.clone();
                if dispatcher.overdue {
                    // It acknowledges the copy that was delivered again, too.
                    next.tasks = next.tasks.saturating_sub(1);
                }
                moves.add(Step::new(actor, "acknowledges the task"), next);
            }
        }
        if !dispatcher.overdue
            && let Some(mut next) = self.after(Fault::TaskLeaseEnds, &rest)
        {
            next.tasks += 1;
            next.dispatchers.push(Dispatcher { overdue: true, ..dispatcher });
            moves.add(Step::new(Actor::Broker, "ends the dispatcher's lease of the task"), next);
        }
        if let Some(next) = self.after(Fault::DispatcherCrash, &rest) {
            moves.add(Step::new(actor, "crashes"), again(next, &dispatcher));
        }
    }
}

/// The task is delivered again, unless it has been already.
fn again(mut next: State, dispatcher: &Dispatcher) -> State {
    next.tasks += u8::from(!dispatcher.overdue);
    next
}
