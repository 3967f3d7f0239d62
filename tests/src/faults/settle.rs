//! Waiting until nothing moves any more: every task is a job, every job has ended, and its end is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};
use windlass_core::audit::JobKey;
use windlass_core::{JobState, Transition};
use windlass_testkit::{EventLog, broker};

use super::stage::Stage;

/// What is left.
#[derive(Debug, Clone, Default)]
pub(super) struct Left {
    pub(super) tasks: u64,
    pub(super) commands: u64,
    /// Work that waits or runs: subjects of JOBS.
    pub(super) work: Vec<String>,
    /// Work of jobs that have ended.
    pub(super) under_ends: Vec<String>,
    /// Slots that are taken, and places in line: subjects of JOBS.
    pub(super) held: Vec<String>,
    /// Tasks that were acknowledged, and are still there.
    pub(super) zombies: u64,
    /// Jobs without an end in JOBS.
    pub(super) unended: usize,
    /// Jobs whose end is not told.
    pub(super) untold: usize,
}

const POLL: Duration = Duration::from_millis(200);
/// For one look.
const LOOK: Duration = Duration::from_secs(5);

/// Waits for the ends of these jobs, and of everything else. What is left once for so long it has not become less, or
/// nothing.
pub(super) async fn settle(
    stage: &Stage,
    jobs: &[JobKey],
    events: &mut EventLog,
    patience: Duration,
) -> Option<Left> {
    let (mut left, mut least, mut since) = (Left::default(), u64::MAX, Instant::now());
    loop {
        let begun = Instant::now();
        if let Ok(Ok(mut seen)) = timeout(LOOK, look(&stage.admin, jobs, events)).await {
            if stage.disk.is_some() {
                seen.forgive_zombies();
            }
            if seen.is_nothing() {
                return None;
            }
            if seen.total() < least {
                (least, since) = (seen.total(), Instant::now());
            }
            left = seen;
        }
        if since.elapsed() >= patience {
            return Some(left);
        }
        // A look at a hundred thousand jobs keeps the broker from its work for a while.
        sleep(POLL.max(begun.elapsed())).await;
    }
}

async fn look(client: &broker::Client, jobs: &[JobKey], events: &mut EventLog) -> Result<Left> {
    let mut left = Left {
        tasks: messages(client, "TASKS").await?,
        commands: messages(client, "COMMANDS").await?,
        ..Left::default()
    };
    let texts = texts(client).await?;
    left.held = texts.iter().filter(|text| is_of_flow(text)).cloned().collect();
    let subjects: Vec<_> = texts.into_iter().filter_map(Subject::read).collect();
    let ended: BTreeSet<(&str, &str)> = subjects
        .iter()
        .filter(|subject| subject.record == "done")
        .map(|subject| (subject.queue.as_str(), subject.id.as_str()))
        .collect();
    for subject in subjects.iter().filter(|subject| subject.record != "done") {
        match (ended.contains(&(subject.queue.as_str(), subject.id.as_str())), subject.record.as_str()) {
            (false, _) => left.work.push(subject.text.clone()),
            // A claim that is left under an end is tidied in its time, and decides nothing.
            (true, "claim") => {}
            (true, _) => left.under_ends.push(subject.text.clone()),
        }
    }
    if left.tasks > 0 {
        let consumer = client.api("CONSUMER.INFO.TASKS.dispatcher", &json!({})).await?;
        let count = |field: &str| consumer[field].as_u64().unwrap_or(0);
        left.zombies = left.tasks.saturating_sub(count("num_pending") + count("num_ack_pending"));
    }
    let unended = jobs.iter().filter(|job| !ended.contains(&(job.queue.as_str(), &*job.id.to_string())));
    left.unended = unended.count();
    if left.tasks == left.zombies && left.commands == 0 && left.work.is_empty() && left.unended == 0 {
        let told: BTreeSet<_> = events
            .catch_up(client)
            .await?
            .iter()
            .filter(|event| is_end(event.transition))
            .map(|event| (event.queue.clone(), event.job_id))
            .collect();
        left.untold = subjects
            .iter()
            .filter(|s| s.record == "done")
            .filter_map(|s| Some((s.queue.parse().ok()?, s.id.parse().ok()?)))
            .filter(|job| !told.contains(job))
            .count();
    }
    Ok(left)
}

fn is_end(transition: Transition) -> bool {
    transition == Transition::Rejected || JobState::ALL.iter().any(|state| state.end() == Some(transition))
}

async fn messages(client: &broker::Client, stream: &str) -> Result<u64> {
    let info = client.api(&format!("STREAM.INFO.{stream}"), &json!({})).await?;
    info["state"]["messages"].as_u64().ok_or_else(|| anyhow::anyhow!("{stream}: {info}"))
}

/// A subject of the stream of jobs.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) text: String,
    pub(super) queue: String,
    pub(super) record: String,
    pub(super) id: String,
}

/// What the stream of jobs holds.
pub(super) async fn subjects(client: &broker::Client) -> Result<Vec<Subject>> {
    Ok(texts(client).await?.into_iter().filter_map(Subject::read).collect())
}

async fn texts(client: &broker::Client) -> Result<Vec<String>> {
    let subjects: Option<BTreeMap<String, u64>> = serde_json::from_value(client.subjects("JOBS").await?)?;
    Ok(subjects.unwrap_or_default().into_keys().collect())
}

/// Slots that are taken, and places in line: with the last job all of them are given back.
fn is_of_flow(text: &str) -> bool {
    matches!(text.split('.').nth(3), Some("slot" | "wait"))
}

// === impl Subject ===

impl Subject {
    fn read(text: String) -> Option<Self> {
        let parts: Vec<&str> = text.split('.').collect();
        let [_, _, queue, record, _, id] = parts[..] else { return None };
        let (queue, record, id) = (queue.to_owned(), record.to_owned(), id.to_owned());
        Some(Self { text, queue, record, id })
    }
}

// === impl Left ===

impl Left {
    fn is_nothing(&self) -> bool {
        self.total() == 0
    }

    /// All of it together.
    fn total(&self) -> u64 {
        let listed = self.work.len() + self.under_ends.len() + self.held.len() + self.unended + self.untold;
        self.tasks + self.commands + listed as u64
    }

    /// A broker without space takes acknowledgements, and may not be able to delete what they mean: after its restart
    /// such a message is there, and no consumer will ever be given it. Work under an end is the reconciler's, which
    /// comes too seldom for a round; a task is of a job that was made.
    fn forgive_zombies(&mut self) {
        self.under_ends.clear();
        self.tasks -= self.zombies.min(self.tasks);
    }
}
