//! A real broker, and one job that the tests move step by step.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Instant, timeout};
use windlass_broker::Broker;
use windlass_broker::delivery::Delivered;
use windlass_broker::jobs::{Address, Change, Jobs, Seen, Verdict, nonce};
use windlass_broker::provision::Layout;
use windlass_broker::pull::{Arrival, Puller};
use windlass_core::attempt::{next_number, push_bounded};
use windlass_core::protocol::{self, Opening, Standing};
use windlass_core::{Attempt, JobId, JobState, Outcome, PoolName, Priority, QueueName, RecordKind, Task};
use windlass_proto::v1::ClaimReason;
use windlass_proto::{Claim, Done, Job, RecordBody};
use windlass_testkit::broker::Client;
use windlass_testkit::{PATIENCE, TestBroker};

/// Ends by itself while a test waits for the next delivery.
pub(super) const SHORT_LEASE: Duration = Duration::from_secs(1);
/// Does not end within a test.
pub(super) const LONG_LEASE: Duration = Duration::from_secs(300);

/// Long enough to be left to the broker.
pub(super) const TIMER: Duration = Duration::from_millis(1200);

const KIND: &str = "command.run";

/// A broker with a worker's consumer.
pub(super) struct World {
    pub(super) broker: TestBroker,
    /// The product's.
    pub(super) connection: Broker,
    /// A bare one.
    pub(super) client: Client,
    pub(super) jobs: Jobs,
    puller: Puller,
}

/// One job, and what anybody may do to it.
pub(super) struct Subject {
    pub(super) jobs: Jobs,
    pub(super) address: Address,
}

/// A conditional write.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) token: u64,
    pub(super) record: RecordKind,
    /// When the job is ready.
    pub(super) timer: Option<(Timestamp, RecordKind)>,
    pub(super) purge: Option<RecordKind>,
    pub(super) within: Duration,
}

impl Step {
    pub(super) fn on(token: u64, record: RecordKind) -> Self {
        Self { token, record, timer: None, purge: None, within: PATIENCE }
    }

    /// With a timer of the broker's.
    pub(super) fn timer(token: u64, record: RecordKind) -> Self {
        Self { timer: Some((Timestamp::now() + TIMER, RecordKind::Ready)), ..Self::on(token, record) }
    }

    /// Its timer fires as `due`.
    pub(super) fn into_due(self) -> Self {
        Self { timer: self.timer.map(|(at, _)| (at, RecordKind::Due)), ..self }
    }
}

// === impl World ===

impl World {
    pub(super) async fn start(ack_wait: Duration) -> Result<Self> {
        let broker = TestBroker::start().await?;
        // One at a time, so that only one delivery after a connection is suspect.
        let layout = Layout { ack_wait, max_ack_pending: 1, ..Layout::default() };
        let connection = broker.provision(&layout).await?;
        let consumer = connection.names().worker_consumer(&QueueName::default());
        let jobs = Jobs::new(&connection, PoolName::default());
        // It stands before the worker connects: a broker that forgot may have delivered it.
        Subject::new(&jobs)?.make_ready().await?;
        let puller = Puller::open(&connection, jobs.stream().to_owned(), consumer).await?;
        let client = broker.client("test").await?;
        let mut world = Self { broker, connection, client, jobs, puller };
        let suspect = world.deliver().await?;
        assert_eq!(protocol::opening(suspect.delivery()), Opening::Claim);
        suspect.handle().ack().await?;
        Ok(world)
    }

    /// A job that is ready.
    pub(super) async fn ready(&self) -> Result<Subject> {
        let subject = Subject::new(&self.jobs)?;
        subject.make_ready().await?;
        Ok(subject)
    }

    /// A job, and its first delivery, which holds it at once.
    pub(super) async fn held(&mut self) -> Result<(Subject, Delivered)> {
        let subject = self.ready().await?;
        let first = self.deliver().await?;
        assert_eq!((first.count, protocol::opening(first.delivery())), (1, Opening::Run));
        Ok((subject, first))
    }

    /// What the broker delivers next to the worker.
    pub(super) async fn deliver(&mut self) -> Result<Delivered> {
        Self::deliver_to(&mut self.puller).await
    }

    /// What the broker delivers next.
    pub(super) async fn deliver_to(puller: &mut Puller) -> Result<Delivered> {
        let delivered = async {
            loop {
                if puller.outstanding() == 0 {
                    puller.request(1).await?;
                }
                if let Arrival::Message(delivered) = puller.next().await? {
                    return anyhow::Ok(*delivered);
                }
            }
        };
        timeout(PATIENCE, delivered).await.context("nothing is delivered")?
    }

    /// How many messages the stream of jobs has ever stored.
    pub(super) async fn stored(&self) -> Result<u64> {
        let info = self.client.api(&format!("STREAM.INFO.{}", self.jobs.stream()), &json!({})).await?;
        info["state"]["last_seq"].as_u64().context("the stream has no state")
    }

    /// A consumer of what is `due`, past its first suspect delivery.
    pub(super) async fn dispatcher(&self) -> Result<Puller> {
        let config = json!({
            "durable_name": "due", "filter_subject": "windlass.job.default.due.>", "ack_policy": "explicit",
            "ack_wait": LONG_LEASE.as_nanos(), "max_ack_pending": 1,
        });
        let request = json!({ "stream_name": self.jobs.stream(), "config": config });
        let call = format!("CONSUMER.CREATE.{}.due", self.jobs.stream());
        let made = self.client.api(&call, &request).await?;
        ensure!(made.get("error").is_none(), "{made}");
        let mut puller =
            Puller::open(&self.connection, self.jobs.stream().to_owned(), "due".to_owned()).await?;
        won(Subject::new(&self.jobs)?.wait(Step::on(0, RecordKind::Due)).await?)?;
        Self::deliver_to(&mut puller).await?.handle().ack().await?;
        Ok(puller)
    }

    /// A timer that fires once more, as that of a broker does that was killed before it removed it; no condition holds
    /// it back.
    pub(super) async fn fire_again(&self, subject: &Subject, target: RecordKind) -> Result<()> {
        let (at, target) = (format!("@at {}", Timestamp::now()), subject.on(target));
        let headers = [("Nats-Schedule", at.as_str()), ("Nats-Schedule-Target", target.as_str())];
        let body = subject.job(Vec::new())?.encode();
        let stored = self.client.store(&subject.on(RecordKind::Later), &headers, body).await?;
        ensure!(stored.get("error").is_none(), "{stored}");
        Ok(())
    }

    /// Waits until a timer that was set after all others has fired: so have they, those that stand.
    pub(super) async fn timers_fired(&mut self) -> Result<()> {
        let probe = Subject::new(&self.jobs)?;
        let timer = Some((Timestamp::now() + TIMER * 2, RecordKind::Ready));
        won(probe.wait(Step { timer, ..Step::on(0, RecordKind::Later) }).await?)?;
        let delivered = self.deliver().await?;
        let id = probe.address.job_id.to_string();
        assert!(delivered.subject.ends_with(&id), "{} was delivered before the probe", delivered.subject);
        Ok(delivered.handle().ack().await?)
    }
}

/// Acknowledges, and waits until the server has read it: it reads in order, and confirms the second.
pub(super) async fn acknowledge(delivered: &Delivered) -> Result<()> {
    delivered.handle().ack().await?;
    Ok(delivered.handle().extend(PATIENCE).await?)
}

/// The new token, where one is said.
pub(super) fn won(verdict: Verdict) -> Result<Option<u64>> {
    let Verdict::Won(sequence) = verdict else { bail!("{verdict:?}, expected a win") };
    Ok(sequence)
}

/// The new token of a record that may hold the job.
pub(super) fn won_token(verdict: Verdict) -> Result<u64> {
    won(verdict)?.context("a token is said")
}

/// That one has won, and all others have lost.
pub(super) fn one_winner<const N: usize>(verdicts: impl Into<[Verdict; N]>) {
    let mut verdicts = verdicts.into();
    verdicts.sort_by_key(|verdict| *verdict == Verdict::Lost);
    assert!(matches!(verdicts[0], Verdict::Won(_)), "{verdicts:?}");
    assert_eq!(verdicts[1..], [Verdict::Lost].repeat(N - 1));
}

// === impl Subject ===

impl Subject {
    pub(super) fn new(jobs: &Jobs) -> Result<Self> {
        let job_id = JobId::from_parts(Timestamp::now(), nonce()[..10].try_into()?);
        let address = Address { queue: QueueName::default(), priority: Priority::Normal, job_id };
        Ok(Self { jobs: jobs.clone(), address })
    }

    /// Writes its first `ready`.
    pub(super) async fn make_ready(&self) -> Result<()> {
        won(self.wait(Step::on(0, RecordKind::Ready)).await?)?;
        Ok(())
    }

    /// The sequence of its last record.
    pub(super) async fn token(&self) -> Result<u64> {
        self.seen().await?.view.last.map(|last| last.sequence).context("it has a record")
    }

    pub(super) async fn write(&self, step: Step, nonce: &Bytes, body: Bytes) -> Result<Verdict> {
        let Step { token, record, timer, purge, within } = step;
        let (address, trace, ttl) = (&self.address, None, None);
        let change = Change { address, token, record, body, nonce, trace, ttl, timer, purge };
        Ok(self.jobs.write(change, Instant::now() + within).await?)
    }

    pub(super) fn job(&self, attempts: Vec<Attempt>) -> Result<Job> {
        let now = Timestamp::now();
        let task = Task::new(self.address.job_id, KIND.parse()?, Bytes::new());
        let task = Task { priority: self.address.priority, ..task };
        Ok(Job { attempts, ..Job::new(task, now, now, nonce()) })
    }

    /// Writes a job that waits, with these attempts behind it.
    pub(super) async fn write_job(&self, step: Step, attempts: Vec<Attempt>) -> Result<Verdict> {
        let job = self.job(attempts)?;
        self.write(step, &job.nonce, job.encode()).await
    }

    /// Writes a job that waits.
    pub(super) async fn wait(&self, step: Step) -> Result<Verdict> {
        self.write_job(step, Vec::new()).await
    }

    pub(super) async fn done(&self, token: u64) -> Result<Verdict> {
        self.end(Step::on(token, RecordKind::Done), JobState::Succeeded).await
    }

    /// An end that carries the attempts of the message before it.
    pub(super) async fn end(&self, step: Step, state: JobState) -> Result<Verdict> {
        let now = Timestamp::now();
        let done = Done {
            kind: KIND.parse()?,
            state,
            attempts: self.attempts().await?,
            result: Bytes::new(),
            result_form: windlass_core::Form::default(),
            result_content_type: String::new(),
            error: None,
            accepted_at: now,
            ended_at: now,
            nonce: nonce(),
            other_id: None,
        };
        self.write(step, &done.nonce, done.encode()).await
    }

    /// A claim that carries what is known of the attempts before it.
    pub(super) async fn claim(
        &self,
        delivered: &Delivered,
        token: u64,
        reason: ClaimReason,
    ) -> Result<Verdict> {
        let now = Timestamp::now();
        let mut attempts = self.attempts().await?;
        if let (ClaimReason::Redelivered, Some(outcome)) = (reason, self.lost_attempt(delivered).await?) {
            let number = next_number(&attempts);
            let crash = Attempt {
                number,
                worker: String::new(),
                started_at: None,
                ended_at: now,
                outcome,
                error: None,
                alone: false,
                failure: 0,
            };
            push_bounded(&mut attempts, crash);
        }
        let claim = Claim {
            work_sequence: delivered.sequence,
            worker: "tester".to_owned(),
            reason,
            claimed_at: now,
            attempts,
            kind: KIND.parse()?,
            accepted_at: now,
            nonce: nonce(),
            delivery_count: delivered.count,
            checkpoint: Bytes::new(),
            alone: false,
            kind_unknown_since: None,
        };
        self.write(Step::on(token, RecordKind::Claim), &claim.nonce, claim.encode()).await
    }

    /// The attempts that the last message carries.
    pub(super) async fn attempts(&self) -> Result<Vec<Attempt>> {
        Ok(self.seen().await?.last.map(|last| last.body.attempts().to_vec()).unwrap_or_default())
    }

    /// What somebody may do to whom this was delivered.
    pub(super) async fn open(&self, delivered: &Delivered) -> Result<Standing> {
        let view = self.seen().await?.view;
        Ok(match protocol::opening(delivered.delivery()) {
            Opening::Run => Standing::Mine { token: delivered.sequence },
            Opening::Check => protocol::check(delivered.sequence, &view),
            Opening::Claim => protocol::claim(delivered.sequence, &view),
        })
    }

    /// What a worker asks first of what a timer fired.
    pub(super) async fn is_in_force(&self, delivered: &Delivered) -> bool {
        self.jobs.is_in_force(delivered.sequence, &self.address.queue, self.address.job_id).await
    }

    /// Opens a delivery and claims it; the new token.
    pub(super) async fn take(&self, delivered: &Delivered) -> Result<u64> {
        assert_eq!(protocol::opening(delivered.delivery()), Opening::Claim);
        let Standing::Mine { token } = self.open(delivered).await? else { bail!("it is another's") };
        won_token(self.claim(delivered, token, ClaimReason::Redelivered).await?)
    }

    /// The attempt that a claim of this delivery would end.
    pub(super) async fn lost_attempt(&self, delivered: &Delivered) -> Result<Option<Outcome>> {
        let last = self.seen().await?.last.context("no job")?;
        let handed_back =
            matches!(&last.body, RecordBody::Claim(claim) if claim.reason == ClaimReason::HandBack);
        Ok(protocol::lost_attempt(delivered.delivery(), last.record.kind, handed_back))
    }

    pub(super) async fn seen(&self) -> Result<Seen> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.jobs.read(&self.address.queue, self.address.job_id).await {
                // Without a leader nobody answers.
                Err(_) if Instant::now() < deadline => {}
                read => return Ok(read?),
            }
        }
    }

    /// The words in the subjects of what the stream holds of it.
    pub(super) async fn left(&self, client: &Client) -> Result<Vec<String>> {
        let id = self.address.job_id.to_string();
        let subjects: BTreeMap<String, usize> =
            serde_json::from_value(client.subjects(self.jobs.stream()).await?)?;
        let of_job = subjects.iter().filter(|(subject, _)| subject.ends_with(&id));
        let word = |subject: &str| subject.split('.').nth(3).unwrap_or_default().to_owned();
        Ok(of_job.flat_map(|(subject, count)| std::iter::repeat_n(word(subject), *count)).collect())
    }

    pub(super) fn on(&self, record: RecordKind) -> String {
        let Address { queue, priority, job_id } = &self.address;
        format!("windlass.job.{queue}.{record}.{priority}.{job_id}")
    }
}
