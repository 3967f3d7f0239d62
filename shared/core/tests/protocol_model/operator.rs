//! An operator's command: durable, delivered until it is acknowledged.

use windlass_core::protocol::{AfterWrite, Answer, Kind, Removal, View};

use crate::model::Protocol;
use crate::publish::{Tried, compare};
use crate::reading::{Read, Reading};
use crate::scenario::Fault;
use crate::state::{Command, End, Phase, State, Why, Write};
use crate::step::{Actor, Moves, Step};

impl Protocol {
    pub(crate) fn command_moves(&self, moves: &mut Moves<'_>, index: usize) {
        let state = moves.from;
        let command = state.commands[index];
        let mut rest = state.clone();
        rest.commands.remove(index);
        let actor = if command.release { Actor::Releaser } else { Actor::Canceller };
        match command.phase {
            Phase::Waiting => {
                let next = with(rest.clone(), Command { phase: Phase::read(Why::Command), ..command });
                moves.add(Step::new(actor, "is given the command"), next);
            }
            Phase::Read { why, last, done } => {
                for (words, reading) in self.read(&rest, why, last, done) {
                    let next = match reading {
                        Reading::Goes(phase) => Command { phase, ..command },
                        Reading::Ends(read) => self.removal(command, &read),
                    };
                    moves.add(Step::new(actor, words), with(rest.clone(), next));
                }
            }
            Phase::Write { write, silent } => {
                let does =
                    if command.release { "releases the job on token" } else { "cancels the job on token" };
                let step = Step::new(actor, does).of(write.token);
                for Tried { state: next, write, words, answer } in self.publish(&rest, write) {
                    let silent = silent || matches!(answer, Answer::Silent | Answer::Undecided);
                    let after = self.defences.after_write(answer, silent);
                    moves.add(step.answered(words), with(next, written(command, write, after, silent)));
                }
                if silent {
                    let next = with(rest.clone(), waiting(command));
                    moves.add(Step::new(actor, "gives up at its deadline"), next);
                }
            }
            Phase::Compare(write) => {
                let after = compare(&rest, &write);
                let words =
                    if after == AfterWrite::Lost { "it is not its own write" } else { "it is its own write" };
                let step = Step::new(actor, "compares the last message").answered(words);
                moves.add(step, with(rest.clone(), written(command, write, after, true)));
            }
            Phase::Delete(sequence) => {
                let phase = if command.then_delete > 0 { Phase::Acknowledge } else { Phase::Tidy };
                let mut next = with(rest.clone(), Command { phase, ..command });
                next.remove(sequence);
                if !state.is_proposing() {
                    moves.add(Step::new(actor, "deletes message").of(sequence), next);
                }
            }
            Phase::Tidy => {
                let view = View { last: state.last().map(|m| m.record), done: state.done().is_some() };
                let left =
                    state.jobs.iter().map(|m| &m.record).find(|r| self.defences.is_left_over(r, &view));
                let phase = left.map_or(Phase::Acknowledge, |r| Phase::Delete(r.sequence));
                moves.add(
                    Step::new(actor, "looks for what is left"),
                    with(rest.clone(), Command { phase, ..command }),
                );
            }
            Phase::Acknowledge | Phase::Running | Phase::Nak => {
                let mut next = rest.clone();
                next.seen.cancelled |= !command.release && next.seen.ends > 0;
                moves.add(Step::new(actor, "acknowledges its command"), next);
            }
        }
        if command.phase != Phase::Waiting
            && let Some(next) = self.after(Fault::OperatorCrash, &rest)
        {
            moves.add(Step::new(actor, "crashes"), with(next, waiting(command)));
        }
    }

    fn removal(&self, command: Command, read: &Read) -> Command {
        let removal = if command.release {
            self.defences.release(&read.view)
        } else {
            self.defences.cancel(&read.view)
        };
        match removal {
            // A cancel that was carried out before, and perhaps not to its last step.
            Removal::Ended if !command.release => Command { then_delete: 0, phase: Phase::Tidy, ..command },
            Removal::Nothing | Removal::Ended => Command { phase: Phase::Acknowledge, ..command },
            Removal::Write { token, purge_timer, then_delete } => {
                let due = self.scenario.flow_control;
                let (kind, end) = match command.release {
                    true if due => (Kind::Due, None),
                    true => (Kind::Ready, None),
                    false => (Kind::Done, Some(End::Cancelled)),
                };
                let history = read.last.map(|l| l.history).unwrap_or_default();
                let write =
                    Write { token, kind, history, handed_back: false, end, purge: purge_timer, nonce: 0 };
                Command { then_delete: then_delete.unwrap_or(0), phase: Phase::write(write), ..command }
            }
        }
    }
}

fn with(mut state: State, command: Command) -> State {
    state.commands.push(command);
    state
}

fn waiting(command: Command) -> Command {
    Command { then_delete: 0, phase: Phase::Waiting, ..command }
}

fn written(command: Command, write: Write, after: AfterWrite, silent: bool) -> Command {
    let phase = match after {
        AfterWrite::Won(_) if command.then_delete > 0 => Phase::Delete(command.then_delete),
        AfterWrite::Won(_) => Phase::Acknowledge,
        // Somebody moved it: whatever state it is in now.
        AfterWrite::Lost => Phase::read(Why::Command),
        AfterWrite::Compare => Phase::Compare(write),
        AfterWrite::Again => Phase::Write { write, silent },
    };
    Command { phase, ..command }
}
