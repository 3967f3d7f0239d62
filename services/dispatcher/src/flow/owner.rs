//! One queue, as long as this dispatcher owns it: reading what is due, round after round.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use jiff::Timestamp;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use windlass_broker::delivery::Delivered;
use windlass_broker::failpoint::{Point, hit};
use windlass_broker::flow::{Flow, Reading};
use windlass_broker::provision::ensure_flow;
use windlass_broker::pull::{Arrival, Puller};
use windlass_core::QueueName;
use windlass_core::flow::{Portion, QueueSettings};

use super::Failure;
use super::ahead::Ahead;
use super::audit::AUDIT_EVERY;
use super::given_back::GivenBack;
use super::lookout::{Lookout, Overtaking, look_out};
use super::round::{Input, Round};
use super::settings::Known;
use super::state::State;
use super::sweep::Sweep;
use crate::shared::Shared;

/// What is asked for at a time, and looked at together.
const WINDOW: usize = 256;
/// Asked for at least, while a burst's rounds are small. What is asked for ahead is leased.
const SMALL_WINDOW: usize = 64;
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
    /// Whose the last round was.
    whose: Whose,
    portion: Portion,
    /// How much waits behind what was delivered last.
    pub(super) pending: u64,
}

/// Whose a round is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Everybody,
    /// Theirs who are not to wait behind a burst.
    Others,
    /// The burst's, between two of the others'.
    Burst,
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
    let settings = Arc::new(settings);
    let pool = shared.layout.pool_of(queue);
    let flow = Flow::new(&shared.broker, pool, queue.clone());
    ensure_flow(&shared.broker, &shared.layout, queue).await?;
    shared.queues.ensure(&shared.broker, &shared.layout, queue).await?;
    let epoch = flow.take_over(instance).await?.ok_or(Failure::Lost)?;
    hit(Point::FlowOwned).await;
    let state = State::read(&flow, &settings, shared.broker.now()).await?;
    let consumer = shared.broker.names().flow_consumer(queue);
    let mut puller = Puller::open(&shared.broker, flow.jobs().stream().to_owned(), consumer).await?;
    tracing::info!(%queue, epoch, lanes = state.lanes.len(), slots = state.turn.len(), "owns the queue");
    // Somebody may wait whom nobody tells of, as limits were raised while nobody owned the queue.
    let sweep = Some(Sweep::begin(&flow, set.revision).await?);
    let (shared_too, revision, instance) = (Arc::clone(shared), set.revision, instance.to_owned());
    let mut owner = Owner {
        shared: shared_too,
        given_back: GivenBack::from(flow.clone(), epoch),
        flow,
        epoch,
        window: Ahead::of(&settings),
        lookout: None,
        overtaking: Overtaking::default(),
        lookout_from: Instant::now()
            + if puller.out_at_first() > 0 { puller.ack_wait() * 2 } else { Duration::ZERO },
        settings,
        state,
        revision,
        sweep,
        instance,
        timers: Reading::from(epoch),
        whose: Whose::Everybody,
        portion: Portion::default(),
        pending: 0,
    };
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
        owner.round(std::mem::take(&mut inputs)).await?;
        let now = shared.broker.now();
        let wake =
            owner.state.next_wake().map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
        let sweep = owner.sweep.as_ref().map(Sweep::pause);
        let pause_ends = ends_at.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
        let audit = audit_at.saturating_duration_since(Instant::now());
        let ahead = owner.window.as_ref().and_then(Ahead::pause);
        let next = wake
            .into_iter()
            .chain(sweep)
            .chain(pause_ends)
            .chain(ahead)
            .chain([audit])
            .min()
            .unwrap_or(audit);
        let window = owner.window_ahead();
        if puller.outstanding() < window / 2 {
            puller.request(window - puller.outstanding()).await?;
        }
        tokio::select! {
            arrival = puller.next() => owner.take(arrival?, &mut inputs)?,
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
    /// Decides what can be decided.
    async fn round(&mut self, inputs: Vec<Input>) -> Result<(), Failure> {
        let began = Instant::now();
        Box::pin(Round::run(self, inputs)).await?;
        match self.whose {
            Whose::Everybody => {}
            Whose::Others => self.portion.others_took(began.elapsed()),
            Whose::Burst => self.portion.burst_took(began.elapsed()),
        }
        Ok(())
    }

    /// Adds all that is there already, to be decided together.
    async fn gather(&mut self, puller: &mut Puller, inputs: &mut Vec<Input>) -> Result<(), Failure> {
        let has_company = self.has_company();
        if self.pending >= WINDOW as u64 {
            self.given_back.look().notify_one();
        }
        self.given_back.take(inputs);
        if has_company && self.whose != Whose::Others {
            look_out(self, inputs).await;
            if inputs.iter().any(Input::is_ahead) {
                self.whose = Whose::Others;
                return Ok(());
            }
        }
        // Beside what was given back: where much runs, that alone would be a round.
        let window = inputs.len() + if has_company { self.portion.size() } else { WINDOW };
        // Else tokio has the task wait after 128 messages.
        while inputs.len() < window
            && let Some(arrival) = unconstrained(puller.next()).now_or_never()
        {
            self.take(arrival?, inputs)?;
        }
        let is_full = inputs.len() >= window;
        self.whose = if has_company && is_full { Whose::Burst } else { Whose::Everybody };
        look_out(self, inputs).await;
        Ok(())
    }

    /// Whether there are others than a burst's.
    fn has_company(&self) -> bool {
        self.lookout.as_ref().is_some_and(Lookout::has_company)
    }

    /// How much is asked for ahead.
    fn window_ahead(&self) -> usize {
        if self.has_company() { (2 * self.portion.size()).clamp(SMALL_WINDOW, WINDOW) } else { WINDOW }
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
