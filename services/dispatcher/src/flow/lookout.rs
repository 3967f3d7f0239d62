//! Behind a burst of what is due, a queue's owner decides on jobs of other lanes ahead of their delivery.
//!
//! It hears of what becomes due by a plain subscription, which costs nothing but while much waits; what is missed is
//! decided on when it is delivered. Whoever is chosen is read from the stream's leader, and decided on under the same
//! condition as any other, that it stands there; its `due` goes in the same write. So nobody is decided on twice.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;
use windlass_broker::connect::Error;
use windlass_broker::flow::Flow;
use windlass_broker::jobs::{Due, HeardDue};
use windlass_core::JobId;
use windlass_core::flow::{AtLimit, Lane, QueueSettings, Sparse};

use super::owner::Owner;
use super::round::{Arrived, Input};
use super::state::{State, lane_of};

/// What is due and not delivered before it is looked for others behind it: decided on in a fifth of a second.
const LONG: u64 = 1000;
/// It is looked out until no more than this is left.
const SHORT: u64 = 500;
/// Jobs that were heard of and not looked at. Those beyond it wait for their delivery.
const HEARD: usize = 8192;
/// Jobs that are read at one time, and decided on in a round: a small part of a round.
const READS: usize = 32;
/// Who waits in a lane is enough: its turns go on until the next round.
const ENOUGH: usize = 32;
/// Decided on ahead of their delivery, at most.
const MOST_OVERTAKING: usize = 1 << 16;

/// What is heard is not stored yet, or not at all: before it is looked for again.
const NOT_STORED: [Duration; 4] = [
    Duration::from_millis(10),
    Duration::from_millis(30),
    Duration::from_millis(100),
    Duration::from_millis(300),
];

/// The lookout of a queue.
pub(super) struct Lookout {
    heard: mpsc::Receiver<(Lane, JobId)>,
    sparse: Sparse,
    reads: JoinSet<(Lane, Option<Arrived>)>,
    /// How many of a lane are being read.
    reading: HashMap<Lane, usize>,
    /// Of which some were decided on ahead, and wait: how many waited when it was last looked.
    overtakers: HashMap<Lane, usize>,
    /// Told when there is something to be looked at.
    came: Arc<Notify>,
    _listening: AbortOnDropHandle<()>,
}

/// What was decided on ahead of its delivery. It outlives the lookout: some of it is on its way by then.
#[derive(Debug, Default)]
pub(super) struct Overtaking {
    /// By the sequence of the `due`, as far as the consumer has not come by it.
    tokens: BTreeSet<u64>,
    /// What stands up to here was delivered.
    reached: u64,
}

/// To be called in each round, with what was delivered: nobody need look for that. Begins, or ends, by how much is due
/// and not delivered.
pub(super) async fn attend(owner: &mut Owner, inputs: &mut [Input]) {
    owner.overtaking.delivered(inputs);
    let pending = owner.pending;
    match &owner.lookout {
        None if pending > LONG && Instant::now() >= owner.lookout_from && may_overtake(&owner.settings) => {
            let came = [owner.given_back.look(), &owner.came].map(Arc::clone);
            match Lookout::begin(&owner.flow, &owner.settings, came).await {
                Ok(begun) => {
                    tracing::info!(queue = %owner.flow.queue(), pending, "much is due: jobs of other lanes are decided on ahead of a burst's");
                    owner.lookout = Some(begun);
                }
                Err(error) => {
                    tracing::debug!(queue = %owner.flow.queue(), %error, "nothing is heard of what becomes due");
                }
            }
        }
        Some(_) if pending <= SHORT => owner.lookout = None,
        _ => {}
    }
    if let Some(lookout) = &mut owner.lookout {
        lookout.delivered(&owner.settings, inputs);
    }
}

/// Adds what is to be decided on ahead of its delivery; whether there is anything of that kind. While others than the
/// burst's wait, that gives way.
pub(super) fn overtake(owner: &mut Owner, inputs: &mut Vec<Input>) -> bool {
    let Some(lookout) = &mut owner.lookout else { return false };
    let waited = !lookout.overtakers.is_empty();
    let go_on = lookout.overtakers_go_on(&owner.state);
    let any_new = lookout.take(&owner.flow, &owner.state, &mut owner.overtaking, inputs);
    if any_new || go_on {
        owner.burst.overtaken();
    } else if waited && lookout.overtakers.is_empty() {
        owner.burst.is_alone();
    }
    inputs.iter().any(Input::is_ahead)
}

/// Not past each other in a strict order; and where it is ended who comes while a limit is reached, nobody waits.
fn may_overtake(settings: &QueueSettings) -> bool {
    settings.shares_turns() && settings.fifo().is_none() && settings.at_limit == AtLimit::Hold
}

// === impl Overtaking ===

impl Overtaking {
    /// Of what was delivered, some may have been decided on.
    fn delivered(&mut self, inputs: &mut [Input]) {
        for input in inputs.iter_mut().filter(|input| !input.is_ahead()) {
            let Input::Arrival(arrived) = input else { continue };
            arrived.doubtful |= self.tokens.remove(&arrived.token);
            self.reached = self.reached.max(arrived.token);
        }
        // Those of before are gone: with the decision, unless they were on their way.
        self.tokens = self.tokens.split_off(&self.reached);
    }

    /// Whether this one is to be decided on: it is still to be delivered, and was not decided on.
    fn adds(&mut self, token: u64) -> bool {
        token > self.reached && self.tokens.insert(token)
    }
}

// === impl Lookout ===

impl Lookout {
    async fn begin(
        flow: &Flow,
        settings: &Arc<QueueSettings>,
        [given_back, came]: [Arc<Notify>; 2],
    ) -> Result<Self, Error> {
        let mut due = HeardDue::listen(flow.jobs(), flow.queue()).await?;
        let (sender, heard) = mpsc::channel(HEARD);
        let (settings, queue, heard_of) = (Arc::clone(settings), flow.queue().to_string(), Arc::clone(&came));
        let listening = tokio::spawn(async move {
            while let Some(due) = due.next().await {
                let Due::Job(address, job) = due else {
                    given_back.notify_one();
                    continue;
                };
                let lane = lane_of(&settings, address.priority, job.task.tenant.as_ref());
                if sender.try_send((lane, address.job_id)).is_err() {
                    metrics::counter!("windlass_flow_unheard_total", "queue" => queue.clone()).increment(1);
                }
                heard_of.notify_one();
            }
        });
        Ok(Self {
            heard,
            sparse: Sparse::default(),
            reads: JoinSet::new(),
            reading: HashMap::new(),
            overtakers: HashMap::new(),
            came,
            _listening: AbortOnDropHandle::new(listening),
        })
    }

    /// Whether some wait who were decided on ahead, and others of them were let go since: where none is, it is not for the
    /// burst that they wait. Nor where many do, who have a long line of their own.
    fn overtakers_go_on(&mut self, state: &State) -> bool {
        let mut any = false;
        self.overtakers.retain(|lane, before| {
            let waiting = state.waiting(lane);
            let wait = (1..=ENOUGH).contains(&waiting);
            any |= wait && waiting < *before;
            *before = waiting;
            wait
        });
        any
    }

    /// What was delivered needs nobody to look for it.
    fn delivered(&mut self, settings: &QueueSettings, inputs: &[Input]) {
        let arrived = inputs.iter().filter_map(|input| match input {
            Input::Arrival(arrived) if !input.is_ahead() => Some(arrived),
            Input::Arrival(_) | Input::Notice(..) => None,
        });
        let lane = |a: &Arrived| lane_of(settings, a.address.priority, a.job.task.tenant.as_ref());
        self.listen();
        self.sparse.delivered(arrived.map(|arrived| (lane(arrived), arrived.address.job_id)));
    }

    fn listen(&mut self) {
        while let Ok((lane, job_id)) = self.heard.try_recv() {
            self.sparse.heard(lane, job_id);
        }
    }

    /// Adds those that have been read, and reads others: of lanes in which few wait for a turn. Whether it added any.
    fn take(
        &mut self,
        flow: &Flow,
        state: &State,
        overtaking: &mut Overtaking,
        inputs: &mut Vec<Input>,
    ) -> bool {
        self.listen();
        let mut arrived = Vec::new();
        while let Some(read) = self.reads.try_join_next() {
            // One that failed waits for its delivery.
            let Ok((lane, read)) = read else { continue };
            if let Some(reading) = self.reading.get_mut(&lane) {
                *reading -= 1;
            }
            if let Some(one) = read.filter(|arrived| overtaking.adds(arrived.token)) {
                self.overtakers.entry(lane).or_default();
                arrived.push(one);
            }
        }
        let any = !arrived.is_empty();
        // As they stand in their lanes.
        arrived.sort_unstable_by_key(|arrived| arrived.token);
        metrics::counter!("windlass_flow_decided_ahead_total", "queue" => flow.queue().to_string())
            .increment(arrived.len() as u64);
        inputs.extend(arrived.into_iter().map(|arrived| Input::Arrival(Box::new(arrived))));
        if self.reads.is_empty() {
            self.reading.clear();
        }
        let room = MOST_OVERTAKING.saturating_sub(overtaking.tokens.len() + self.reads.len());
        let reading = |lane: &Lane| self.reading.get(lane).copied().unwrap_or(0);
        let next = self
            .sparse
            .take(room.min(READS - self.reads.len()), |lane| state.waiting(lane) + reading(lane) < ENOUGH);
        for (lane, job_id) in next {
            *self.reading.entry(lane.clone()).or_default() += 1;
            let (flow, came) = (flow.clone(), Arc::clone(&self.came));
            self.reads.spawn(async move {
                let read = read(&flow, job_id).await;
                came.notify_one();
                (lane, read)
            });
        }
        any
    }
}

/// A job that was heard of; none if it is not due, or waits for its delivery.
async fn read(flow: &Flow, job_id: JobId) -> Option<Arrived> {
    for pause in NOT_STORED {
        let seen = flow.jobs().read(flow.queue(), job_id).await;
        let seen = seen.inspect_err(|error| {
            tracing::debug!(%job_id, %error, "a job waits for its delivery");
        });
        let seen = seen.ok()?;
        if seen.last.is_some() {
            return Arrived::ahead(seen);
        }
        sleep(pause).await;
    }
    None
}
