//! What happens without anybody's asking: deliveries, timers, expiries, publishers, operators who decide.

use windlass_core::protocol::{self, Kind, Record, View};

use crate::model::Protocol;
use crate::scenario::Fault;
use crate::state::{Command, Dispatcher, Holder, Message, Phase, State, Write};
use crate::step::{Actor, Moves, Step};

/// Slots, and dispatchers that hold the task, at one time.
const AT_ONCE: usize = 2;

impl Protocol {
    pub(crate) fn broker_moves(&self, moves: &mut Moves<'_>) {
        self.task_moves(moves);
        for message in &moves.from.jobs {
            match message.record.kind {
                Kind::Later if !moves.from.is_proposing() => self.fire(moves, message),
                Kind::Ready | Kind::Due => self.deliver(moves, message),
                Kind::Claim { .. } if moves.from.seen.ends == 0 => {
                    if let Some(mut next) = self.after(Fault::ClaimExpires, moves.from) {
                        next.seen.losses += 1;
                        next.seen.excused = true;
                        next.remove(message.record.sequence);
                        moves.add(step("lets expire, too early, the claim", message), next);
                    }
                }
                _ => {}
            }
        }
        replaced_claims(moves);
        self.operator_decides(moves);
        self.floating_moves(moves);
        if self.scenario.horizon {
            self.horizon(moves);
        }
        if self.scenario.forgets {
            self.forget(moves);
        }
        if self.scenario.reconciler {
            reconcile(moves);
        }
    }

    fn task_moves(&self, moves: &mut Moves<'_>) {
        let state = moves.from;
        if state.tasks > 0 && state.dispatchers.len() < AT_ONCE {
            let mut next = state.clone();
            next.tasks -= 1;
            let phase = Phase::write(Write {
                token: 0,
                kind: state.creates,
                history: <_>::default(),
                handed_back: false,
                end: None,
                purge: false,
                nonce: 0,
            });
            next.dispatchers.push(Dispatcher { overdue: false, phase });
            moves.add(Step::new(Actor::Broker, "delivers the task"), next);
        }
        // Duplicates are refused for the horizon, not for ever.
        let refusable = state.seen.ends == 0 || state.done().is_some();
        if refusable
            && usize::from(state.tasks) + state.dispatchers.len() < AT_ONCE
            && let Some(mut next) = self.after(Fault::DuplicateSubmit, state)
        {
            next.tasks += 1;
            moves.add(Step::new(Actor::Publisher, "submits the task again"), next);
        }
    }

    fn fire(&self, moves: &mut Moves<'_>, timer: &Message) {
        let state = moves.from;
        let kind = if self.scenario.flow_control { Kind::Due } else { Kind::Ready };
        let fires = |mut next: State, times: u64, survives: bool| {
            if !survives {
                next.remove(timer.record.sequence);
            }
            for _ in 0..times {
                let record = Record { sequence: next.next, kind };
                next.next += 1;
                // A fired message keeps the body of its timer, nonce included.
                next.jobs.push(Message { record, fired: true, count: 0, suspect: false, ..*timer });
            }
            next.seen.fired_late |= next.seen.ends > 0;
            next
        };
        moves.add(step("fires the timer", timer), fires(state.clone(), 1, false));
        if let Some(mut next) = self.after(Fault::FiresTwice, state) {
            next.seen.excused = true;
            moves.add(step("fires twice the timer", timer), fires(next, 2, false));
        }
        if let Some(mut next) = self.after(Fault::TimerSurvives, state) {
            next.seen.excused = true;
            moves.add(step("fires, and keeps, the timer", timer), fires(next, 1, true));
        }
    }

    fn deliver(&self, moves: &mut Moves<'_>, message: &Message) {
        let state = moves.from;
        let work = message.record.sequence;
        let leased = state.holders.iter().any(|h| h.work == work && h.leased);
        if !leased && state.holders.len() < AT_ONCE {
            let mut next = state.clone();
            let count = (message.count + 1).min(3);
            if let Some(m) = next.jobs.iter_mut().find(|m| m.record.sequence == work) {
                m.count = count;
            }
            let mut holder = Holder {
                work,
                count,
                fired: message.fired,
                suspect: message.suspect,
                due: message.record.kind == Kind::Due,
                leased: true,
                overdue: false,
                token: 0,
                claim: 0,
                history: message.history,
                phase: Phase::Running,
            };
            self.open(&mut next, &mut holder);
            next.holders.push(holder);
            moves.add(
                step(if count > 1 { "delivers again message" } else { "delivers message" }, message),
                next,
            );
        }
        for (fault, words) in [
            (Fault::Forgets, "is killed, and forgets that it delivered message"),
            (Fault::ForgetsUnnoticed, "is killed unseen, and forgets that it delivered message"),
        ] {
            if leased && let Some(mut next) = self.after(fault, state) {
                next.seen.losses += 1;
                next.seen.excused = true;
                next.seen.forgot_unnoticed |= fault == Fault::ForgetsUnnoticed;
                for holder in next.holders.iter_mut().filter(|h| h.work == work) {
                    holder.leased = false;
                    holder.overdue |= fault == Fault::Forgets;
                }
                if let Some(m) = next.jobs.iter_mut().find(|m| m.record.sequence == work) {
                    m.count = 0;
                    m.suspect = fault == Fault::Forgets;
                }
                moves.add(step(words, message), next);
            }
        }
    }

    fn operator_decides(&self, moves: &mut Moves<'_>) {
        let state = moves.from;
        let asks = |mut next: State, release| {
            next.commands.push(Command { release, then_delete: 0, phase: Phase::Waiting });
            next
        };
        let room = state.commands.len() < AT_ONCE;
        let has = |kind| state.jobs.iter().any(|m| m.record.kind == kind);
        let release = Step::new(Actor::Releaser, "is asked to release the job");
        if has(Kind::Held) && state.commands.iter().all(|c| !c.release) {
            moves.add(release, asks(state.clone(), true));
        }
        if room
            && (has(Kind::Held) || has(Kind::Later))
            && let Some(next) = self.after(Fault::ReleaseAgain, state)
        {
            moves.add(release, asks(next, true));
        }
        if room
            && !state.jobs.is_empty()
            && state.seen.ends == 0
            && state.commands.iter().all(|c| c.release)
            && let Some(next) = self.after(Fault::Cancel, state)
        {
            moves.add(Step::new(Actor::Canceller, "is asked to cancel the job"), asks(next, false));
        }
    }

    /// The `done` expires: its horizon outlasts every lease, read and command, and the reconciler has removed what
    /// was left. Only a create has a condition that holds again.
    fn horizon(&self, moves: &mut Moves<'_>) {
        let state = moves.from;
        let over = state.tasks == 0
            && state.holders.is_empty()
            && state.commands.is_empty()
            && state.dispatchers.iter().all(|d| d.overdue)
            && !state.jobs.iter().any(Message::is_work);
        if state.done().is_some() && over && !state.is_proposing() {
            let mut next = state.clone();
            next.jobs.clear();
            // A client's buffer drops it too.
            next.floating = next.floating.filter(|f| f.write.token > 0 || !self.defences.drop_overdue_create);
            moves.add(Step::new(Actor::Clock, "passes the horizon).of(and the done expires"), next);
        }
    }

    /// The ends of a queue are forgotten, and before them the claims: holders may still run, whose work is gone, and
    /// operators may have read what is gone. A create that is on its way is older than its task's lease by then.
    fn forget(&self, moves: &mut Moves<'_>) {
        let state = moves.from;
        let settled = !state.jobs.iter().any(Message::is_work) || !self.defences.settled_first;
        let dealt_with = state.tasks == 0 && state.dispatchers.iter().all(|d| d.overdue);
        let carried_out = state.commands.is_empty();
        if state.done().is_none() || !settled || !dealt_with || !carried_out || state.is_proposing() {
            return;
        }
        let is_claim = |m: &Message| matches!(m.record.kind, Kind::Claim { .. });
        let mut next = state.clone();
        if state.jobs.iter().any(is_claim) {
            next.jobs.retain(|m| !is_claim(m));
            moves.add(Step::new(Actor::Reconciler, "forgets the claims"), next);
        } else {
            next.jobs.retain(|m| m.record.kind != Kind::Done);
            next.floating = next.floating.filter(|f| f.write.token > 0 || !self.defences.drop_overdue_create);
            moves.add(Step::new(Actor::Reconciler, "forgets the end"), next);
        }
    }
}

fn step(does: &'static str, message: &Message) -> Step {
    Step::new(Actor::Broker, does).of(message.record.sequence)
}

/// Whoever claims deletes the claim that it replaced, some time after.
fn replaced_claims(moves: &mut Moves<'_>) {
    let state = moves.from;
    let claims = || state.jobs.iter().map(|m| m.record).filter(|r| matches!(r.kind, Kind::Claim { .. }));
    let newest = claims().map(|claim| claim.sequence).max();
    for claim in claims().filter(|claim| Some(claim.sequence) < newest && !state.is_proposing()) {
        let mut next = state.clone();
        next.remove(claim.sequence);
        moves.add(
            Step::new(Actor::Worker { work: 0, count: 0 }, "deletes the replaced claim").of(claim.sequence),
            next,
        );
    }
}

fn reconcile(moves: &mut Moves<'_>) {
    let state = moves.from;
    let view = View { last: state.last().map(|m| m.record), done: state.done().is_some() };
    for message in state.jobs.iter().filter(|m| protocol::is_left_over(&m.record, &view)) {
        let mut next = state.clone();
        next.remove(message.record.sequence);
        moves.add(
            Step::new(Actor::Reconciler, "deletes the left-over message").of(message.record.sequence),
            next,
        );
    }
}
