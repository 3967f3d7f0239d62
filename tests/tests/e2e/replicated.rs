//! A fleet on three servers with three copies of each stream: a server and a worker die in the midst of the work.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use futures::future::try_join_all;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use windlass_core::{JobId, JobState, Transition};
use windlass_testkit::{Cluster, Fleet, PATIENCE, broker, stored_events};

/// Jobs that end before the first fault.
const BEFORE: Range<usize> = 0..30;
/// Jobs that run when the leader dies, and until all faults are over.
const HELD: Range<usize> = 30..38;
/// Jobs that come in around the leader's death.
const AROUND: Range<usize> = 38..118;
/// Jobs that run when the worker dies.
const LATE: Range<usize> = 118..126;
/// Jobs that come in after the last fault.
const AFTER: Range<usize> = 126..150;
const WORKERS: [&str; 2] = ["worker", "worker-2"];
/// Of each worker, by default: room for what is held, and held twice, and for more.
const SLOTS: usize = 16;

/// What the jobs call: it counts each execution, and keeps some of them until its gate is opened.
struct Target {
    url: String,
    calls: watch::Receiver<Calls>,
    gate: watch::Sender<bool>,
}

/// The numbers of the jobs that have called, each time, and of those whose calls go on.
#[derive(Default)]
struct Calls {
    all: Vec<usize>,
    open: Vec<usize>,
}

/// A call; ends with the value, as its connection does.
struct Call(Arc<watch::Sender<Calls>>, usize);

// === impl Call ===

impl Call {
    fn begin(calls: Arc<watch::Sender<Calls>>, number: usize) -> Self {
        calls.send_modify(|calls| {
            calls.all.push(number);
            calls.open.push(number);
        });
        Self(calls, number)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.send_modify(|calls| {
            if let Some(place) = calls.open.iter().position(|number| *number == self.1) {
                calls.open.swap_remove(place);
            }
        });
    }
}

// === impl Target ===

impl Target {
    async fn start() -> Result<Self> {
        let (called, calls) = watch::channel(Calls::default());
        let (gate, is_open) = watch::channel(false);
        let called = Arc::new(called);
        let call = move |Path(number): Path<usize>| {
            let (call, mut is_open) = (Call::begin(Arc::clone(&called), number), is_open.clone());
            async move {
                if HELD.contains(&number) || LATE.contains(&number) {
                    let _ = is_open.wait_for(|open| *open).await;
                }
                drop(call);
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let routes = Router::new().route("/{number}", get(call));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { url, calls, gate })
    }

    /// Waits until the calls satisfy this.
    async fn until(&self, what: &str, holds: impl Fn(&Calls) -> bool) -> Result<()> {
        let mut calls = self.calls.clone();
        timeout(PATIENCE, calls.wait_for(|calls| holds(calls))).await.with_context(|| what.to_owned())??;
        Ok(())
    }

    /// Waits until all of these run.
    async fn running(&self, numbers: Range<usize>) -> Result<()> {
        let all_run = |calls: &Calls| numbers.clone().all(|number| calls.open.contains(&number));
        self.until("jobs that are held run", all_run).await
    }

    /// How often each job was executed.
    fn executions(&self) -> BTreeMap<usize, usize> {
        let mut counts = BTreeMap::new();
        for number in &self.calls.borrow().all {
            *counts.entry(*number).or_default() += 1;
        }
        counts
    }
}

/// A fleet with two of what runs jobs, and the target of its jobs.
struct Scene {
    fleet: Fleet<Cluster>,
    target: Target,
    /// Looks behind the product's back.
    admin: broker::Client,
    /// Of the jobs by their numbers.
    ids: Vec<JobId>,
}

// === impl Scene ===

impl Scene {
    async fn start() -> Result<Self> {
        let mut fleet = Fleet::replicated().await?;
        // The target is on this machine.
        fleet.set_env("WINDLASS__WORKER__HTTP__PROXY_FROM_ENVIRONMENT", "false");
        let labels = ["dispatcher", "dispatcher-2", WORKERS[0], WORKERS[1], "monitor"];
        for label in labels {
            fleet.spawn(label).await?;
        }
        for label in labels {
            fleet.process(label)?.ready().await?;
        }
        let admin = fleet.broker.client().await?;
        Ok(Self { target: Target::start().await?, fleet, admin, ids: Vec::new() })
    }

    /// Submits these jobs, a few at a time, which come next. The client tries each until it is accepted, within its
    /// bound.
    fn submit(&self, numbers: Range<usize>) -> impl Future<Output = Result<Vec<JobId>>> + Send + use<> {
        assert_eq!(self.ids.len(), numbers.start);
        let (client, url) = (self.fleet.client.clone(), self.target.url.clone());
        let submissions = numbers.map(move |number| {
            let payload = json!({ "url": format!("{url}/{number}"), "timeout_seconds": 120 });
            client.raw("http.request", payload.to_string().into(), "application/json").submit()
        });
        let submitted = futures::stream::iter(submissions).buffered(4).map_ok(|submitted| submitted.id);
        async move { Ok(submitted.try_collect().await?) }
    }

    /// Waits for these jobs to end well.
    async fn ended(&self, numbers: Range<usize>) -> Result<()> {
        try_join_all(self.ids[numbers].iter().map(|id| self.fleet.result(*id))).await?;
        Ok(())
    }

    /// Kills the leader of JOBS while tasks come in, are admitted and run. Two servers do the work before it is back.
    async fn lose_the_leader(&mut self) -> Result<()> {
        let leader = self.fleet.broker.leader(&self.admin, "JOBS").await?;
        let submitting = tokio::spawn(self.submit(AROUND));
        let begun = |calls: &Calls| calls.all.iter().any(|number| AROUND.contains(number));
        self.target.until("jobs from around the fault run", begun).await?;
        self.fleet.broker.kill9(leader).await?;
        self.ids.extend(submitting.await??);
        self.ended(AROUND).await?;
        assert_ne!(self.fleet.broker.leader(&self.admin, "JOBS").await?, leader);
        self.fleet.broker.restart(leader).await?;
        // Who was replaced while the broker was silent is told, and lets go.
        let once = |calls: &Calls| {
            HELD.clone().all(|number| calls.open.iter().filter(|open| **open == number).count() == 1)
        };
        self.target.until("each held job runs in one place", once).await?;
        Ok(())
    }

    /// The late jobs that each worker has begun, once all have a worker.
    async fn holders(&self) -> Result<BTreeMap<String, BTreeSet<usize>>> {
        let mut holders: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        while holders.values().map(BTreeSet::len).sum::<usize>() < LATE.len() {
            for event in stored_events(&self.admin).await? {
                let number = LATE.clone().find(|number| self.ids[*number] == event.job_id);
                if let (Some(number), Transition::Started) = (number, event.transition) {
                    holders.entry(event.worker).or_default().insert(number);
                }
            }
        }
        Ok(holders)
    }

    /// Kills the worker that runs more of the late jobs, and says which they are.
    async fn lose_a_worker(&mut self) -> Result<BTreeSet<usize>> {
        let holders = timeout(PATIENCE, self.holders()).await.context("not all starts were said")??;
        let (holder, lost) =
            holders.into_iter().max_by_key(|(_, lost)| lost.len()).context("nobody works")?;
        for label in WORKERS {
            // A worker's name ends with its process and a random word.
            let pid = self.fleet.process(label)?.pid().to_string();
            if holder.rsplit('-').nth(1) == Some(&pid) {
                self.fleet.kill9(label).await?;
                return Ok(lost);
            }
        }
        anyhow::bail!("{holder} is none of the workers")
    }

    /// What the monitor says of all jobs, once it knows the ends of all.
    async fn monitored(&mut self) -> Result<Vec<Value>> {
        let monitor = self.fleet.process("monitor")?.http().await?;
        let ended = async {
            loop {
                let url = format!("{monitor}/api/v1/jobs?limit=500");
                let mut jobs: Value = reqwest::get(url).await?.json().await?;
                let jobs = std::mem::take(jobs["jobs"].as_array_mut().context("no jobs")?);
                if jobs.iter().filter(|job| job["state"] == "succeeded").count() >= self.ids.len() {
                    return anyhow::Ok(jobs);
                }
                tokio::task::yield_now().await;
            }
        };
        let jobs = timeout(PATIENCE, ended).await.context("the monitor does not know all ends")??;
        let status: Value = reqwest::get(format!("{monitor}/api/v1/status")).await?.json().await?;
        assert_eq!(status["gaps"], json!([]), "the monitor missed events");
        Ok(jobs)
    }
}

/// For the monitor and in the history every job is there, no other is, and each has one end.
async fn assert_one_end_each(scene: &mut Scene) -> Result<()> {
    let all: BTreeSet<JobId> = scene.ids.iter().copied().collect();
    assert_eq!(all.len(), AFTER.end);
    let known = scene.monitored().await?;
    assert_eq!(known.len(), all.len(), "the monitor knows other jobs");
    let known: BTreeSet<JobId> = known.iter().filter_map(|job| job["id"].as_str()?.parse().ok()).collect();
    assert_eq!(known, all);

    let last: Vec<_> = JobState::ALL.iter().filter_map(|state| state.end()).collect();
    let mut ends: BTreeMap<JobId, BTreeSet<(&str, u32)>> = BTreeMap::new();
    for event in stored_events(&scene.admin).await? {
        if last.contains(&event.transition) {
            ends.entry(event.job_id).or_default().insert((event.transition.as_str(), event.attempt));
        }
    }
    assert_eq!(ends.keys().copied().collect::<BTreeSet<_>>(), all);
    assert!(ends.values().all(|ends| ends.len() == 1), "{ends:?}");
    Ok(())
}

/// A job runs once more for each fault that it was held at, and none for another cause.
fn assert_few_executions(executions: &BTreeMap<usize, usize>, lost: &BTreeSet<usize>) {
    for (numbers, faults) in [(BEFORE, 0), (HELD, 2), (AROUND, 1), (LATE, 1), (AFTER, 0)] {
        for number in numbers {
            let count = executions.get(&number).copied().unwrap_or_default();
            assert!((1..=1 + faults).contains(&count), "{number} ran {count} times: {executions:?}");
        }
    }
    assert!(lost.iter().all(|number| executions[number] == 2), "{lost:?} were cut off: {executions:?}");
    let excess = executions.values().sum::<usize>() - executions.len();
    // The leader's death met what both workers held, the worker's what it held.
    assert!(excess <= 2 * SLOTS + SLOTS, "{executions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_job_ends_once_though_a_leader_and_a_worker_die() -> Result<()> {
    let mut scene = Scene::start().await?;
    scene.ids.extend(scene.submit(BEFORE).await?);
    scene.ended(BEFORE).await?;
    scene.ids.extend(scene.submit(HELD).await?);
    scene.target.running(HELD).await?;

    scene.lose_the_leader().await?;
    scene.ids.extend(scene.submit(LATE).await?);
    scene.target.running(LATE).await?;
    let lost = scene.lose_a_worker().await?;
    scene.target.gate.send_replace(true);
    scene.ended(HELD).await?;
    scene.ended(LATE).await?;
    scene.ids.extend(scene.submit(AFTER).await?);
    scene.ended(AFTER).await?;

    assert_one_end_each(&mut scene).await?;
    assert_few_executions(&scene.target.executions(), &lost);
    Ok(())
}
