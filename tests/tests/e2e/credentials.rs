//! Whoever may publish into a stream with schedules controls it. So the users of `deploy/nats/windlass.conf` that need
//! no jobs of a pool cannot reach its stream: not by publishing, and not by naming it as a reply subject, which the
//! server does not check. Each attack is also made with rights that let it succeed, so that this test can fail.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use windlass_broker::jobs::Jobs;
use windlass_broker::kv::Bucket;
use windlass_broker::provision::{Layout, ensure_queue};
use windlass_broker::{Broker, connect, jobs, kv, presence};
use windlass_core::{PoolName, QueueName};
use windlass_testkit::broker::Client;
use windlass_testkit::{Fleet, TestBroker};

const WORK: &str = "windlass.job.mail.ready.normal.01890a5d-ac96-774b-bcce-b302099a8001";
const TIMER: &str = "windlass.job.mail.later.normal.01890a5d-ac96-774b-bcce-b302099a8002";
const INJECTED: &str = "windlass.job.mail.ready.normal.01890a5d-ac96-774b-bcce-b302099a8003";
const FORGED: &str = "windlass.job.mail.later.normal.01890a5d-ac96-774b-bcce-b302099a8004";
const COPY: &str = "windlass.job.spy.ready.normal.01890a5d-ac96-774b-bcce-b302099a8005";
const COPIER: &str = "windlass.job.spy.later.normal.01890a5d-ac96-774b-bcce-b302099a8006";
const OWN_WORK: &str = "windlass.job-billing.invoices.ready.normal.01890a5d-ac96-774b-bcce-b302099a8007";
const OWN_TIMER: &str = "windlass.job-billing.invoices.later.normal.01890a5d-ac96-774b-bcce-b302099a8008";

const PAST: &str = "@at 2020-01-01T00:00:00Z";
const FAR: &str = "@at 2099-01-01T00:00:00Z";

type Headers = &'static [(&'static str, &'static str)];

/// A subject of JOBS and the headers that do harm there.
const ATTACKS: &[(&str, &str, Headers)] = &[
    ("inject work", FORGED, &[("Nats-Schedule", PAST), ("Nats-Schedule-Target", INJECTED)]),
    (
        "read another queue",
        COPIER,
        &[("Nats-Schedule", PAST), ("Nats-Schedule-Target", COPY), ("Nats-Schedule-Source", WORK)],
    ),
    ("purge a timer", INJECTED, &[("Nats-Scheduler", TIMER), ("Nats-Schedule-Next", "purge")]),
    ("wipe all", INJECTED, &[("Nats-Rollup", "all")]),
];

fn layout() -> Layout {
    let mut layout = Layout::default();
    layout.queues.push("mail".parse().expect("a queue"));
    layout.pools.insert("billing".parse().expect("a pool"), vec!["invoices".parse().expect("a queue")]);
    layout
}

/// A message of work and a timer, and what JOBS then holds.
async fn victims(dispatcher: &Client) -> Result<Value> {
    stored(dispatcher, WORK, &[], "secret").await?;
    stored(dispatcher, TIMER, &[("Nats-Schedule", FAR), ("Nats-Schedule-Target", WORK)], "timer").await?;
    state(dispatcher).await
}

async fn stored(client: &Client, subject: &str, headers: &[(&str, &str)], body: &str) -> Result<u64> {
    let answer = client.store(subject, headers, body).await?;
    ensure!(answer.get("error").is_none(), "{subject}: {answer}");
    Ok(answer["seq"].as_u64().unwrap_or_default())
}

/// All that an attack could change.
async fn state(client: &Client) -> Result<Value> {
    let info = client.api("STREAM.INFO.JOBS", &json!({ "subjects_filter": ">" })).await?;
    let state = &info["state"];
    Ok(json!({ "subjects": state["subjects"], "last": state["last_seq"], "first": state["first_seq"] }))
}

/// Waits for what happens behind the broker's answer.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !holds().await? {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    });
    waited.await.unwrap_or_else(|_| anyhow::bail!("not in time: {what}"))
}

#[tokio::test]
async fn the_attacks_on_jobs_fail_for_whoever_does_not_own_them() -> Result<()> {
    let broker = TestBroker::with_credentials().await?;
    broker.provision(&layout()).await?;
    let dispatcher = broker.client("dispatcher").await?;
    let before = victims(&dispatcher).await?;
    for user in ["publisher", "worker_billing"] {
        let mut attacker = broker.client(user).await?;
        for (attack, subject, headers) in ATTACKS {
            attacker.publish(subject, None, headers, "evil").await?;
            let told = attacker.permission_error(subject).await?;
            assert_eq!(state(&dispatcher).await?, before, "{user}: {attack}, {told}");
        }
        // Nor may it read, delete, or make a consumer, which reads all.
        for call in [
            "STREAM.MSG.GET.JOBS",
            "STREAM.MSG.DELETE.JOBS",
            "STREAM.PURGE.JOBS",
            "CONSUMER.MSG.NEXT.JOBS.worker-mail",
            "CONSUMER.CREATE.JOBS.spy.windlass.job.>",
            "CONSUMER.CREATE.JOBS_billing.spy.windlass.job-billing.>",
        ] {
            for subject in [attacker.api_subject(call), format!("$JS.API.{call}")] {
                attacker.publish(&subject, None, &[], "{}").await?;
                attacker.permission_error(&subject).await?;
            }
        }
    }
    // The default pool's worker reaches the other's stream as little.
    let mut worker = broker.client("worker").await?;
    worker.publish(OWN_WORK, None, &[("Nats-Rollup", "all")], "evil").await?;
    worker.permission_error(OWN_WORK).await?;
    assert_eq!(state(&dispatcher).await?, before);
    Ok(())
}

/// The control of the test above, one attack a broker, as `Nats-Rollup` leaves nothing for the others.
#[tokio::test]
async fn the_attacks_on_jobs_succeed_with_the_dispatchers_rights() -> Result<()> {
    for (attack, subject, headers) in ATTACKS {
        let broker = TestBroker::with_credentials().await?;
        broker.provision(&layout()).await?;
        let dispatcher = broker.client("dispatcher").await?;
        victims(&dispatcher).await?;
        stored(&dispatcher, subject, headers, "evil").await?;
        until(attack, async || {
            let subjects = dispatcher.subjects("JOBS").await?;
            Ok(match *attack {
                "inject work" => subjects[INJECTED] == 1,
                "read another queue" if subjects[COPY] == 1 => {
                    let read = json!({ "last_by_subj": COPY });
                    // `secret`, in base64.
                    dispatcher.api("STREAM.MSG.GET.JOBS", &read).await?["message"]["data"] == "c2VjcmV0"
                }
                "purge a timer" => subjects[TIMER].is_null() && subjects[WORK] == 1,
                "wipe all" => subjects == json!({ INJECTED: 1 }),
                _ => false,
            })
        })
        .await?;
    }
    Ok(())
}

/// What a stream that the attacker may write to does with the same headers.
#[tokio::test]
async fn headers_that_name_jobs_are_refused_elsewhere() -> Result<()> {
    let broker = TestBroker::with_credentials().await?;
    broker.provision(&layout()).await?;
    let dispatcher = broker.client("dispatcher").await?;
    let before = victims(&dispatcher).await?;
    let (publisher, worker) = (broker.client("publisher").await?, broker.client("worker_billing").await?);
    for (attack, _, headers) in ATTACKS {
        let answer = publisher.store("windlass.task.mail", headers, "evil").await?;
        assert!(answer["error"]["err_code"].is_u64(), "{attack}: {answer}");
        // Its own stream is its own to harm, but what it names there is looked for there only.
        let answer = worker.store(OWN_TIMER, headers, "evil").await?;
        let is_schedule = headers.iter().any(|(name, _)| *name == "Nats-Schedule");
        assert_eq!(answer["error"]["err_code"].is_u64(), is_schedule, "{attack}: {answer}");
    }
    assert_eq!(state(&dispatcher).await?, before);
    Ok(())
}

/// The server sends answers to whatever subject a request names for them. Between accounts they stay with the asker.
#[tokio::test]
async fn a_reply_subject_reaches_no_other_account() -> Result<()> {
    let broker = TestBroker::with_credentials().await?;
    broker.provision(&layout()).await?;
    let dispatcher = broker.client("dispatcher").await?;
    let before = victims(&dispatcher).await?;
    let (publisher, worker) = (broker.client("publisher").await?, broker.client("worker_billing").await?);
    assert_eq!(state(&dispatcher).await?, reply_attack(&publisher, &worker, &dispatcher).await?);
    assert_eq!(state(&dispatcher).await?, before);
    Ok(())
}

/// The control of the test above: without accounts the same requests store an acknowledgement in JOBS and then wipe it.
#[tokio::test]
async fn a_reply_subject_reaches_every_stream_of_its_account() -> Result<()> {
    let broker = TestBroker::start().await?;
    broker.provision(&layout()).await?;
    let anybody = broker.client("anybody").await?;
    victims(&anybody).await?;
    reply_attack(&anybody, &anybody, &anybody).await?;
    until("JOBS is wiped", async || Ok(anybody.subjects("JOBS").await?[WORK].is_null())).await
}

/// Lets answers go to JOBS: an acknowledgement, a message that was read, and one that was delivered. Returns the state
/// once the broker has sent them.
async fn reply_attack(publisher: &Client, worker: &Client, observer: &Client) -> Result<Value> {
    publisher.publish("windlass.task.mail", Some(INJECTED), &[], "task").await?;
    let sequence = stored(worker, OWN_WORK, &[("Nats-Rollup", "all")], "evil").await?;
    stored(worker, &OWN_WORK.replace("normal", "low"), &[], "another").await?;
    let read = worker.api_subject("STREAM.MSG.GET.JOBS_billing");
    worker.publish(&read, Some(INJECTED), &[], &json!({ "seq": sequence }).to_string()).await?;
    let next = worker.api_subject("CONSUMER.MSG.NEXT.JOBS_billing.worker-invoices");
    worker.publish(&next, Some(INJECTED), &[], "1").await?;
    // Requests are served in turn: once this one is, the other was.
    pull(worker, "JOBS_billing", "worker-invoices").await?;
    until("the task is stored", async || Ok(observer.subjects("TASKS").await?["windlass.task.mail"] == 1))
        .await?;
    state(observer).await
}

/// Each user can do its work with the rights it has; a missing one ends in a plain error.
#[tokio::test]
async fn each_user_can_do_its_work() -> Result<()> {
    let broker = TestBroker::with_credentials().await?;
    broker.provision(&layout()).await?;
    let dispatcher = broker.client("dispatcher").await?;
    let publisher = broker.client("publisher").await?;
    let operator = broker.client("operator").await?;
    let worker = broker.client("worker_billing").await?;
    stored(&publisher, "windlass.task.invoices", &[("Nats-Msg-Id", "1")], "{}").await?;
    stored(&operator, "windlass.command.invoices.cancel", &[], "").await?;

    // The dispatcher takes both, makes a job and a queue.
    for (stream, subject) in
        [("TASKS", "windlass.task.invoices"), ("COMMANDS", "windlass.command.invoices.cancel")]
    {
        let message = pull(&dispatcher, stream, "dispatcher").await?;
        assert_eq!(message.0, subject);
        confirmed(&dispatcher, &message.1).await?;
    }
    let filter = OWN_WORK.replace(".ready.normal.", ".*.*.");
    let conditions = [
        ("Nats-Expected-Last-Subject-Sequence", "0"),
        ("Nats-Expected-Last-Subject-Sequence-Subject", filter.as_str()),
    ];
    let token = stored(&dispatcher, OWN_WORK, &conditions, "job").await?.to_string();
    ensure_queue(&broker.connect("dispatcher").await?, &layout(), &"new".parse()?).await?;

    // The worker runs and settles it; the operator sees the end.
    let mut ends = operator.subscribe("windlass.job-billing.*.done.>").await?;
    operator.publish("windlass.task.mail", None, &[], "").await?;
    let message = pull(&worker, "JOBS_billing", "worker-invoices").await?;
    assert_eq!(message.0, OWN_WORK);
    let seen = worker.api("STREAM.MSG.GET.JOBS_billing", &json!({ "last_by_subj": filter })).await?;
    assert_eq!(seen["message"]["subject"], OWN_WORK);
    let done = OWN_WORK.replace("ready", "done");
    let conditions =
        [("Nats-Expected-Last-Subject-Sequence", token.as_str()), (conditions[1].0, conditions[1].1)];
    stored(&worker, &done, &[&conditions[..], &[("Nats-TTL", "900")]].concat(), "done").await?;
    assert_eq!(operator.next(&mut ends).await?.subject.as_str(), done);
    stored(&worker, "windlass.event.invoices.worker.billing", &[], "").await?;
    stored(&worker, "windlass.dead.invoices.01890a5d-ac96-774b-bcce-b302099a8007", &[], "").await?;
    stored(&worker, "windlass.task.mail", &[], "a child").await?;
    confirmed(&worker, &message.1).await?;
    let left = operator.subjects("JOBS_billing").await?;
    assert_eq!(left, json!({ done: 1 }));

    // Presence and cancellation.
    let (names, worker_broker) = (windlass_broker::Names::default(), broker.connect("worker_billing").await?);
    let workers = worker_broker.bucket(names.workers_bucket());
    workers.put("billing.w1", "here".into(), Some(Duration::from_secs(15))).await?;
    let mut cancels = worker.subscribe("$KV.windlass_control.cancel.>").await?;
    worker.api("STREAM.INFO.JOBS_billing", &json!({})).await?;
    let dispatcher_broker = broker.connect("dispatcher").await?;
    let control = dispatcher_broker.bucket(names.control_bucket());
    control.put("cancel.invoices.x", "why".into(), Some(Duration::from_mins(1))).await?;
    assert_eq!(worker.next(&mut cancels).await?.subject.as_str(), "$KV.windlass_control.cancel.invoices.x");
    let seen = worker_broker.bucket(names.control_bucket()).get("cancel.invoices.x").await?;
    assert_eq!(seen.map(|entry| entry.value), Some("why".into()));

    // The monitor reads the history and the buckets.
    let monitor = broker.client("monitor").await?;
    let message = pull(&monitor, "EVENTS", "monitor").await?;
    assert_eq!(message.0, "windlass.event.invoices.worker.billing");
    confirmed(&monitor, &message.1).await?;
    let monitor_broker = broker.connect("monitor").await?;
    assert_eq!(monitor_broker.bucket(names.workers_bucket()).entries().await?.len(), 1);
    monitor_broker.bucket(names.control_bucket()).put("endpoint.monitor", "url".into(), None).await?;

    // The scheduler leads, watches, and publishes.
    let scheduler = broker.connect("scheduler").await?;
    scheduler.bucket(names.control_bucket()).create("leader.scheduler", "me".into(), None).await?;
    scheduler.bucket(names.cursors_bucket()).put("daily", "1".into(), None).await?;
    let _watch = scheduler.bucket(names.schedules_bucket()).watch().await?;
    stored(&broker.client("scheduler").await?, "windlass.task.mail", &[], "").await?;

    // Each says that it lives, under its own name; the monitor reads that.
    let instances =
        [("dispatcher", &dispatcher_broker), ("scheduler", &scheduler), ("monitor", &monitor_broker)];
    for (service, of) in instances {
        control_of(of)
            .put(&names.presence_key(service, "one"), "".into(), Some(Duration::from_secs(30)))
            .await?;
    }
    assert_eq!(presence::list(&monitor_broker).await?.len(), 3);
    let forged = control_of(&scheduler).put(&names.presence_key("monitor", "two"), "".into(), None).await;
    let chain = format!("{:#}", anyhow::Error::new(forged.unwrap_err()));
    assert!(chain.contains("permission denied"), "{chain}");

    // And what is not allowed says so.
    let refused = workers.put("default.w2", "forged".into(), None).await.unwrap_err();
    let chain = format!("{:#}", anyhow::Error::new(refused));
    assert!(
        chain.contains("permission denied") && chain.contains("$KV.windlass_workers.default.w2"),
        "{chain}"
    );
    Ok(())
}

fn control_of(broker: &Broker) -> Bucket {
    broker.bucket(broker.names().control_bucket())
}

/// The monitor's API cancels, releases, redrives and discards; it does nothing else that moves a job.
#[tokio::test]
async fn the_monitor_commands_what_its_api_offers() -> Result<()> {
    let broker = TestBroker::with_credentials().await?;
    broker.provision(&layout()).await?;
    let mut monitor = broker.client("monitor").await?;
    for verb in ["cancel", "release", "redrive", "discard"] {
        stored(&monitor, &format!("windlass.command.mail.{verb}"), &[], "").await?;
    }
    for subject in ["windlass.command.mail.other", "windlass.task.mail", WORK] {
        monitor.publish(subject, None, &[], "").await?;
        monitor.permission_error(subject).await?;
    }
    Ok(())
}

/// One message of a durable: its subject and where its acknowledgement goes.
async fn pull(client: &Client, stream: &str, consumer: &str) -> Result<(String, String)> {
    let inbox = client.nats().new_inbox();
    let mut subscription = client.subscribe(&inbox).await?;
    let next = client.api_subject(&format!("CONSUMER.MSG.NEXT.{stream}.{consumer}"));
    client.publish(&next, Some(&inbox), &[], r#"{"batch":1,"expires":5000000000}"#).await?;
    let message = client.next(&mut subscription).await?;
    ensure!(message.status.is_none(), "no message on {stream}: {:?}", message.description);
    Ok((message.subject.to_string(), message.reply.map(|reply| reply.to_string()).unwrap_or_default()))
}

/// An acknowledgement that is itself acknowledged.
async fn confirmed(client: &Client, reply: &str) -> Result<()> {
    client.nats().request(reply.to_owned(), "+ACK".into()).await?;
    Ok(())
}

/// Who may not read is told so, and not that the broker is slow or that the job goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_to_read_is_told() -> Result<()> {
    let fleet = Fleet::start().await?;
    let publisher = fleet.broker.connect("publisher").await?;
    let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse()?;
    let jobs = Jobs::new(&publisher, PoolName::default());
    let waited = jobs.wait_done(&QueueName::default(), id, Duration::from_secs(3600)).await;
    let denied =
        matches!(&waited, Err(jobs::Error::Broker { source: connect::Error::PermissionDenied(_), .. }));
    assert!(denied, "{waited:?}");
    let bucket = publisher.bucket(publisher.names().schedules_bucket());
    let read = bucket.entries().await;
    let denied = matches!(&read, Err(kv::Error::Broker { source: connect::Error::PermissionDenied(_), .. }));
    assert!(denied, "{read:?}");
    Ok(())
}
