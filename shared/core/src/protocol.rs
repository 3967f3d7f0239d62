//! The decisions of the JOBS protocol, one pure function each.
//!
//! A job has one last message in JOBS, and that message's stream sequence is the fencing token (Kleppmann, "How to do
//! distributed locking", 2016). Every transition is a publish on the condition that the token is still last. The
//! worker, the dispatcher, the reconciler and the model in `tests/` all call these functions; what differs is only
//! who reads and writes. A [`View`] comes from the stream's leader, never from a replica.
//!
//! The invariants, proved by exhausting the model: at most one `done`; never two holders of one valid token; nothing
//! lost or stuck. Each function says which of them it defends.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::attempt::Outcome;
use crate::state::RecordKind;

/// A timer that is later than this is stuck: a leader's loss delays one by about six seconds.
const OVERDUE_AFTER: SignedDuration = SignedDuration::from_secs(15);

/// A message of one job in JOBS, as much of it as the protocol looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Record {
    /// Its stream sequence: the token, while it is last.
    pub sequence: u64,
    /// What it is.
    pub kind: Kind,
}

/// What a message is. As [`RecordKind`], but a claim names the work message that it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A timer.
    Later,
    /// A timer set far away.
    Held,
    /// For the dispatcher.
    Due,
    /// For a worker.
    Ready,
    /// The token of a redelivered message.
    Claim {
        /// Sequence of the message that it claims.
        work: u64,
    },
    /// The end.
    Done,
}

/// One job as its leader's stream shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct View {
    /// The message with the highest sequence.
    pub last: Option<Record>,
    /// Whether a `done` exists, last or not: a timer that fires late comes after it.
    pub done: bool,
}

/// How a work message reached its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Delivery {
    /// The broker's delivery count, from 1.
    pub count: u64,
    /// The broker published it when a timer ended.
    pub fired: bool,
    /// One of the first deliveries after a (re)connection or on a new durable: a broker that was killed just after
    /// delivering forgets that it did and counts from 1 again.
    pub suspect: bool,
}

/// What must come before the handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opening {
    /// Nothing: the message's sequence is the token.
    Run,
    /// A view, see [`check`].
    Check,
    /// A view, see [`claim`], and a conditional write of a claim.
    Claim,
}

/// What a view says to somebody who wants to hold a work message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It may: this is the token, or the condition of the claim that becomes it.
    Mine {
        /// Sequence that must still be last.
        token: u64,
    },
    /// It may not.
    NotMine(Stale),
}

/// What becomes of the work message of somebody who does not hold the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stale {
    /// The job has moved on: the message has no owner and is acknowledged.
    Acknowledge,
    /// Another holder has it, or will: drop all, and do not acknowledge.
    Abandon,
}

/// What the broker answered to one conditional publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Stored, under this sequence.
    Stored(u64),
    /// The condition does not hold (10071).
    Refused,
    /// Another write is in flight and may yet vanish with its leader (10164), or the broker is not able just now.
    Undecided,
    /// No answer within the time: the write may or may not be stored, now or later.
    Silent,
}

/// What to do after an [`Answer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AfterWrite {
    /// The write is in force under this sequence.
    Won(u64),
    /// A rival's is.
    Lost,
    /// Read the last message and compare its nonce with the write's own: equal means won, else lost.
    Compare,
    /// Write again, with the same nonce, until the deadline.
    Again,
}

/// How to end or release a job from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Removal {
    /// There is no such job, or none any more.
    Nothing,
    /// It has ended: say its event again.
    Ended,
    /// Publish on the condition of `token`.
    Write {
        /// Sequence that must still be last.
        token: u64,
        /// Purge the timer in the same write, so that it cannot fire afterwards.
        purge_timer: bool,
        /// Delete this message in a second step: nobody needs to see it any more.
        then_delete: Option<u64>,
    },
}

/// What must come before a delivered work message runs.
///
/// Without the claim, a message that is delivered while its former holder still runs has two holders of one token:
/// acknowledgements do not fence. Without the check, a timer that fires twice, or after the end, runs again.
pub fn opening(delivery: Delivery) -> Opening {
    if delivery.count > 1 || delivery.suspect {
        Opening::Claim
    } else if delivery.fired {
        Opening::Check
    } else {
        Opening::Run
    }
}

/// Whether a fired message may run: only as the last message of a job that has not ended.
pub fn check(work: u64, view: &View) -> Standing {
    match view.last {
        Some(last) if last.sequence == work && !view.done => Standing::Mine { token: work },
        _ => Standing::NotMine(refused(work, view)),
    }
}

/// The same, where it may, by what is asked more cheaply: the sequence of the job's last message, and that of its `done`,
/// each 0 if there is none. In either order, other than a [`View`] for a decision about more than a delivered message.
pub fn is_in_force(work: u64, last: u64, done: u64) -> bool {
    last == work && done == 0
}

/// Whether a work message may be claimed, and on which condition: it, or an earlier claim of it, is last.
///
/// Only within `ack_wait` of the delivery, and over the connection that brought it: whoever claims later may fence the
/// holder that the message was delivered to since, which drops it, and so a single lost lease starts two attempts.
/// For the same reason a holder whose lease may have ended hands back without a nak.
pub fn claim(work: u64, view: &View) -> Standing {
    match view.last {
        Some(last)
            if !view.done
                && (last.sequence == work || matches!(last.kind, Kind::Claim { work: w } if w == work)) =>
        {
            Standing::Mine { token: last.sequence }
        }
        _ => Standing::NotMine(refused(work, view)),
    }
}

/// The attempt of a former holder that a claim ends, and so adds to the job's history. `last` is the message that the
/// claim is written on; `handed_back` says that it is itself a claim by which the former holder gave the job back, and
/// so names that attempt already.
///
/// A suspect first delivery that nobody has claimed may never have run: nothing is known of it, and nothing is said.
pub fn lost_attempt(delivery: Delivery, last: Kind, handed_back: bool) -> Option<Outcome> {
    match last {
        Kind::Claim { .. } if handed_back => None,
        Kind::Claim { .. } => Some(Outcome::Crashed),
        _ => (delivery.count > 1).then_some(Outcome::Crashed),
    }
}

/// Whether a delivery is older than the one that the last claim was made on: it lay in some buffer, of a worker that
/// slept perhaps, while the broker delivered the message again. To claim on it would take the job from its rightful
/// holder: safe, as all claims are, but an execution for which there was no fault. It is abandoned.
///
/// A broker that was killed counts from 1 again, so a suspect delivery may have a low count and be the latest. It passes
/// once the claim is older than a lease: were its holder alive, its heartbeats would have kept the broker from
/// delivering.
pub fn is_outdated(delivery: Delivery, claimed_count: u64, claim_age: Duration, ack_wait: Duration) -> bool {
    delivery.count <= claimed_count && (!delivery.suspect || claim_age < ack_wait)
}

/// What a holder whose conditional write was refused does with its work message.
///
/// Acknowledging a message that another holder has claimed loses the job, should that holder crash: abandoned, it is
/// delivered again. A claim that expired counts as another's: its work message is still to be done.
pub fn refused(work: u64, view: &View) -> Stale {
    if view.done {
        return Stale::Acknowledge;
    }
    match view.last {
        Some(Record { sequence, kind: Kind::Ready | Kind::Due | Kind::Later | Kind::Held })
            if sequence > work =>
        {
            Stale::Acknowledge
        }
        _ => Stale::Abandon,
    }
}

/// What an answer to a conditional publish means; `silent_before` if an earlier try of the same write had no answer,
/// and so may itself be the write that refuses this one.
pub fn after_write(answer: Answer, silent_before: bool) -> AfterWrite {
    match answer {
        Answer::Stored(sequence) => AfterWrite::Won(sequence),
        Answer::Refused if silent_before => AfterWrite::Compare,
        Answer::Refused => AfterWrite::Lost,
        Answer::Undecided | Answer::Silent => AfterWrite::Again,
    }
}

/// How to end a job from outside, whatever state it is in.
pub fn cancel(view: &View) -> Removal {
    let Some(last) = view.last else { return Removal::Nothing };
    if view.done {
        return Removal::Ended;
    }
    let (purge_timer, then_delete) = match last.kind {
        Kind::Later | Kind::Held => (true, None),
        Kind::Ready | Kind::Due => (false, Some(last.sequence)),
        Kind::Claim { work } => (false, Some(work)),
        Kind::Done => return Removal::Ended,
    };
    Removal::Write { token: last.sequence, purge_timer, then_delete }
}

/// How to let a waiting job run at once: fires its timer and removes it, in one write.
pub fn release(view: &View) -> Removal {
    match view.last {
        Some(_) if view.done => Removal::Ended,
        Some(Record { sequence, kind: Kind::Later | Kind::Held }) => {
            Removal::Write { token: sequence, purge_timer: true, then_delete: None }
        }
        // There is none, or it runs or is about to.
        None | Some(_) => Removal::Nothing,
    }
}

/// Whether the reconciler removes this message: what is left under a `done`. Work would run again once the `done` is
/// forgotten, and a claim would make its job look as if it ran.
pub fn is_left_over(record: &Record, view: &View) -> bool {
    view.done && record.kind != Kind::Done
}

/// Whether the reconciler fires this timer itself. The broker fires within a quarter of a second, or as soon as it is
/// back; but what it could not store when its time came, for want of space, it does not try again before it restarts.
/// Both instants are the broker's.
pub fn is_overdue(due_at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(due_at) > OVERDUE_AFTER
}

// === impl Kind ===

impl Kind {
    /// The word in the subject.
    pub const fn record_kind(self) -> RecordKind {
        match self {
            Self::Later => RecordKind::Later,
            Self::Held => RecordKind::Held,
            Self::Due => RecordKind::Due,
            Self::Ready => RecordKind::Ready,
            Self::Claim { .. } => RecordKind::Claim,
            Self::Done => RecordKind::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![
            Just(Kind::Later),
            Just(Kind::Held),
            Just(Kind::Due),
            Just(Kind::Ready),
            (1u64..6).prop_map(|work| Kind::Claim { work }),
            Just(Kind::Done),
        ]
    }

    fn view() -> impl Strategy<Value = View> {
        (
            proptest::option::of((1u64..6, kind()).prop_map(|(sequence, kind)| Record { sequence, kind })),
            any::<bool>(),
        )
            .prop_map(|(last, done)| View {
                last,
                done: done || matches!(last, Some(Record { kind: Kind::Done, .. })),
            })
    }

    proptest! {
        #[test]
        fn only_a_first_unsuspected_unfired_delivery_runs_at_once(count in 1u64..4, fired: bool, suspect: bool) {
            let opening = opening(Delivery { count, fired, suspect });
            prop_assert_eq!(opening == Opening::Run, count == 1 && !fired && !suspect);
            prop_assert_eq!(opening == Opening::Claim, count > 1 || suspect);
        }

        #[test]
        fn the_latest_delivery_is_never_outdated(count in 1u64..9, claimed in 0u64..9, fired: bool) {
            let (young, old, lease) = (Duration::from_secs(1), Duration::from_secs(9), Duration::from_secs(5));
            let delivery = Delivery { count, fired, suspect: false };
            prop_assert_eq!(is_outdated(delivery, claimed, old, lease), count <= claimed);
            let suspect = Delivery { suspect: true, ..delivery };
            prop_assert_eq!(is_outdated(suspect, claimed, young, lease), count <= claimed);
            prop_assert!(!is_outdated(suspect, claimed, old, lease));
        }

        #[test]
        fn nobody_holds_an_ended_job(work in 1u64..6, mut view in view()) {
            view.done = true;
            prop_assert_eq!(check(work, &view), Standing::NotMine(Stale::Acknowledge));
            prop_assert_eq!(claim(work, &view), Standing::NotMine(Stale::Acknowledge));
        }

        #[test]
        fn what_is_asked_cheaply_says_the_same(work in 1u64..6, view in view()) {
            let last = view.last.map_or(0, |last| last.sequence);
            let in_force = is_in_force(work, last, if view.done { 3 } else { 0 });
            prop_assert_eq!(in_force, matches!(check(work, &view), Standing::Mine { .. }));
        }

        #[test]
        fn a_token_is_always_the_last_sequence(work in 1u64..6, view in view()) {
            for standing in [check(work, &view), claim(work, &view)] {
                if let Standing::Mine { token } = standing {
                    prop_assert_eq!(Some(token), view.last.map(|l| l.sequence));
                }
            }
            for removal in [cancel(&view), release(&view)] {
                if let Removal::Write { token, .. } = removal {
                    prop_assert_eq!(Some(token), view.last.map(|l| l.sequence));
                    prop_assert!(!view.done);
                }
            }
        }

        #[test]
        fn work_under_anothers_claim_is_never_acknowledged(work in 1u64..6, sequence in 1u64..6, of in 1u64..6) {
            let view = View { last: Some(Record { sequence, kind: Kind::Claim { work: of } }), done: false };
            prop_assert_eq!(refused(work, &view), Stale::Abandon);
        }

        #[test]
        fn an_attempt_is_lost_only_where_somebody_had_it(count in 1u64..4, fired: bool, suspect: bool, last in kind()) {
            let delivery = Delivery { count, fired, suspect };
            let claimed = matches!(last, Kind::Claim { .. });
            let lost = lost_attempt(delivery, last, false);
            prop_assert_eq!(lost, (claimed || count > 1).then_some(Outcome::Crashed));
            let handed_back = lost_attempt(delivery, Kind::Claim { work: 1 }, true);
            prop_assert_eq!(handed_back, None);
        }

        #[test]
        fn undecided_is_never_taken_for_lost(silent_before: bool) {
            prop_assert_eq!(after_write(Answer::Undecided, silent_before), AfterWrite::Again);
            prop_assert_eq!(after_write(Answer::Silent, silent_before), AfterWrite::Again);
            prop_assert_eq!(after_write(Answer::Refused, true), AfterWrite::Compare);
        }
    }
}
