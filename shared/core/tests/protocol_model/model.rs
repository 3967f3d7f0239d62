//! The protocol as a `stateright` model, and what must hold in it.

use stateright::{Model, Property};
use windlass_core::RetryPolicy;
use windlass_core::protocol::Kind;

use crate::defences::Defences;
use crate::scenario::{Fault, Scenario};
use crate::state::{End, State};
use crate::step::{Move, Moves};

/// Failed attempts allowed.
const MAX_ATTEMPTS: u8 = 2;

/// One scenario under some defences.
#[derive(Debug, Clone)]
pub(crate) struct Protocol {
    pub(crate) scenario: Scenario,
    pub(crate) defences: Defences,
    pub(crate) policy: RetryPolicy,
    /// Which of the properties are checked.
    pub(crate) properties: &'static [Claim],
}

/// What must hold: a name, and whether a state keeps it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) name: &'static str,
    holds: fn(&Protocol, &State) -> bool,
}

/// Guarantee 1: never two ends.
pub(crate) const ONE_END: Claim = Claim { name: "a job ends once", holds: |_, s| s.seen.ends <= 1 };

/// Guarantee 1: where nothing is left to do, the job has ended. That no state is caught in a circle short of this is
/// for [`crate::progress`] to show.
pub(crate) const NOTHING_LOST: Claim =
    Claim { name: "no job is lost", holds: |_, s| !s.is_idle() || s.seen.ends > 0 };

/// Guarantee 1: extra executions never exceed the faults and the operators' races that caused them.
pub(crate) const FEW_EXTRA: Claim = Claim {
    name: "extra attempts never exceed the faults",
    holds: |_, s| s.seen.forgot_unnoticed || s.seen.starts + s.seen.saves <= 1 + s.faults,
};

/// Guarantee 2: a valid token has one holder, unless the broker forgot a delivery and nobody could know.
pub(crate) const ONE_HOLDER: Claim = Claim {
    name: "a valid token has one holder",
    holds: |_, s| s.seen.forgot_unnoticed || s.valid_holders() <= 1,
};

/// The same without the exception.
pub(crate) const ONE_HOLDER_ALWAYS: Claim =
    Claim { name: "a valid token always has one holder", holds: |_, s| s.valid_holders() <= 1 };

/// Guarantee 4: a crash stands in the history of a job that ended by itself.
pub(crate) const CRASH_RECORDED: Claim = Claim {
    name: "a crash is recorded",
    holds: |_, s| {
        let ended = s.done().filter(|d| d.end != Some(End::Cancelled));
        !s.seen.crashed || s.seen.excused || ended.is_none_or(|d| d.history.crashed > 0)
    },
};

/// Guarantees 4 and 5: no more crashes are recorded than holders were lost.
pub(crate) const NO_CRASH_INVENTED: Claim = Claim {
    name: "no crash is invented",
    holds: |_, s| s.seen.forgot_unnoticed || s.jobs.iter().all(|m| m.history.crashed <= s.seen.losses),
};

/// Guarantee 5: failed attempts never exceed the policy, and nothing else uses them up.
pub(crate) const WITHIN_POLICY: Claim = Claim {
    name: "attempts are those of the policy",
    holds: |_, s| {
        s.jobs.iter().all(|m| match m.end {
            Some(End::Dead) => m.history.failed == MAX_ATTEMPTS,
            _ => m.history.failed < MAX_ATTEMPTS,
        })
    },
};

/// Tidiness, where no fault comes between: nothing fires after the end.
pub(crate) const NO_LATE_FIRE: Claim =
    Claim { name: "no timer fires after the end", holds: |_, s| !s.seen.fired_late };

/// Tidiness, where no fault comes between: nothing starts after a cancel was carried out.
pub(crate) const NO_LATE_START: Claim =
    Claim { name: "no attempt starts after a finished cancel", holds: |_, s| !s.seen.started_late };

/// What holds in every scenario.
pub(crate) const GUARANTEES: &[Claim] =
    &[ONE_END, NOTHING_LOST, FEW_EXTRA, ONE_HOLDER, CRASH_RECORDED, NO_CRASH_INVENTED, WITHIN_POLICY];

// === impl Protocol ===

impl Protocol {
    pub(crate) fn new(scenario: Scenario, defences: Defences, properties: &'static [Claim]) -> Self {
        let policy = RetryPolicy::default().with_max_attempts(MAX_ATTEMPTS.into()).expect("in range");
        Self { scenario, defences, policy, properties }
    }

    /// The state in which this fault has just happened, if it may.
    pub(crate) fn after(&self, fault: Fault, state: &State) -> Option<State> {
        (state.faults < self.scenario.bound && self.scenario.has(fault)).then(|| {
            let mut next = state.clone();
            next.faults += 1;
            next
        })
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Move;

    fn init_states(&self) -> Vec<State> {
        self.scenario.creates.iter().map(|kind: &Kind| State::new(*kind, self.scenario.created)).collect()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Move>) {
        let moves = &mut Moves { from: state, out: actions };
        self.broker_moves(moves);
        for index in 0..state.dispatchers.len() {
            self.dispatcher_moves(moves, index);
        }
        for index in 0..state.holders.len() {
            self.holder_moves(moves, index);
        }
        for index in 0..state.commands.len() {
            self.command_moves(moves, index);
        }
    }

    fn next_state(&self, _: &State, action: Move) -> Option<State> {
        Some(action.next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        self.properties.iter().map(|claim| Property::always(claim.name, claim.holds)).collect()
    }
}
