//! Conditional publishes, and all that can become of one.

use windlass_core::protocol::{AfterWrite, Answer, Kind, Record};

use crate::model::Protocol;
use crate::scenario::Fault;
use crate::state::{Floating, Message, State, Write};
use crate::step::{Actor, Moves, Step};

/// What became of one try.
pub(crate) struct Tried {
    pub(crate) state: State,
    /// With the nonce by which a retry is known.
    pub(crate) write: Write,
    pub(crate) words: &'static str,
    pub(crate) answer: Answer,
}

impl Protocol {
    /// Every possible course of one conditional publish.
    pub(crate) fn publish(&self, state: &State, write: Write) -> Vec<Tried> {
        let tried = |state, words, answer| Tried { state, write, words, answer };
        if state.is_proposing() {
            // This try is not the write in flight, so nothing of it can stand later, and it needs no nonce.
            return vec![tried(state.clone(), "10164, another write is in flight", Answer::Undecided)];
        }
        let mut all = Vec::new();
        let holds = write.token == state.last_sequence() || !self.defences.condition;
        if holds {
            let mut stored = state.clone();
            let sequence = apply(&mut stored, &write, true);
            all.push(tried(stored, "stored", Answer::Stored(sequence)));
            let races = write.purge && kind_of(state, write.token) == Some(Kind::Later);
            if races && let Some(mut survived) = self.after(Fault::TimerSurvives, state) {
                survived.seen.excused = true;
                let sequence = apply(&mut survived, &write, false);
                all.push(tried(
                    survived,
                    "stored, but the timer outlives its purge",
                    Answer::Stored(sequence),
                ));
            }
            if let Some(mut lost) = self.after(Fault::AnswerLost, state) {
                let write = named(&lost, write);
                apply(&mut lost, &write, true);
                all.push(Tried {
                    state: lost,
                    write,
                    words: "stored, and the answer is lost",
                    answer: Answer::Silent,
                });
            }
        } else {
            all.push(tried(state.clone(), "refused", Answer::Refused));
        }
        if state.floating.is_none() {
            let ways = [
                (Fault::InFlight, true, "no answer, proposed and not yet decided"),
                (Fault::Delayed, false, "no answer, not yet arrived"),
            ];
            for (fault, proposed, words) in ways {
                if (holds || !proposed)
                    && let Some(mut state) = self.after(fault, state)
                {
                    let write = named(&state, write);
                    state.floating = Some(Floating { write, proposed });
                    all.push(Tried { state, write, words, answer: Answer::Silent });
                }
            }
        }
        all
    }

    /// What a write that had no answer does later.
    pub(crate) fn floating_moves(&self, moves: &mut Moves<'_>) {
        let state = moves.from;
        let Some(Floating { write, proposed }) = state.floating else { return };
        let mut gone = state.clone();
        gone.floating = None;
        let mut stored = gone.clone();
        let holds = write.token == state.last_sequence() || !self.defences.condition;
        let does =
            if proposed { "decides the write on token" } else { "receives the delayed write on token" };
        let step = Step::new(Actor::Broker, does).of(write.token);
        if proposed || holds {
            apply(&mut stored, &write, true);
            moves.add(step.answered("stored"), stored);
        }
        moves.add(step.answered(if proposed { "it vanishes" } else { "refused, or never" }), gone);
    }
}

/// Whether the last message is this write: what is read after a refusal that follows silence.
pub(crate) fn compare(state: &State, write: &Write) -> AfterWrite {
    match state.last() {
        Some(last) if write.nonce > 0 && last.nonce == write.nonce => AfterWrite::Won(last.record.sequence),
        _ => AfterWrite::Lost,
    }
}

/// The write with a nonce of its own, from its first try without an answer on.
fn named(state: &State, write: Write) -> Write {
    if write.nonce > 0 { write } else { Write { nonce: state.fresh_nonce(), ..write } }
}

fn kind_of(state: &State, sequence: u64) -> Option<Kind> {
    state.jobs.iter().find(|m| m.record.sequence == sequence).map(|m| m.record.kind)
}

fn apply(state: &mut State, write: &Write, purges: bool) -> u64 {
    if write.purge && purges {
        let timer = kind_of(state, write.token);
        state.jobs.retain(|m| Some(m.record.kind) != timer);
    }
    let sequence = state.next;
    state.next += 1;
    match write.kind {
        Kind::Done => state.seen.ends += 1,
        // Another attempt is due.
        Kind::Later if write.token > 0 => state.seen.starts = state.seen.starts.saturating_sub(1),
        _ => {}
    }
    state.jobs.push(Message {
        record: Record { sequence, kind: write.kind },
        fired: false,
        count: 0,
        suspect: false,
        history: write.history,
        handed_back: write.handed_back,
        end: write.end,
        nonce: write.nonce,
    });
    sequence
}
