//! The decisions of `windlass_core::protocol`, each of which can be left out.

use std::time::Duration;

use jiff::Timestamp;
use windlass_core::attempt;
use windlass_core::protocol::{
    self, AfterWrite, Answer, Delivery, Kind, Opening, Record, Removal, Stale, Standing, View,
};
use windlass_core::settle::{self, AfterFailure, Failed};
use windlass_core::{JobId, Outcome, RetryPolicy};

use crate::state::History;

/// What the protocol does against faults. A model without one of them is the protocol without that rule.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "each is left out by itself")]
pub(crate) struct Defences {
    /// Transitions are conditional.
    pub(crate) condition: bool,
    /// A redelivered message is claimed before it runs.
    pub(crate) claim: bool,
    /// A claim may be written on an earlier claim of the same message.
    pub(crate) claim_over_claim: bool,
    /// A first delivery after a reconnection is claimed.
    pub(crate) suspect: bool,
    /// A fired message is checked before it runs.
    pub(crate) fired_check: bool,
    /// Checks and claims ask for a `done`.
    pub(crate) done_check: bool,
    /// The last message is read before the `done`.
    pub(crate) read_order: bool,
    /// Reads come from the leader.
    pub(crate) leader_reads: bool,
    /// A refused holder leaves the message to its new holder.
    pub(crate) abandon: bool,
    /// A refused holder acknowledges what nobody needs.
    pub(crate) acknowledge_stale: bool,
    /// 10164 is tried again, not taken for a refusal.
    pub(crate) undecided_again: bool,
    /// A write that is not decided by its deadline leaves its message unacknowledged.
    pub(crate) unacknowledged_at_deadline: bool,
    /// After silence, a refusal is compared before it is believed.
    pub(crate) compare: bool,
    /// An end is forgotten only once all work of before is settled.
    pub(crate) settled_first: bool,
    /// A create is dropped once its task was held for `ack_wait`.
    pub(crate) drop_overdue_create: bool,
    /// A claim is dropped once its message was held for `ack_wait`, or the connection was lost.
    pub(crate) drop_overdue_claim: bool,
    /// Who knows that its lease may have ended does not ask for another delivery.
    pub(crate) drop_overdue_nak: bool,
    /// A claim records the crash that led to it.
    pub(crate) record_crash: bool,
    /// A hand-back's claim says so.
    pub(crate) hand_back_marker: bool,
    /// Only failures count against the policy.
    pub(crate) only_failures_count: bool,
    /// A release removes the timer in the same write.
    pub(crate) purge_in_release: bool,
    /// A cancel removes the timer in the same write.
    pub(crate) purge_in_cancel: bool,
    /// A cancel deletes the waiting message afterwards.
    pub(crate) delete_in_cancel: bool,
}

impl Defences {
    pub(crate) const ALL: Self = Self {
        condition: true,
        claim: true,
        claim_over_claim: true,
        suspect: true,
        fired_check: true,
        done_check: true,
        read_order: true,
        leader_reads: true,
        abandon: true,
        acknowledge_stale: true,
        undecided_again: true,
        unacknowledged_at_deadline: true,
        compare: true,
        settled_first: true,
        drop_overdue_create: true,
        drop_overdue_claim: true,
        drop_overdue_nak: true,
        record_crash: true,
        hand_back_marker: true,
        only_failures_count: true,
        purge_in_release: true,
        purge_in_cancel: true,
        delete_in_cancel: true,
    };

    pub(crate) fn opening(&self, delivery: Delivery) -> Opening {
        let known = Delivery { suspect: delivery.suspect && self.suspect, ..delivery };
        match protocol::opening(known) {
            // Without the claim, a redelivery is held to be a first delivery.
            Opening::Claim if !self.claim => {
                self.opening_of_first(Delivery { count: 1, suspect: false, ..delivery })
            }
            Opening::Claim => Opening::Claim,
            Opening::Check | Opening::Run => self.opening_of_first(known),
        }
    }

    fn opening_of_first(&self, delivery: Delivery) -> Opening {
        match protocol::opening(delivery) {
            Opening::Check if !self.fired_check => Opening::Run,
            opening => opening,
        }
    }

    fn known(&self, view: &View) -> View {
        View { done: view.done && self.done_check, ..*view }
    }

    fn stale(&self, stale: Stale) -> Stale {
        match stale {
            Stale::Abandon if !self.abandon => Stale::Acknowledge,
            Stale::Acknowledge if !self.acknowledge_stale => Stale::Abandon,
            stale => stale,
        }
    }

    fn standing(&self, standing: Standing) -> Standing {
        match standing {
            Standing::NotMine(stale) => Standing::NotMine(self.stale(stale)),
            mine @ Standing::Mine { .. } => mine,
        }
    }

    pub(crate) fn is_in_force(&self, work: u64, view: &View) -> bool {
        let last = view.last.map_or(0, |last| last.sequence);
        // Which sequence an end has is not looked at.
        protocol::is_in_force(work, last, self.known(view).done.into())
    }

    pub(crate) fn check(&self, work: u64, view: &View) -> Standing {
        self.standing(protocol::check(work, &self.known(view)))
    }

    pub(crate) fn claim(&self, work: u64, view: &View) -> Standing {
        match view.last {
            Some(Record { kind: Kind::Claim { .. }, .. }) if !self.claim_over_claim => {
                Standing::NotMine(self.stale(protocol::refused(work, view)))
            }
            _ => self.standing(protocol::claim(work, &self.known(view))),
        }
    }

    pub(crate) fn refused(&self, work: u64, view: &View) -> Stale {
        self.stale(protocol::refused(work, view))
    }

    pub(crate) fn after_write(&self, answer: Answer, silent: bool) -> AfterWrite {
        match (answer, protocol::after_write(answer, silent)) {
            (Answer::Undecided, _) if !self.undecided_again => AfterWrite::Lost,
            (_, AfterWrite::Compare) if !self.compare => AfterWrite::Lost,
            (_, after) => after,
        }
    }

    pub(crate) fn cancel(&self, view: &View) -> Removal {
        match protocol::cancel(view) {
            Removal::Write { token, purge_timer, then_delete } => Removal::Write {
                token,
                purge_timer: purge_timer && self.purge_in_cancel,
                then_delete: then_delete.filter(|_| self.delete_in_cancel),
            },
            removal => removal,
        }
    }

    pub(crate) fn is_left_over(&self, record: &Record, view: &View) -> bool {
        self.delete_in_cancel && protocol::is_left_over(record, view)
    }

    pub(crate) fn release(&self, view: &View) -> Removal {
        match protocol::release(view) {
            Removal::Write { token, purge_timer, then_delete } => {
                Removal::Write { token, purge_timer: purge_timer && self.purge_in_release, then_delete }
            }
            removal => removal,
        }
    }

    /// What a claim adds to the history.
    pub(crate) fn lost_attempt(&self, delivery: Delivery, last: Kind, handed_back: bool) -> Option<Outcome> {
        protocol::lost_attempt(delivery, last, handed_back && self.hand_back_marker)
            .filter(|_| self.record_crash)
    }

    /// Whether another attempt follows these.
    pub(crate) fn is_tried_again(&self, policy: &RetryPolicy, history: History) -> bool {
        let attempts = history.attempts();
        if self.only_failures_count {
            let failed = Failed {
                job_id: JobId::from_parts(Timestamp::UNIX_EPOCH, [0; 10]),
                attempts: &attempts,
                terminal: false,
                retry_after: None,
                elapsed: Duration::ZERO,
            };
            matches!(settle::after_failure(policy, &failed), AfterFailure::Retry(_))
        } else {
            policy.delay(attempt::next_number(&attempts) - 1, 0.0).is_some()
        }
    }
}
