//! The histories of `shared/core/tests/protocol_model/histories.md` on a real broker, each with its defence in place;
//! where it is cheap, also that the broker alone does not defend.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::{Timestamp, ToSpan as _};
use prost::Message;
use tokio::time::{Instant, timeout};
use windlass_broker::delivery::Delivered;
use windlass_broker::jobs::{Address, Change, Jobs, Seen, Verdict, nonce};
use windlass_broker::provision::Layout;
use windlass_broker::pull::{Arrival, Puller};
use windlass_core::protocol::{self, Opening, Removal, Stale, Standing};
use windlass_core::{JobId, Outcome, PoolName, Priority, QueueName, RecordKind};
use windlass_proto::v1::{self, ClaimReason, JobState};
use windlass_proto::{RecordBody, instant};
use windlass_testkit::broker::Client;
use windlass_testkit::{PATIENCE, TestBroker};

/// Ends by itself while a test waits for the next delivery.
const SHORT_LEASE: Duration = Duration::from_secs(1);
/// Does not end within a test.
const LONG_LEASE: Duration = Duration::from_secs(300);

/// A broker with a worker's consumer.
struct World {
    broker: TestBroker,
    client: Client,
    jobs: Jobs,
    puller: Puller,
}

/// One job, and what anybody may do to it.
struct Subject {
    jobs: Jobs,
    address: Address,
}

/// A conditional write.
#[derive(Clone, Copy)]
struct Step {
    token: u64,
    record: RecordKind,
    timer: Option<Timestamp>,
    purge: Option<RecordKind>,
}

impl Step {
    fn on(token: u64, record: RecordKind) -> Self {
        Self { token, record, timer: None, purge: None }
    }
}

// === impl World ===

impl World {
    async fn start(ack_wait: Duration) -> Result<Self> {
        let broker = TestBroker::start().await?;
        // One at a time, so that only one delivery after a connection is suspect.
        let layout = Layout { ack_wait, max_ack_pending: 1, ..Layout::default() };
        let connection = broker.provision(&layout).await?;
        let consumer = connection.names().worker_consumer(&QueueName::default());
        let jobs = Jobs::new(&connection, PoolName::default());
        let puller = Puller::open(&connection, jobs.stream().to_owned(), consumer).await?;
        let client = broker.client("test").await?;
        let mut world = Self { broker, client, jobs, puller };
        world.ready().await?;
        let suspect = world.deliver().await?;
        assert_eq!(protocol::opening(suspect.delivery()), Opening::Claim);
        suspect.handle().ack().await?;
        Ok(world)
    }

    async fn ready(&self) -> Result<Subject> {
        let subject = Subject::new(&self.jobs)?;
        won(subject.wait(Step::on(0, RecordKind::Ready)).await?)?;
        Ok(subject)
    }

    /// A job, and its first delivery, which holds it at once.
    async fn held(&mut self) -> Result<(Subject, Delivered)> {
        let subject = self.ready().await?;
        let first = self.deliver().await?;
        assert_eq!((first.count, protocol::opening(first.delivery())), (1, Opening::Run));
        Ok((subject, first))
    }

    /// What the broker delivers next.
    async fn deliver(&mut self) -> Result<Delivered> {
        let delivered = async {
            loop {
                if self.puller.outstanding() == 0 {
                    self.puller.request(1).await?;
                }
                if let Arrival::Message(delivered) = self.puller.next().await? {
                    return anyhow::Ok(*delivered);
                }
            }
        };
        timeout(PATIENCE, delivered).await.context("nothing is delivered")?
    }

    /// Waits until a timer that was set after all others has fired: so have they, those that stand.
    async fn timers_fired(&mut self) -> Result<()> {
        let probe = Subject::new(&self.jobs)?;
        let timer = Some(Timestamp::now() + 1500.milliseconds());
        won(probe.wait(Step { timer, ..Step::on(0, RecordKind::Later) }).await?)?;
        let delivered = self.deliver().await?;
        let id = probe.address.job_id.to_string();
        assert!(delivered.subject.ends_with(&id), "{} was delivered before the probe", delivered.subject);
        Ok(delivered.handle().ack().await?)
    }
}

/// Acknowledges, and waits until the server has read it: it reads in order, and confirms the second.
async fn acknowledge(delivered: &Delivered) -> Result<()> {
    delivered.handle().ack().await?;
    Ok(delivered.handle().extend(PATIENCE).await?)
}

fn won(verdict: Verdict) -> Result<u64> {
    let Verdict::Won(sequence) = verdict else { bail!("{verdict:?}, expected a win") };
    Ok(sequence)
}

/// That one has won, and all others have lost.
fn one_winner<const N: usize>(verdicts: impl Into<[Verdict; N]>) {
    let mut verdicts = verdicts.into();
    verdicts.sort_by_key(|verdict| *verdict == Verdict::Lost);
    assert!(matches!(verdicts[0], Verdict::Won(_)), "{verdicts:?}");
    assert_eq!(verdicts[1..], [Verdict::Lost].repeat(N - 1));
}

// === impl Subject ===

impl Subject {
    fn new(jobs: &Jobs) -> Result<Self> {
        let job_id = JobId::from_parts(Timestamp::now(), nonce()[..10].try_into()?);
        let address = Address { queue: QueueName::default(), priority: Priority::Normal, job_id };
        Ok(Self { jobs: jobs.clone(), address })
    }

    async fn write(&self, step: Step, nonce: &[u8], body: impl Message) -> Result<Verdict> {
        let Step { token, record, timer, purge } = step;
        let (address, timer, trace, ttl) =
            (&self.address, timer.map(|at| (at, RecordKind::Ready)), None, None);
        let (nonce, body) = (&nonce.to_vec().into(), body.encode_to_vec().into());
        let change = Change { address, token, record, body, nonce, trace, ttl, timer, purge };
        Ok(self.jobs.write(change, Instant::now() + PATIENCE).await?)
    }

    fn job(&self) -> v1::Job {
        let (id, kind) = (self.address.job_id.to_string(), "command.run".to_owned());
        let now = Some(instant(Timestamp::now()));
        let task = Some(v1::Task { id, kind, ..v1::Task::default() });
        v1::Job { task, accepted_at: now, due_at: now, nonce: nonce(), ..v1::Job::default() }
    }

    /// Writes a job that waits.
    async fn wait(&self, step: Step) -> Result<Verdict> {
        let job = self.job();
        self.write(step, &job.nonce.clone(), job).await
    }

    async fn done(&self, token: u64) -> Result<Verdict> {
        self.end(Step::on(token, RecordKind::Done), JobState::Succeeded).await
    }

    async fn end(&self, step: Step, state: JobState) -> Result<Verdict> {
        let (now, nonce, kind) = (Some(instant(Timestamp::now())), nonce(), "command.run".to_owned());
        let done = v1::Done { kind, accepted_at: now, ended_at: now, nonce, ..v1::Done::default() };
        self.write(step, &done.nonce.clone(), v1::Done { state: state.into(), ..done }).await
    }

    async fn claim(&self, delivered: &Delivered, token: u64, reason: ClaimReason) -> Result<Verdict> {
        let (now, nonce, kind) = (Some(instant(Timestamp::now())), nonce(), "command.run".to_owned());
        let (work_sequence, delivery_count, reason) = (delivered.sequence, delivered.count, reason.into());
        let claim = v1::Claim { kind, nonce, claimed_at: now, accepted_at: now, ..v1::Claim::default() };
        let claim = v1::Claim { work_sequence, delivery_count, reason, ..claim };
        self.write(Step::on(token, RecordKind::Claim), &claim.nonce.clone(), claim).await
    }

    /// What somebody may do to whom this was delivered.
    async fn open(&self, delivered: &Delivered) -> Result<Standing> {
        let view = self.seen().await?.view;
        Ok(match protocol::opening(delivered.delivery()) {
            Opening::Run => Standing::Mine { token: delivered.sequence },
            Opening::Check => protocol::check(delivered.sequence, &view),
            Opening::Claim => protocol::claim(delivered.sequence, &view),
        })
    }

    /// Opens a delivery and claims it; the new token.
    async fn take(&self, delivered: &Delivered) -> Result<u64> {
        assert_eq!(protocol::opening(delivered.delivery()), Opening::Claim);
        let Standing::Mine { token } = self.open(delivered).await? else { bail!("it is another's") };
        won(self.claim(delivered, token, ClaimReason::Redelivered).await?)
    }

    async fn lost_attempt(&self, delivered: &Delivered) -> Result<Option<Outcome>> {
        let last = self.seen().await?.last.context("no job")?;
        let handed_back =
            matches!(&last.body, RecordBody::Claim(claim) if claim.reason == ClaimReason::HandBack);
        Ok(protocol::lost_attempt(delivered.delivery(), last.record.kind, handed_back))
    }

    async fn seen(&self) -> Result<Seen> {
        Ok(self.jobs.read(&self.address.queue, self.address.job_id).await?)
    }

    /// The words in the subjects of what the stream holds of it.
    async fn left(&self, client: &Client) -> Result<Vec<String>> {
        let id = self.address.job_id.to_string();
        let subjects: BTreeMap<String, usize> =
            serde_json::from_value(client.subjects(self.jobs.stream()).await?)?;
        let of_job = subjects.iter().filter(|(subject, _)| subject.ends_with(&id));
        let word = |subject: &str| subject.split('.').nth(3).unwrap_or_default().to_owned();
        Ok(of_job.flat_map(|(subject, count)| std::iter::repeat_n(word(subject), *count)).collect())
    }
}

/// History `condition`, and more writers than it has.
#[tokio::test(flavor = "multi_thread")]
async fn of_all_ends_on_one_token_one_is_stored() -> Result<()> {
    let mut world = World::start(SHORT_LEASE).await?;
    let (subject, first) = world.held().await?;
    let second = world.deliver().await?;
    assert_eq!(subject.open(&second).await?, Standing::Mine { token: first.sequence });
    let end = || subject.done(first.sequence);
    one_winner(tokio::try_join!(end(), end(), end(), end())?);
    let late = subject.claim(&second, first.sequence, ClaimReason::Redelivered).await?;
    assert_eq!(late, Verdict::Lost);
    assert_eq!(protocol::refused(second.sequence, &subject.seen().await?.view), Stale::Acknowledge);
    assert_eq!(subject.left(&world.client).await?, ["done", "ready"]);
    let stored = world.client.store(&first.subject.replace(".ready.", ".done."), &[], "").await?;
    assert!(stored.get("error").is_none(), "without a condition the broker takes any: {stored}");
    Ok(())
}

/// Histories `claim`, `claim_over_claim`, `abandon`, `acknowledge_stale`, `drop_overdue_claim`.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_fences_the_first_holder_who_leaves_the_message_alone() -> Result<()> {
    let mut world = World::start(SHORT_LEASE).await?;
    let (subject, first) = world.held().await?;
    let second = world.deliver().await?;
    assert_eq!((second.sequence, second.count), (first.sequence, 2));
    assert_eq!(subject.lost_attempt(&second).await?, Some(Outcome::Crashed));
    let token = subject.take(&second).await?;
    assert_eq!(subject.done(first.sequence).await?, Verdict::Lost);
    assert_eq!(protocol::refused(first.sequence, &subject.seen().await?.view), Stale::Abandon);
    // The second crashes too: only because the first did not acknowledge does the message come again.
    let third = world.deliver().await?;
    assert_eq!((third.sequence, third.count), (first.sequence, 3));
    assert!(!first.is_fresh(SHORT_LEASE), "its lease ended two deliveries ago: it may not claim");
    let last = subject.take(&third).await?;
    assert_eq!(subject.done(token).await?, Verdict::Lost);
    won(subject.done(last).await?)?;
    // The third crashes before it acknowledges.
    let fourth = world.deliver().await?;
    assert_eq!(subject.open(&fourth).await?, Standing::NotMine(Stale::Acknowledge));
    acknowledge(&fourth).await?;
    subject.jobs.delete(token).await?;
    subject.jobs.delete(last).await?;
    assert_eq!(subject.left(&world.client).await?, ["done"]);
    // What `abandon` is for: to the broker alone, one delivery's acknowledgement is as good as another's.
    let (subject, first) = world.held().await?;
    let second = world.deliver().await?;
    subject.take(&second).await?;
    acknowledge(&first).await?;
    assert_eq!(subject.left(&world.client).await?, ["claim"], "the second holder's message is gone");
    Ok(())
}

/// History `hand_back_marker`.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_handed_back_counts_no_crash() -> Result<()> {
    let mut world = World::start(LONG_LEASE).await?;
    let (subject, first) = world.held().await?;
    let token = won(subject.claim(&first, first.sequence, ClaimReason::HandBack).await?)?;
    first.handle().nak(None).await?;
    let second = world.deliver().await?;
    assert_eq!((second.sequence, second.count), (first.sequence, 2));
    assert_eq!(subject.lost_attempt(&second).await?, None);
    let taken = subject.take(&second).await?;
    assert_eq!(subject.done(token).await?, Verdict::Lost);
    won(subject.done(taken).await?)?;
    Ok(())
}

/// Histories `fired_check`, `done_check`, `drop_overdue_create`.
#[tokio::test(flavor = "multi_thread")]
async fn what_fires_or_is_created_after_the_end_does_not_run() -> Result<()> {
    let mut world = World::start(LONG_LEASE).await?;
    let (subject, first) = world.held().await?;
    let later = Step { timer: Some(Timestamp::now()), ..Step::on(first.sequence, RecordKind::Later) };
    won(subject.wait(later).await?)?;
    acknowledge(&first).await?;
    let second = world.deliver().await?;
    assert_eq!((second.count, protocol::opening(second.delivery())), (1, Opening::Check));
    assert_eq!(subject.open(&second).await?, Standing::Mine { token: second.sequence });
    let end = won(subject.done(second.sequence).await?)?;
    acknowledge(&second).await?;
    // The timer again, as a broker fires it that was killed before it removed it; no condition holds it back.
    let (at, target) = (format!("@at {}", Timestamp::now()), second.subject.as_str());
    let headers = [("Nats-Schedule", at.as_str()), ("Nats-Schedule-Target", target)];
    world
        .client
        .store(&target.replace(".ready.", ".later."), &headers, subject.job().encode_to_vec())
        .await?;
    let third = world.deliver().await?;
    assert_eq!((third.count, protocol::opening(third.delivery())), (1, Opening::Check));
    assert!(
        subject.seen().await?.view.last.is_some_and(|last| last.sequence == third.sequence),
        "the end is not last"
    );
    assert_eq!(subject.open(&third).await?, Standing::NotMine(Stale::Acknowledge));
    acknowledge(&third).await?;
    assert_eq!(subject.left(&world.client).await?, ["done"]);
    let create = Step::on(0, RecordKind::Ready);
    assert_eq!(subject.wait(create).await?, Verdict::Lost);
    subject.jobs.delete(end).await?;
    won(subject.wait(create).await?).context("once the end is forgotten nothing refuses a create")?;
    Ok(())
}

/// Histories `purge_in_release`, `purge_in_cancel`, `purge_in_cancel_of_held`.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_or_cancel_removes_the_timer_in_its_one_write() -> Result<()> {
    let mut world = World::start(LONG_LEASE).await?;
    for (record, cancel) in
        [RecordKind::Later, RecordKind::Held].into_iter().flat_map(|r| [(r, false), (r, true)])
    {
        let subject = Subject::new(&world.jobs)?;
        let timer = Some(Timestamp::now() + 1.second());
        won(subject.wait(Step { timer, ..Step::on(0, record) }).await?)?;
        let view = subject.seen().await?.view;
        let removal = if cancel { protocol::cancel(&view) } else { protocol::release(&view) };
        let Removal::Write { token, purge_timer: true, then_delete: None } = removal else {
            bail!("{removal:?}")
        };
        let to = if cancel { RecordKind::Done } else { RecordKind::Ready };
        let step = Step { purge: Some(record), ..Step::on(token, to) };
        if cancel {
            let end = || subject.end(step, JobState::Cancelled);
            one_winner(tokio::try_join!(end(), end())?);
        } else {
            one_winner(tokio::try_join!(subject.wait(step), subject.wait(step))?);
            assert_eq!(subject.left(&world.client).await?, ["ready"]);
            let delivered = world.deliver().await?;
            won(subject.done(delivered.sequence).await?)?;
            acknowledge(&delivered).await?;
        }
        world.timers_fired().await?;
        assert_eq!(subject.left(&world.client).await?, ["done"], "{record}, cancel: {cancel}");
    }
    Ok(())
}

/// History `delete_in_cancel`.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_that_was_ready_is_not_delivered() -> Result<()> {
    let mut world = World::start(LONG_LEASE).await?;
    let subject = world.ready().await?;
    let removal = protocol::cancel(&subject.seen().await?.view);
    let Removal::Write { token, purge_timer: false, then_delete: Some(work) } = removal else {
        bail!("{removal:?}")
    };
    won(subject.end(Step::on(token, RecordKind::Done), JobState::Cancelled).await?)?;
    subject.jobs.delete(work).await?;
    world.timers_fired().await?;
    assert_eq!(subject.left(&world.client).await?, ["done"]);
    Ok(())
}

/// History `suspect`. Whether a broker that is killed forgets is a matter of milliseconds; it is killed until it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_delivery_by_a_broker_that_forgot_is_claimed() -> Result<()> {
    let mut world = World::start(SHORT_LEASE).await?;
    for _ in 0..20 {
        let (subject, first) = world.held().await?;
        world.broker.restart().await?;
        let second = world.deliver().await?;
        assert!(second.suspect && !first.is_fresh(Duration::MAX), "the connection was lost");
        assert_eq!(second.sequence, first.sequence);
        let forgot = second.count == 1;
        assert_eq!(subject.lost_attempt(&second).await?, (!forgot).then_some(Outcome::Crashed));
        let token = subject.take(&second).await?;
        assert_eq!(subject.done(first.sequence).await?, Verdict::Lost);
        won(subject.done(token).await?)?;
        acknowledge(&second).await?;
        if forgot {
            return Ok(());
        }
    }
    bail!("the broker never forgot a delivery")
}
