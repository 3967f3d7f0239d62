//! Operations: one thing done to many, asked for over HTTP. Each runs until its last command is stored, until somebody
//! aborts it, or until the monitor stops; then it ends between two commands.
//!
//! They are in memory only, and a monitor that starts again knows of none. Nothing is lost by that: each command stands
//! by itself on the broker, so what was commanded is carried out, and what was not is as it was. Ask again for the rest.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa::ToSchema;
use uuid::Uuid;
use windlass_broker::Broker;
use windlass_broker::commands::paced::{self, End};
use windlass_broker::commands::set::{Member, Set};
use windlass_broker::commands::{self, Verb};
use windlass_broker::connect;

/// How many run, or are being prepared, at a time.
pub const MOST_RUNNING: usize = 4;
/// How many are remembered, those that run among them.
pub const MOST_KEPT: usize = 100;
/// For the command under way when one is aborted: longer than the broker is tried.
const ABORT_TIMEOUT: Duration = Duration::from_secs(20);

/// What acts, and the operations that it has begun. Clones share them.
#[derive(Debug, Clone)]
pub struct Operations(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    broker: Broker,
    stop: CancellationToken,
    /// For a command that is under way when the monitor stops.
    grace: Duration,
    tasks: TaskTracker,
    slots: Arc<Semaphore>,
    /// The oldest first.
    known: Mutex<VecDeque<Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    abort: CancellationToken,
    view: watch::Receiver<Operation>,
}

/// The right to run one, and to read its set before.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// What is to be done to which set.
#[derive(Debug)]
pub struct Plan {
    /// To each.
    pub verb: Verb,
    /// By what the set was made.
    pub filter: BTreeMap<String, String>,
    /// For people.
    pub reason: String,
    /// At most so many a second.
    pub rate: u32,
    /// To whom.
    pub set: Set,
    /// Who asks, in histories and in the log.
    pub who: String,
}

/// One thing done to many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Operation {
    /// A UUID.
    #[schema(value_type = String, format = "uuid")]
    pub id: Uuid,
    /// `redrive`, `discard` or `cancel`.
    pub action: String,
    /// By what the set was made; empty: all.
    pub filter: BTreeMap<String, String>,
    /// For people.
    pub reason: String,
    /// At most so many commands a second.
    pub rate: u32,
    /// Where it stands.
    pub state: OperationState,
    /// How many the set has. It does not change any more.
    pub matched: usize,
    /// How many match and are left out, as they hold no valid task.
    pub unfit: usize,
    /// Whether more match than one set may have (100000): do it again then.
    pub more: bool,
    /// How many commands are stored; dispatchers carry them out.
    pub commanded: usize,
    /// How many could not be stored.
    pub failed: usize,
    /// The first reasons why not.
    pub errors: Vec<String>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub begun_at: Timestamp,
    /// Null while it runs.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
}

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// Commands are being stored.
    Running,
    /// Each was tried once; `failed` says whether all are stored.
    Done,
    /// Somebody stopped it, or the monitor was stopped.
    Aborted,
    /// Three in a row could not be stored: the others were not tried.
    Failed,
}

// === impl Operations ===

impl Operations {
    /// None yet. When `stop` is cancelled those that run are aborted.
    /// A command that is under way by then has `grace` for its answer, which is less than the drain takes.
    pub fn new(broker: Broker, stop: CancellationToken, grace: Duration) -> Self {
        let (tasks, slots) = (TaskTracker::new(), Arc::new(Semaphore::new(MOST_RUNNING)));
        Self(Arc::new(Shared { broker, stop, grace, tasks, slots, known: Mutex::default() }))
    }

    /// Stores one command. Cut short by the monitor's stop, it may be stored or not.
    pub async fn command(
        &self,
        verb: Verb,
        member: &Member,
        reason: &str,
        who: &str,
    ) -> Result<(), connect::Error> {
        let Shared { broker, stop, grace, .. } = &*self.0;
        let subject = || broker.names().command_subject(&member.queue, verb.as_str());
        let cut = async {
            stop.cancelled().await;
            tokio::time::sleep(*grace).await;
        };
        tokio::select! {
            stored = commands::publish(broker, member.command(verb, reason, who)) => stored.map(|_| ()),
            () = cut => Err(connect::Error::TimedOut { subject: subject(), timeout: *grace }),
        }
    }

    /// The connection.
    pub fn broker(&self) -> &Broker {
        &self.0.broker
    }

    /// Whether nothing is begun any more.
    pub fn is_stopping(&self) -> bool {
        self.0.stop.is_cancelled()
    }

    /// The right to run one more; none while as many run as may.
    pub fn slot(&self) -> Option<Slot> {
        Arc::clone(&self.0.slots).try_acquire_owned().ok().map(|permit| Slot { _permit: permit })
    }

    /// Begins one.
    pub fn begin(&self, slot: Slot, plan: Plan) -> Operation {
        let Plan { verb, filter, reason, rate, set, who } = plan;
        let begun = Operation {
            id: Uuid::now_v7(),
            action: verb.to_string(),
            filter,
            reason: reason.clone(),
            rate,
            state: OperationState::Running,
            matched: set.members.len(),
            unfit: set.unfit,
            more: set.more,
            commanded: 0,
            failed: 0,
            errors: Vec::new(),
            begun_at: Timestamp::now(),
            ended_at: None,
        };
        let Operation { id, matched, .. } = begun;
        tracing::info!(who, action = %verb, filter = ?begun.filter, matched, rate, reason, operation = %id,
            "an operation begins");
        let (told, view) = watch::channel(begun.clone());
        let abort = self.0.stop.child_token();
        self.remember(Known { abort: abort.clone(), view });
        let (operations, members) = (self.clone(), set.members);
        self.0.tasks.spawn(async move {
            let tell = |progress: &paced::Progress| {
                told.send_modify(|view| {
                    (view.commanded, view.failed) = (progress.commanded, progress.failed);
                    view.errors.clone_from(&progress.errors);
                });
            };
            let (operations, reason, who) = (&operations, reason.as_str(), who.as_str());
            let send = |member: Member| async move {
                let stored = operations.command(verb, &member, reason, who).await;
                stored.map_err(|error| format!("{:#}", anyhow::Error::new(error)))
            };
            let (progress, end) = paced::all(members, rate, abort.cancelled(), tell, send).await;
            // Whoever sees that it has ended may begin the next.
            drop(slot);
            let state = OperationState::from(end);
            told.send_modify(|view| (view.state, view.ended_at) = (state, Some(Timestamp::now())));
            let paced::Progress { commanded, failed, errors } = progress;
            tracing::info!(who, action = %verb, commanded, failed, matched, ?state, ?errors, operation = %id,
                "an operation has ended");
        });
        begun
    }

    /// All that are remembered, the newest first.
    pub fn list(&self) -> Vec<Operation> {
        self.known().iter().rev().map(|known| known.view.borrow().clone()).collect()
    }

    /// One of them.
    pub fn find(&self, id: Uuid) -> Option<Operation> {
        self.known_as(id).map(|known| known.view.borrow().clone())
    }

    /// Stops one between two commands, and waits for the one under way, within a bound. One that has ended stays as it
    /// is.
    pub async fn abort(&self, id: Uuid, who: &str) -> Option<Operation> {
        let Known { abort, mut view } = self.known_as(id)?;
        if view.borrow().ended_at.is_none() {
            tracing::info!(who, action = "abort", operation = %id, "an operator's action");
        }
        abort.cancel();
        // Late, it is seen to run still.
        let _ = tokio::time::timeout(ABORT_TIMEOUT, view.wait_for(|seen| seen.ended_at.is_some())).await;
        let seen = view.borrow().clone();
        Some(seen)
    }

    /// How one ended, once it has; none if it is not known.
    pub async fn ended(&self, id: Uuid) -> Option<Operation> {
        let mut view = self.known_as(id)?.view;
        let ended = view.wait_for(|seen| seen.ended_at.is_some()).await.ok()?;
        Some(ended.clone())
    }

    /// Returns when all have ended after the stop.
    pub async fn stopped(&self) {
        self.0.stop.cancelled().await;
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn remember(&self, known: Known) {
        let mut all = self.known();
        if all.len() >= MOST_KEPT
            && let Some(place) = all.iter().position(|known| known.view.borrow().ended_at.is_some())
        {
            all.remove(place);
        }
        all.push_back(known);
    }

    fn known_as(&self, id: Uuid) -> Option<Known> {
        self.known().iter().find(|known| known.view.borrow().id == id).cloned()
    }

    fn known(&self) -> MutexGuard<'_, VecDeque<Known>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl OperationState ===

impl OperationState {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Aborted => "aborted",
            Self::Failed => "failed",
        }
    }
}

impl From<End> for OperationState {
    fn from(end: End) -> Self {
        match end {
            End::All => Self::Done,
            End::Enough => Self::Aborted,
            End::Failing => Self::Failed,
        }
    }
}
