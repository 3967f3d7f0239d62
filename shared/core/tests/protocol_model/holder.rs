//! Who was given a work message: a worker with a `ready`, a dispatcher with a `due`.

use windlass_core::Outcome;
use windlass_core::protocol::{AfterWrite, Answer, Kind, Opening, Stale, Standing};

use crate::model::Protocol;
use crate::publish::{Tried, compare};
use crate::reading::{Read, Reading};
use crate::scenario::Fault;
use crate::state::{End, Holder, Phase, State, Why, Write};
use crate::step::{Actor, Moves, Step};

impl Protocol {
    /// A delivery begins.
    pub(crate) fn open(&self, state: &mut State, holder: &mut Holder) {
        if holder.due {
            // Letting a message through is a conditional write, so nothing must be claimed; but a timer that fires
            // after the end would pass the condition, so it is always checked.
            holder.phase = Phase::read(Why::Check);
            if !self.defences.fired_check {
                holder.phase = Phase::write(self.promotion(holder));
            }
            return;
        }
        match self.defences.opening(holder.delivery()) {
            Opening::Run => start(state, holder, holder.work),
            Opening::Check => holder.phase = Phase::read(Why::Glance),
            Opening::Claim => holder.phase = Phase::read(Why::Claim),
        }
    }

    pub(crate) fn holder_moves(&self, moves: &mut Moves<'_>, index: usize) {
        let holder = moves.from.holders[index];
        let mut rest = moves.from.clone();
        rest.holders.remove(index);
        let actor = Actor::holder(&holder);
        match holder.phase {
            Phase::Read { why: Why::Claim, .. } if holder.overdue && self.defences.drop_overdue_claim => {
                moves.add(Step::new(actor, "drops its overdue claim"), rest.clone());
            }
            Phase::Write { write, .. }
                if holder.overdue && self.defences.drop_overdue_claim && holder.claims(&write) =>
            {
                moves.add(Step::new(actor, "drops its overdue claim"), rest.clone());
            }
            Phase::Read { why, last, done } => {
                for (words, reading) in self.read(&rest, why, last, done) {
                    let next = match reading {
                        Reading::Goes(phase) => with(rest.clone(), Holder { phase, ..holder }),
                        Reading::Ends(read) => self.decide(rest.clone(), holder, why, &read),
                    };
                    moves.add(Step::new(actor, words), next);
                }
            }
            Phase::Running => self.settle(moves, &rest, &holder),
            Phase::Write { write, silent } => {
                self.write(moves, &rest, &holder, write, silent);
                if silent {
                    let mut next = rest.clone();
                    if holder.token > 0 && is_claim(&write) {
                        // A checkpoint that is perhaps saved: the handler is told so, and goes on.
                        next.seen.losses += 1;
                        next = with(next, Holder { phase: Phase::Running, ..holder });
                    } else if self.defences.unacknowledged_at_deadline {
                        next.seen.losses += 1;
                    } else {
                        next = with(next, Holder { phase: Phase::Acknowledge, ..holder });
                    }
                    moves.add(Step::new(actor, "gives up at its deadline"), next);
                }
            }
            Phase::Compare(write) => {
                let after = compare(&rest, &write);
                let words =
                    if after == AfterWrite::Lost { "it is not its own write" } else { "it is its own write" };
                let step = Step::new(actor, "compares the last message").answered(words);
                moves.add(step, written(rest.clone(), holder, write, after, true));
            }
            Phase::Nak if holder.overdue && self.defences.drop_overdue_nak => {
                moves.add(Step::new(actor, "leaves the message to its next delivery"), rest.clone());
            }
            Phase::Nak => {
                let mut next = rest.clone();
                // It takes the message from whoever has it.
                for other in next.holders.iter_mut().filter(|h| h.work == holder.work && h.leased) {
                    other.leased = false;
                    next.seen.losses += 1;
                }
                moves.add(Step::new(actor, "asks for another delivery of message").of(holder.work), next);
            }
            Phase::Delete(sequence) => {
                let mut next = rest.clone();
                next.remove(sequence);
                if !rest.is_proposing() {
                    moves.add(Step::new(actor, "deletes the claim").of(sequence), next);
                }
            }
            Phase::Acknowledge | Phase::Waiting | Phase::Tidy => {
                let mut next = rest.clone();
                next.remove(holder.work);
                if holder.claim > 0 {
                    next = with(next, Holder { phase: Phase::Delete(holder.claim), ..holder });
                }
                moves.add(Step::new(actor, "acknowledges message").of(holder.work), next);
            }
        }
        self.holder_faults(moves, &rest, &holder);
    }

    fn holder_faults(&self, moves: &mut Moves<'_>, rest: &State, holder: &Holder) {
        if holder.leased
            && let Some(mut next) = self.after(Fault::LeaseEnds, rest)
        {
            next.seen.losses += 1;
            let next = with(next, Holder { leased: false, overdue: true, ..*holder });
            moves.add(Step::new(Actor::Broker, "ends the lease of message").of(holder.work), next);
        }
        let fault = if holder.due { Fault::DispatcherCrash } else { Fault::WorkerCrash };
        if let Some(mut next) = self.after(fault, rest) {
            next.seen.losses += 1;
            let valid = holder.token == rest.last_sequence() && rest.seen.ends == 0;
            next.seen.crashed |= holder.phase == Phase::Running && valid;
            moves.add(Step::new(Actor::holder(holder), "crashes"), next);
        }
    }

    /// The handler returns, or its worker is told to stop.
    fn settle(&self, moves: &mut Moves<'_>, rest: &State, holder: &Holder) {
        let write = |kind, history, end| Write {
            token: holder.token,
            kind,
            history,
            handed_back: false,
            end,
            purge: false,
            nonce: 0,
        };
        let succeeds = write(Kind::Done, holder.history, Some(End::Succeeded));
        self.write(moves, rest, holder, succeeds, false);
        let failed = holder.history.with(Outcome::Failed);
        let fails = if self.defences.is_tried_again(&self.policy, failed) {
            write(Kind::Later, failed, None)
        } else {
            write(Kind::Done, failed, Some(End::Dead))
        };
        self.write(moves, rest, holder, fails, false);
        if let Some(mut saved) = self.after(Fault::Checkpoint, rest) {
            saved.seen.saves += 1;
            let claim = write(Kind::Claim { work: holder.work }, holder.history, None);
            self.write(moves, &saved, holder, claim, false);
        }
        if let Some(stopped) = self.after(Fault::HandBack, rest) {
            let history = holder.history.with(Outcome::HandedBack);
            let claim = write(Kind::Claim { work: holder.work }, history, None);
            self.write(moves, &stopped, holder, Write { handed_back: true, ..claim }, false);
        }
    }

    fn write(&self, moves: &mut Moves<'_>, rest: &State, holder: &Holder, write: Write, silent: bool) {
        let does = match write.kind {
            Kind::Claim { .. } if write.handed_back => "hands back by a claim on token",
            Kind::Claim { .. } if holder.token > 0 => "saves a checkpoint by a claim on token",
            Kind::Claim { .. } => "claims on token",
            Kind::Done if write.end == Some(End::Dead) => "ends the job as dead on token",
            Kind::Done => "ends the job on token",
            Kind::Later => "sets the timer of its next attempt on token",
            _ => "lets the job through on token",
        };
        let step = Step::new(Actor::holder(holder), does).of(write.token);
        for Tried { state: next, write, words, answer } in self.publish(rest, write) {
            let silent = silent || matches!(answer, Answer::Silent | Answer::Undecided);
            let after = self.defences.after_write(answer, silent);
            moves.add(step.answered(words), written(next, *holder, write, after, silent));
        }
    }

    /// Both records are read.
    fn decide(&self, mut next: State, mut holder: Holder, why: Why, read: &Read) -> State {
        let stale = match why {
            Why::Glance => {
                if self.defences.is_in_force(holder.work, &read.view) {
                    let token = holder.work;
                    start(&mut next, &mut holder, token);
                } else {
                    holder.phase = Phase::read(Why::Check);
                }
                return with(next, holder);
            }
            Why::Check => match self.defences.check(holder.work, &read.view) {
                Standing::Mine { .. } if holder.due => {
                    holder.phase = Phase::write(self.promotion(&holder));
                    return with(next, holder);
                }
                Standing::Mine { token } => {
                    start(&mut next, &mut holder, token);
                    return with(next, holder);
                }
                Standing::NotMine(stale) => stale,
            },
            Why::Claim => match self.defences.claim(holder.work, &read.view) {
                Standing::Mine { token } => {
                    holder.phase = Phase::write(self.claim_of(&holder, read, token));
                    return with(next, holder);
                }
                Standing::NotMine(stale) => stale,
            },
            Why::Refused | Why::Command => self.defences.refused(holder.work, &read.view),
        };
        match stale {
            Stale::Acknowledge => with(next, Holder { phase: Phase::Acknowledge, ..holder }),
            Stale::Abandon => next,
        }
    }

    fn claim_of(&self, holder: &Holder, read: &Read, token: u64) -> Write {
        let mut history = holder.history;
        if let Some(last) = read.last {
            history = last.history;
            if let Some(lost) =
                self.defences.lost_attempt(holder.delivery(), last.record.kind, last.handed_back)
            {
                history = history.with(lost);
            }
        }
        let kind = Kind::Claim { work: holder.work };
        Write { token, kind, history, handed_back: false, end: None, purge: false, nonce: 0 }
    }

    #[allow(clippy::unused_self, reason = "as its neighbours")]
    fn promotion(&self, holder: &Holder) -> Write {
        Write {
            token: holder.work,
            kind: Kind::Ready,
            history: holder.history,
            handed_back: false,
            end: None,
            purge: false,
            nonce: 0,
        }
    }
}

fn with(mut state: State, holder: Holder) -> State {
    state.holders.push(holder);
    state
}

/// Whether it claims without handing back.
fn is_claim(write: &Write) -> bool {
    matches!(write.kind, Kind::Claim { .. }) && !write.handed_back
}

impl Holder {
    /// Whether it is the claim of a holder that has not started.
    fn claims(&self, write: &Write) -> bool {
        self.token == 0 && is_claim(write)
    }
}

/// The handler starts, under this token.
fn start(state: &mut State, holder: &mut Holder, token: u64) {
    state.seen.starts += 1;
    state.seen.started_late |= state.seen.cancelled;
    holder.token = token;
    holder.phase = Phase::Running;
}

/// A write has an answer, or a comparison.
fn written(mut next: State, mut holder: Holder, write: Write, after: AfterWrite, silent: bool) -> State {
    match after {
        AfterWrite::Won(sequence) => match write.kind {
            Kind::Claim { .. } if write.handed_back => holder.phase = Phase::Nak,
            Kind::Claim { .. } if holder.token > 0 => {
                holder.claim = sequence;
                holder.token = sequence;
                holder.phase = Phase::Running;
            }
            Kind::Claim { .. } => {
                holder.claim = sequence;
                holder.history = write.history;
                start(&mut next, &mut holder, sequence);
            }
            _ => holder.phase = Phase::Acknowledge,
        },
        AfterWrite::Lost => holder.phase = Phase::read(Why::Refused),
        AfterWrite::Compare => holder.phase = Phase::Compare(write),
        AfterWrite::Again => holder.phase = Phase::Write { write, silent },
    }
    with(next, holder)
}
