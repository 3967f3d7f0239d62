//! One queue, as long as this dispatcher owns it: reading what is due, round after round.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use windlass_broker::delivery::Delivered;
use windlass_broker::failpoint::{Point, hit};
use windlass_broker::flow::{Flow, Reading};
use windlass_broker::provision::ensure_flow;
use windlass_broker::pull::{Arrival, Puller};
use windlass_core::QueueName;
use windlass_core::flow::QueueSettings;

use super::Failure;
use super::ahead::Ahead;
use super::audit::AUDIT_EVERY;
use super::bursts::Burst;
use super::given_back::GivenBack;
use super::lookout::{Lookout, Overtaking, attend, overtake};
use super::round::{Input, Round};
use super::settings::Known;
use super::state::State;
use super::sweep::Sweep;
use crate::shared::Shared;

/// What is asked for at a time, and looked at together.
const WINDOW: usize = 256;
/// The same of a burst, so that others need not wait long for a round of it to end; larger ones are hardly faster.
const BURST_WINDOW: usize = 64;
/// After a failure.
const AGAIN: Duration = Duration::from_millis(500);

/// A queue that this dispatcher owns.
pub(super) struct Owner {
    pub(super) shared: Arc<Shared>,
    pub(super) flow: Flow,
    pub(super) epoch: u64,
    pub(super) settings: Arc<QueueSettings>,
    pub(super) state: State,
    /// Where no limit says how many may run.
    pub(super) window: Option<Ahead>,
    /// While much is due.
    pub(super) lookout: Option<Lookout>,
    pub(super) overtaking: Overtaking,
    /// Before this it is not looked out: what an owner before was given comes again first. A decision ahead has the broker
    /// purge in the consumer's subjects, and its consumer forget what it was about to deliver again.
    pub(super) lookout_from: Instant,
    /// Of the settings.
    pub(super) revision: u64,
    /// What is still to be looked at; none: nobody waits there unseen.
    pub(super) sweep: Option<Sweep>,
    /// Who this dispatcher is.
    pub(super) instance: String,
    /// Which timers are yet to be looked at.
    pub(super) timers: Reading,
    /// What was given back and is not delivered yet.
    pub(super) given_back: GivenBack,
    /// Told when something has come ahead of its delivery.
    pub(super) came: Arc<Notify>,
    pub(super) burst: Arc<Burst>,
    /// The last round was theirs who are not to wait behind a burst.
    others_had_theirs: bool,
    /// How much waits behind what was delivered last.
    pub(super) pending: u64,
}

/// Decides for a queue, until told to stop. To be called under the lease of the queue's shard; the epoch fences what
/// is written late.
pub(super) async fn own(shared: Arc<Shared>, queue: QueueName, instance: String, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let ended = stop.run_until_cancelled(Box::pin(decide(&shared, &queue, &instance))).await;
        if let Some(Err(failure)) = ended {
            metrics::counter!("windlass_flow_restarts_total", "queue" => queue.to_string()).increment(1);
            let error = anyhow::Error::new(failure);
            tracing::warn!(%queue, error = format!("{error:#}"), "a queue's owner begins again");
            stop.run_until_cancelled(sleep(AGAIN)).await;
        }
    }
}

async fn decide(shared: &Arc<Shared>, queue: &QueueName, instance: &str) -> Result<(), Failure> {
    let mut known = shared.settings.watch();
    let read = |known: &mut tokio::sync::watch::Receiver<_>| {
        let all: Arc<std::collections::HashMap<QueueName, Known>> = Arc::clone(&known.borrow_and_update());
        all.get(queue).cloned().unwrap_or_default()
    };
    let mut set = read(&mut known);
    let (settings, mut ends_at) = set.settings.at(shared.broker.now());
    let (mut owner, mut puller) = Owner::begin(shared, queue, instance, settings, set.revision).await?;
    let mut inputs = Vec::new();
    let (mut audit_at, mut audit_from) = (Instant::now() + AUDIT_EVERY, 0);
    loop {
        if Instant::now() >= audit_at {
            audit_from = owner.audit(audit_from).await?;
            owner.recall_strays().await?;
            audit_at = Instant::now() + AUDIT_EVERY;
        }
        if let Some(ahead) = &mut owner.window {
            ahead.look(&owner.flow).await;
        }
        Box::pin(Round::run(&mut owner, std::mem::take(&mut inputs))).await?;
        let now = shared.broker.now();
        let wake =
            owner.state.next_wake().map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
        let sweep = owner.sweep.as_ref().map(Sweep::pause);
        let pause_ends = ends_at.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
        let audit = audit_at.saturating_duration_since(Instant::now());
        let ahead = owner.window.as_ref().and_then(Ahead::pause);
        let held = owner.burst_held();
        let next = wake
            .into_iter()
            .chain(held)
            .chain(sweep)
            .chain(pause_ends)
            .chain(ahead)
            .chain([audit])
            .min()
            .unwrap_or(audit);
        let came = Arc::clone(&owner.came);
        let window = if owner.lookout.is_some() { 2 * BURST_WINDOW } else { WINDOW };
        if puller.outstanding() < window / 2 {
            puller.request(window - puller.outstanding()).await?;
        }
        tokio::select! {
            arrival = puller.next(), if held.is_none() => owner.take(arrival?, &mut inputs)?,
            () = came.notified() => {}
            () = sleep(next) => {}
            changed = known.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let latest = read(&mut known);
                if latest != set {
                    tracing::info!(%queue, revision = latest.revision, "the queue goes on by other settings");
                    ends_at = owner.go_by(&latest.settings).await?;
                    owner.revision = latest.revision;
                    owner.sweep = Some(Sweep::begin(&owner.flow, latest.revision).await?);
                    set = latest;
                }
            }
        }
        if ends_at.is_some_and(|at| at <= shared.broker.now()) {
            tracing::info!(%queue, "a pause of the queue is over");
            ends_at = owner.go_by(&set.settings).await?;
            owner.sweep.get_or_insert(Sweep::of_lines(set.revision));
        }
        owner.gather(&mut puller, &mut inputs).await?;
    }
}

// === impl Owner ===

impl Owner {
    /// Takes the queue over, and reads what must be known of it.
    async fn begin(
        shared: &Arc<Shared>,
        queue: &QueueName,
        instance: &str,
        settings: QueueSettings,
        revision: u64,
    ) -> Result<(Self, Puller), Failure> {
        let pool = shared.layout.pool_of(queue);
        let flow = Flow::new(&shared.broker, pool, queue.clone());
        ensure_flow(&shared.broker, &shared.layout, queue).await?;
        shared.queues.ensure(&shared.broker, &shared.layout, queue).await?;
        let epoch = flow.take_over(instance).await?.ok_or(Failure::Lost)?;
        hit(Point::FlowOwned).await;
        let state = State::read(&flow, &settings, shared.broker.now()).await?;
        let consumer = shared.broker.names().flow_consumer(queue);
        let puller = Puller::open(&shared.broker, flow.jobs().stream().to_owned(), consumer).await?;
        tracing::info!(%queue, epoch, lanes = state.lanes.len(), slots = state.turn.len(), "owns the queue");
        let came = Arc::new(Notify::new());
        let owner = Self {
            shared: Arc::clone(shared),
            given_back: GivenBack::from(flow.clone(), epoch, Arc::clone(&came)),
            came,
            burst: shared.bursts.of(queue),
            epoch,
            window: Ahead::of(&settings),
            lookout: None,
            overtaking: Overtaking::default(),
            lookout_from: Instant::now()
                + if puller.out_at_first() > 0 { puller.ack_wait() * 2 } else { Duration::ZERO },
            settings: Arc::new(settings),
            state,
            revision,
            // Somebody may wait whom nobody tells of, as limits were raised while nobody owned the queue.
            sweep: Some(Sweep::begin(&flow, revision).await?),
            flow,
            instance: instance.to_owned(),
            timers: Reading::from(epoch),
            others_had_theirs: false,
            pending: 0,
        };
        Ok((owner, puller))
    }

    /// Adds all that is there already, to be decided together.
    async fn gather(&mut self, puller: &mut Puller, inputs: &mut Vec<Input>) -> Result<(), Failure> {
        if self.pending >= WINDOW as u64 {
            self.given_back.look().notify_one();
        }
        self.given_back.take(inputs);
        let held = self.burst_held().is_some();
        // Every other round, where the burst is not held back.
        let others_first = held || !self.others_had_theirs;
        self.others_had_theirs = others_first && overtake(self, inputs);
        if !held && !self.others_had_theirs {
            // Beside what was given back: where much runs, that alone would be a round.
            let window = inputs.len() + if self.lookout.is_some() { BURST_WINDOW } else { WINDOW };
            // Else tokio has the task wait after 128 messages.
            while inputs.len() < window
                && let Some(arrival) = unconstrained(puller.next()).now_or_never()
            {
                self.take(arrival?, inputs)?;
            }
        }
        attend(self, inputs).await;
        if !others_first {
            overtake(self, inputs);
        }
        Ok(())
    }

    /// How long the burst is held back from now on; none if it may go on.
    fn burst_held(&self) -> Option<Duration> {
        self.lookout.as_ref().and(self.burst.held_for())
    }

    fn take(&mut self, arrival: Arrival, inputs: &mut Vec<Input>) -> Result<(), Failure> {
        match arrival {
            Arrival::Message(delivered) => {
                self.pending = delivered.pending;
                inputs.extend(read(&self.shared, *delivered));
            }
            Arrival::Renew => {}
            Arrival::Missing => return Err(Failure::NoConsumer),
        }
        Ok(())
    }

    /// Goes on by these settings, as they hold now; until when they do.
    async fn go_by(&mut self, settings: &QueueSettings) -> Result<Option<Timestamp>, Failure> {
        let now = self.shared.broker.now();
        let (settings, ends_at) = settings.at(now);
        self.state = State::read(&self.flow, &settings, now).await?;
        self.window = Ahead::of(&settings);
        // It knows lanes by the settings of before.
        self.lookout = None;
        self.settings = Arc::new(settings);
        Ok(ends_at)
    }
}

fn read(shared: &Shared, delivered: Delivered) -> Option<Input> {
    let read = Input::read(&shared.broker, delivered);
    if let Err((delivered, error)) = &read {
        // One of a newer version is delivered again, to whoever understands it by then.
        metrics::counter!("windlass_malformed_total", "stream" => "jobs").increment(1);
        tracing::error!(subject = delivered.subject, %error, "what is due cannot be read; it stays");
    }
    read.ok()
}
