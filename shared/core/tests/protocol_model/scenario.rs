//! Which part of the world a run explores, and how much may go wrong in it.

use windlass_core::protocol::Kind;

/// What may go wrong or come from outside; each happening counts against the scenario's bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Fault {
    /// A publisher submits the task again.
    DuplicateSubmit = 1,
    /// A dispatcher dies; what it held is delivered again.
    DispatcherCrash = 1 << 1,
    /// A dispatcher's task is delivered again while it still runs.
    TaskLeaseEnds = 1 << 2,
    /// A worker dies.
    WorkerCrash = 1 << 3,
    /// A work message is delivered again while its holder still runs.
    LeaseEnds = 1 << 4,
    /// A timer fires twice at once.
    FiresTwice = 1 << 5,
    /// A timer fires and is not removed, so that it fires again later.
    TimerSurvives = 1 << 6,
    /// A claim's TTL ends while its holder runs.
    ClaimExpires = 1 << 7,
    /// An operator cancels.
    Cancel = 1 << 8,
    /// An operator's command is delivered again, its first carrier dead.
    OperatorCrash = 1 << 9,
    /// An operator lets a scheduled job run now, or releases twice.
    ReleaseAgain = 1 << 10,
    /// A worker is told to stop.
    HandBack = 1 << 11,
    /// A conditional write is in force, and its answer is lost.
    AnswerLost = 1 << 12,
    /// A conditional write has no answer, and arrives later or never.
    Delayed = 1 << 13,
    /// A conditional write is proposed and not yet in force: others are told 10164, and it may vanish.
    InFlight = 1 << 14,
    /// The broker is killed just after delivering, and the workers see that it was away.
    Forgets = 1 << 15,
    /// The same, unseen.
    ForgetsUnnoticed = 1 << 16,
    /// A handler saves a checkpoint.
    Checkpoint = 1 << 17,
}

/// One run of the model.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What the dispatcher makes of the task.
    pub(crate) creates: &'static [Kind],
    /// The job is there at the start, and no task is left.
    pub(crate) created: bool,
    /// Timers fire as `due`.
    pub(crate) flow_control: bool,
    /// The `done` may expire.
    pub(crate) horizon: bool,
    /// The `done` may be forgotten long before that, once all work beside it is settled.
    pub(crate) forgets: bool,
    /// Left-over work is removed.
    pub(crate) reconciler: bool,
    pub(crate) faults: &'static [Fault],
    /// At most this many faults in one history.
    pub(crate) bound: u8,
    /// Fewer states than this is a broken model.
    pub(crate) floor: usize,
}

use Fault::{
    AnswerLost, Cancel, Checkpoint, ClaimExpires, Delayed, DispatcherCrash, DuplicateSubmit, FiresTwice,
    Forgets, ForgetsUnnoticed, HandBack, InFlight, LeaseEnds, OperatorCrash, ReleaseAgain, TaskLeaseEnds,
    TimerSurvives, WorkerCrash,
};

const BASE: Scenario = Scenario {
    name: "",
    creates: &[Kind::Ready],
    created: true,
    flow_control: false,
    horizon: false,
    forgets: false,
    reconciler: false,
    faults: &[],
    bound: 3,
    floor: 1,
};

/// Everything that may go wrong with a running job.
pub(crate) const EVERYTHING: Scenario = Scenario {
    name: "everything",
    faults: &[
        DuplicateSubmit,
        DispatcherCrash,
        TaskLeaseEnds,
        WorkerCrash,
        LeaseEnds,
        FiresTwice,
        TimerSurvives,
        ClaimExpires,
        Cancel,
        OperatorCrash,
        ReleaseAgain,
        HandBack,
        AnswerLost,
        Delayed,
        InFlight,
        Forgets,
        ForgetsUnnoticed,
    ],
    creates: &[Kind::Ready, Kind::Held],
    bound: 2,
    floor: 600_000,
    ..BASE
};

/// The same from the task on, under one fault.
pub(crate) const FROM_TASK: Scenario = Scenario {
    name: "from the task",
    creates: &[Kind::Ready, Kind::Later, Kind::Held],
    created: false,
    bound: 1,
    floor: 24_000,
    ..EVERYTHING
};

/// The same from the task on, where timers fire as `due` and the dispatcher lets them through.
pub(crate) const FLOW_CONTROL: Scenario = Scenario {
    name: "flow control",
    creates: &[Kind::Due, Kind::Held],
    flow_control: true,
    floor: 50_000,
    ..FROM_TASK
};

/// Who may run: crashes, leases, claims, and a broker that forgets.
pub(crate) const LEASES: Scenario = Scenario {
    name: "leases",
    faults: &[WorkerCrash, LeaseEnds, ClaimExpires, HandBack, Forgets],
    floor: 180_000,
    ..BASE
};

/// As above, where nobody sees that the broker was away.
pub(crate) const FORGETFUL: Scenario = Scenario {
    name: "forgetful broker",
    faults: &[WorkerCrash, LeaseEnds, ForgetsUnnoticed],
    floor: 65_000,
    ..BASE
};

/// Timers that fire too often, and cancels.
pub(crate) const TIMERS: Scenario = Scenario {
    name: "timers",
    faults: &[WorkerCrash, LeaseEnds, FiresTwice, TimerSurvives, Cancel],
    floor: 400_000,
    ..BASE
};

/// Timers that fire too often into a queue with flow control.
pub(crate) const DUE_TIMERS: Scenario = Scenario {
    name: "timers into due",
    creates: &[Kind::Due],
    flow_control: true,
    faults: &[DispatcherCrash, FiresTwice, TimerSurvives, LeaseEnds],
    floor: 280_000,
    ..BASE
};

/// Creates that are not decided, and tasks that are delivered again.
pub(crate) const CREATES: Scenario = Scenario {
    name: "creates",
    created: false,
    horizon: true,
    faults: &[DuplicateSubmit, DispatcherCrash, TaskLeaseEnds, AnswerLost, Delayed, InFlight],
    bound: 2,
    floor: 40_000,
    ..BASE
};

/// Settling and claiming without an answer.
pub(crate) const SILENCE: Scenario = Scenario {
    name: "silence",
    faults: &[WorkerCrash, AnswerLost, Delayed, InFlight],
    floor: 140_000,
    ..BASE
};

/// No holder crashes, so no crash may be invented.
pub(crate) const HAND_BACK: Scenario =
    Scenario { name: "hand-back", faults: &[HandBack, LeaseEnds, AnswerLost], floor: 55_000, ..BASE };

/// Operators against timers, holds and running workers.
pub(crate) const OPERATORS: Scenario = Scenario {
    name: "operators",
    creates: &[Kind::Ready, Kind::Later, Kind::Held],
    faults: &[Cancel, OperatorCrash, ReleaseAgain, TimerSurvives, AnswerLost],
    bound: 2,
    floor: 150_000,
    ..BASE
};

/// What a cancel leaves is removed.
pub(crate) const RECONCILED: Scenario = Scenario {
    name: "reconciled",
    creates: &[Kind::Later, Kind::Held],
    reconciler: true,
    faults: &[Cancel, OperatorCrash, TimerSurvives],
    bound: 2,
    floor: 100_000,
    ..BASE
};

/// A cancel whose carrier does not die.
pub(crate) const CANCEL: Scenario = Scenario {
    name: "cancel",
    creates: &[Kind::Ready, Kind::Later],
    faults: &[Cancel],
    bound: 1,
    floor: 800,
    ..BASE
};

/// A handler that saves checkpoints: its token moves on while it runs.
pub(crate) const CHECKPOINTS: Scenario = Scenario {
    name: "checkpoints",
    faults: &[Checkpoint, WorkerCrash, LeaseEnds, AnswerLost, Forgets],
    floor: 100_000,
    ..BASE
};

/// The same against operators, drains and writes on their way.
pub(crate) const CHECKPOINTS_STOPPED: Scenario = Scenario {
    name: "checkpoints, stopped",
    faults: &[Checkpoint, LeaseEnds, Cancel, HandBack, Delayed, InFlight],
    bound: 2,
    floor: 10_000,
    ..BASE
};

/// Ends that are kept for a moment only: against holders, dispatchers and operators that come late.
pub(crate) const FORGOTTEN_ENDS: Scenario = Scenario {
    name: "forgotten ends",
    created: false,
    forgets: true,
    faults: &[DispatcherCrash, TaskLeaseEnds, WorkerCrash, LeaseEnds, AnswerLost, Delayed, Cancel, Forgets],
    bound: 2,
    floor: 200_000,
    ..BASE
};

/// All of them.
pub(crate) const ALL: &[Scenario] = &[
    EVERYTHING,
    FROM_TASK,
    FLOW_CONTROL,
    LEASES,
    FORGETFUL,
    TIMERS,
    DUE_TIMERS,
    CREATES,
    SILENCE,
    HAND_BACK,
    OPERATORS,
    RECONCILED,
    CANCEL,
    CHECKPOINTS,
    CHECKPOINTS_STOPPED,
    FORGOTTEN_ENDS,
];

// === impl Scenario ===

impl Scenario {
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }
}
