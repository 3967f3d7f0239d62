//! Places where a test makes this process die or stand still: one after each step of the protocol.
//!
//! Only in builds with debug assertions; in others [`hit`] does nothing and reads nothing. `WINDLASS_FAILPOINTS` says
//! what happens where, as `worker.done.written=kill@3,monitor.stored=pause:500@1`: SIGKILL at the third hit, half a
//! second (in milliseconds) at the first; with a `+` at the end, at each from there on. The file that `WINDLASS_FAILPOINTS_LOG` names gets a line for the first hit
//! of each, and for each act, so that a test sees which steps were reached: `<microseconds> <pid> <point> <act>`.

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident => $word:literal),+ $(,)?) => {
        /// A step that a process may die after.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Point { $($(#[$doc])* $variant),+ }

        impl Point {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

points! {
    /// A task was delivered and is valid.
    TaskRead => "dispatcher.task.read",
    /// What its job waits for is marked.
    EdgesMarked => "dispatcher.edges.marked",
    /// Its job is created.
    JobCreated => "dispatcher.job.created",
    /// Its acceptance is said.
    AcceptedSaid => "dispatcher.accepted.said",
    /// It is acknowledged.
    TaskAcked => "dispatcher.task.acked",
    /// The holder of a job that is being cancelled is told.
    CancelMarked => "dispatcher.cancel.marked",
    /// The cancelled end is written.
    CancelWritten => "dispatcher.cancel.written",
    /// It is said.
    CancelSaid => "dispatcher.cancel.said",
    /// What is left of the work is deleted.
    CancelDeleted => "dispatcher.cancel.deleted",
    /// A job waits for another no longer, and nothing has followed yet.
    EdgeClosed => "dispatcher.edge.closed",
    /// It is released, and its last edge not forgotten yet.
    EdgeReleased => "dispatcher.edge.released",
    /// It is dead, because of another, and that is not said yet.
    EdgeDied => "dispatcher.edge.died",
    /// This dispatcher has become the owner of a queue.
    FlowOwned => "dispatcher.flow.owned",
    /// What the owner decided is in force.
    FlowCommitted => "dispatcher.flow.committed",
    /// It is said, and what had come is not acknowledged yet.
    FlowSaid => "dispatcher.flow.said",
    /// A job was delivered.
    WorkerDelivered => "worker.delivered",
    /// It is claimed.
    WorkerClaimed => "worker.claimed",
    /// Its attempt is about to be told.
    WorkerStarted => "worker.started",
    /// Its handler has ended.
    WorkerHandlerEnded => "worker.handler.ended",
    /// Its end is written.
    WorkerDoneWritten => "worker.done.written",
    /// Its next attempt is written.
    WorkerLaterWritten => "worker.later.written",
    /// It is handed back, and not yet released.
    WorkerHandBackWritten => "worker.hand_back.written",
    /// The slots that it held are given back.
    WorkerSlotsFreed => "worker.slots.freed",
    /// Its dead letter is stored.
    WorkerLetterStored => "worker.letter.stored",
    /// Its events are said.
    WorkerEventSaid => "worker.event.said",
    /// It is acknowledged.
    WorkerAcked => "worker.acked",
    /// A cursor is stored, with the instants that are about to fire.
    IntentWritten => "scheduler.intent.written",
    /// The task of an instant is published.
    TaskPublished => "scheduler.task.published",
    /// The cursor is stored past it.
    CursorStored => "scheduler.cursor.stored",
    /// A batch of events was delivered.
    BatchRead => "monitor.batch.read",
    /// It is in the database.
    BatchStored => "monitor.stored",
    /// It is acknowledged.
    BatchAcked => "monitor.acked",
}

/// This step is done; what a test wants here happens now.
#[cfg(not(debug_assertions))]
#[inline]
#[allow(clippy::unused_async, reason = "callers are the same in every build")]
pub async fn hit(_: Point) {}

#[cfg(debug_assertions)]
pub use active::hit;

#[cfg(debug_assertions)]
mod active {
    use std::collections::HashMap;
    use std::fs::File;
    use std::io::Write as _;
    use std::path::PathBuf;
    use std::sync::{LazyLock, Mutex, PoisonError};
    use std::time::Duration;

    use jiff::Timestamp;
    use rustix::process::{Signal, getpid, kill_process};

    use super::Point;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Act {
        Kill,
        Pause(Duration),
    }

    /// At which hits of a point.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum When {
        At(u64),
        From(u64),
    }

    /// What happens at which hit of which point.
    #[derive(Debug, Default, PartialEq, Eq)]
    pub(super) struct Plan {
        pub(super) acts: HashMap<Point, (When, Act)>,
    }

    struct State {
        plan: Plan,
        hits: Mutex<HashMap<Point, u64>>,
        log: Option<PathBuf>,
    }

    static STATE: LazyLock<Option<State>> = LazyLock::new(|| {
        let plan = std::env::var("WINDLASS_FAILPOINTS").ok();
        let log = std::env::var_os("WINDLASS_FAILPOINTS_LOG").map(PathBuf::from);
        if plan.is_none() && log.is_none() {
            return None;
        }
        let plan = match Plan::parse(plan.as_deref().unwrap_or_default()) {
            Ok(plan) => plan,
            // A fault that silently does not happen would let a test pass.
            Err(reason) => panic!("WINDLASS_FAILPOINTS: {reason}"),
        };
        Some(State { plan, hits: Mutex::default(), log })
    });

    /// This step is done; what a test wants here happens now.
    pub async fn hit(point: Point) {
        let Some(state) = &*STATE else { return };
        let count = {
            let mut hits = state.hits.lock().unwrap_or_else(PoisonError::into_inner);
            let count = hits.entry(point).or_default();
            *count += 1;
            *count
        };
        if count == 1 {
            state.tell(point, "reached");
        }
        match state.plan.acts.get(&point).filter(|(when, _)| when.is(count)) {
            Some((_, Act::Kill)) => {
                state.tell(point, "kill");
                let _ = kill_process(getpid(), Signal::KILL);
            }
            Some((_, Act::Pause(pause))) => {
                state.tell(point, "pause");
                tokio::time::sleep(*pause).await;
            }
            None => {}
        }
    }

    impl When {
        fn is(self, count: u64) -> bool {
            match self {
                Self::At(nth) => nth == count,
                Self::From(first) => first <= count,
            }
        }
    }

    impl State {
        /// In one write, so that lines of several processes do not mix.
        fn tell(&self, point: Point, act: &str) {
            let Some(path) = &self.log else { return };
            let now = Timestamp::now().as_microsecond();
            let line = format!("{now} {} {} {act}\n", std::process::id(), point.as_str());
            let file = File::options().create(true).append(true).open(path);
            if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
                tracing::error!(%error, "a failpoint cannot be told");
            }
        }
    }

    impl Plan {
        pub(super) fn parse(text: &str) -> Result<Self, String> {
            let mut plan = Self::default();
            for part in text.split(',').filter(|part| !part.is_empty()) {
                let invalid = || {
                    format!("`{part}` is not POINT=kill@N or POINT=pause:MILLISECONDS@N, or either with N+")
                };
                let (name, act) = part.split_once('=').ok_or_else(invalid)?;
                let point = Point::ALL.iter().copied().find(|point| point.as_str() == name);
                let point = point.ok_or_else(|| format!("there is no point `{name}`"))?;
                let (act, nth) = act.split_once('@').ok_or_else(invalid)?;
                let act = match act.split_once(':') {
                    None if act == "kill" => Act::Kill,
                    Some(("pause", millis)) => {
                        Act::Pause(Duration::from_millis(millis.parse().map_err(|_| invalid())?))
                    }
                    _ => return Err(invalid()),
                };
                let when = match nth.strip_suffix('+') {
                    Some(first) => When::From(first.parse().map_err(|_| invalid())?),
                    None => When::At(nth.parse().map_err(|_| invalid())?),
                };
                plan.acts.insert(point, (when, act));
            }
            Ok(plan)
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::Point;
    use super::active::{Act, Plan, When};

    #[test]
    fn plans_are_read_or_refused() {
        let plan = Plan::parse("worker.done.written=kill@3,monitor.stored=pause:500@1+").unwrap();
        assert_eq!(plan.acts[&Point::WorkerDoneWritten], (When::At(3), Act::Kill));
        assert_eq!(plan.acts[&Point::BatchStored], (When::From(1), Act::Pause(Duration::from_millis(500))));
        assert_eq!(Plan::parse("").unwrap(), Plan::default());
        let bad = ["worker.done", "worker.dome=kill@1", "worker.acked=kill", "worker.acked=pause@1"];
        for text in bad.into_iter().chain(["worker.acked=kill@x", "worker.acked=pause:x@1"]) {
            assert!(Plan::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = Point::ALL.iter().map(|point| point.as_str()).collect();
        assert_eq!(names.len(), Point::ALL.len());
    }
}
