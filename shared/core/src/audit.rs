//! What must hold over a whole history, whatever failed meanwhile: pure functions over what everybody recorded.
//!
//! In the manner of Jepsen: clients record what they submitted and what they were answered, handlers record each
//! execution where no crash can take it back, the injector records its faults, and the streams say what became of
//! each job. [`judge`] compares them. It knows nothing of how the fleet works, only what it promises.

mod ends;
mod executions;
mod overlap;
mod recovery;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::{Attempt, Event, JobId, JobState, QueueName};

/// A job among all of a fleet: an id is unique within its queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobKey {
    /// Where it waits.
    pub queue: QueueName,
    /// Which.
    pub id: JobId,
}

/// A task that somebody submitted. The same one may be submitted many times.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// Its job.
    pub job: JobKey,
    /// When the answer came, or was given up.
    pub at: Timestamp,
    /// Whether the publisher was told that it is stored. If not, the outcome is unknown: it may be a job or not.
    pub acknowledged: bool,
    /// The end that its handler leads to, where that is known.
    pub expected: Option<JobState>,
    /// Failed attempts that its policy allows, where that is known.
    pub max_attempts: Option<u32>,
    /// What limits by key count it under.
    pub key: Option<String>,
}

/// How many jobs of a queue may run at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Of this queue.
    pub queue: QueueName,
    /// Whether of each key; else of all together.
    pub by_key: bool,
    /// So many.
    pub most: usize,
}

/// One execution of a handler, as the handler itself recorded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Of this job.
    pub job: JobKey,
    /// As its worker counted.
    pub attempt: u32,
    /// The worker's id: of one process, so that a restarted one has another.
    pub worker: String,
    /// When the handler began.
    pub started_at: Timestamp,
    /// When it returned; none if it never came to its end.
    pub ended_at: Option<Timestamp>,
}

/// The record of a job's end, as it stands in JOBS.
#[derive(Debug, Clone, PartialEq)]
pub struct EndRecord {
    /// Of this job.
    pub job: JobKey,
    /// A terminal one.
    pub state: JobState,
    /// Every attempt, oldest first.
    pub attempts: Vec<Attempt>,
}

/// Whom a fault met, and so whose executions it may repeat.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Victim {
    /// The worker of this id: killed, stopped, drained or cut off.
    Worker(String),
    /// The broker, or what lies between it and all workers: any delivery in flight.
    Broker,
    /// Who holds no job: a dispatcher, a scheduler, a monitor, a subscriber. Repeats nothing.
    Bystander(String),
}

/// Something that was done to the fleet, or that befell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// For people, as `kill -9`.
    pub what: String,
    /// Whom.
    pub victim: Victim,
    /// From when.
    pub at: Timestamp,
    /// Until when: its return, or `at` for what happens in an instant.
    pub until: Timestamp,
    /// False for what came by itself, as a process that got no processor, or an election after another fault.
    pub injected: bool,
}

/// All that was recorded.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// By all clients.
    pub submissions: Vec<Submission>,
    /// By all handlers; none where handlers do not record theirs.
    pub executions: Option<Vec<Execution>>,
    /// From EVENTS, all of them.
    pub events: Vec<Event>,
    /// From JOBS, of every job that has one; none where they were not read.
    pub records: Option<Vec<EndRecord>>,
    /// By the injector.
    pub faults: Vec<Fault>,
    /// How many messages that are no tasks were published: as many rejections have no submission.
    pub malformed: usize,
    /// The lease's length: how long a fault may still have consequences after it is over.
    pub lease: SignedDuration,
    /// What was set from the start.
    pub limits: Vec<Limit>,
}

/// What does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Defect {
    /// Its submission was acknowledged, and it has no end.
    Lost,
    /// It has an end in JOBS that EVENTS does not tell, or one in EVENTS that JOBS does not have.
    Untold,
    /// It ended twice: in two states, by two attempts, or by two workers.
    Doubled,
    /// Its end is that of a holder that had been replaced.
    StaleAccepted,
    /// Nobody submitted it, or no handler ran what its end tells.
    Phantom,
    /// One attempt was executed twice: two held one token, though no broker forgot a delivery.
    Unfenced,
    /// It was executed once more, and no fault says why.
    Unexplained,
    /// It ended otherwise than its handler does.
    WrongEnd,
    /// It had more failed attempts than its policy allows.
    OverPolicy,
    /// It ran when as many as a limit allows ran already.
    OverLimit,
    /// After a worker's death it did not run again within the lease and two seconds.
    Late,
}

/// One defect of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub defect: Defect,
    /// Of which job.
    pub job: JobKey,
    /// In words.
    pub detail: String,
}

/// What [`judge`] found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// Every defect.
    pub findings: Vec<Finding>,
    /// Jobs that were submitted, each once.
    pub jobs: usize,
    /// Submissions beyond the first of each job.
    pub duplicates: usize,
    /// By handlers.
    pub executions: usize,
    /// Executions whose outcome settled no attempt.
    pub extra_executions: usize,
    /// Of these, those that no fault explains.
    pub unexplained_extra_executions: usize,
    /// Messages that are no tasks, and were rejected.
    pub rejections: usize,
    /// From each injected fault to the end of each job that it met.
    pub recoveries: Vec<SignedDuration>,
}

/// One job, all that is known of it.
#[derive(Debug, Default)]
struct Life<'a> {
    submissions: Vec<&'a Submission>,
    executions: Vec<&'a Execution>,
    events: Vec<&'a Event>,
    records: Vec<&'a EndRecord>,
}

/// Compares what was recorded with what is promised.
pub fn judge(evidence: &Evidence) -> Verdict {
    let lives = lives(evidence);
    let mut verdict = Verdict {
        jobs: lives.values().filter(|life| !life.submissions.is_empty()).count(),
        duplicates: lives.values().map(|life| life.submissions.len().saturating_sub(1)).sum(),
        executions: evidence.executions.as_ref().map_or(0, Vec::len),
        ..Verdict::default()
    };
    for (job, life) in &lives {
        if life.submissions.is_empty() && life.is_rejection() {
            verdict.rejections += 1;
            if verdict.rejections <= evidence.malformed {
                continue;
            }
        }
        let mut found = ends::defects(life, evidence);
        let extra = executions::judge(life, evidence);
        verdict.extra_executions += extra.count;
        verdict.unexplained_extra_executions += extra.unexplained.len();
        found.extend(extra.unexplained.into_iter().map(|detail| (Defect::Unexplained, detail)));
        found.extend(executions::unfenced(life, evidence).map(|detail| (Defect::Unfenced, detail)));
        found.extend(recovery::late(life, evidence).map(|detail| (Defect::Late, detail)));
        verdict.recoveries.extend(recovery::times(life, evidence));
        let finding = |(defect, detail)| Finding { defect, job: job.clone(), detail };
        verdict.findings.extend(found.into_iter().map(finding));
    }
    if evidence.executions.is_some() {
        verdict.findings.extend(overlap::over_limit(&lives, evidence));
    }
    verdict.recoveries.sort();
    verdict
}

fn lives(evidence: &Evidence) -> BTreeMap<JobKey, Life<'_>> {
    let mut lives: BTreeMap<JobKey, Life<'_>> = BTreeMap::new();
    for submission in &evidence.submissions {
        lives.entry(submission.job.clone()).or_default().submissions.push(submission);
    }
    for execution in evidence.executions.iter().flatten() {
        lives.entry(execution.job.clone()).or_default().executions.push(execution);
    }
    for event in &evidence.events {
        let job = JobKey { queue: event.queue.clone(), id: event.job_id };
        lives.entry(job).or_default().events.push(event);
    }
    for record in evidence.records.iter().flatten() {
        lives.entry(record.job.clone()).or_default().records.push(record);
    }
    for life in lives.values_mut() {
        life.executions.sort_by_key(|execution| execution.started_at);
    }
    lives
}

/// The value below which this part of all lies, of a sorted list; none of an empty one.
pub fn percentile(sorted: &[SignedDuration], part: f64) -> Option<SignedDuration> {
    let last = sorted.len().checked_sub(1)?;
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list"
    )]
    let place = (last as f64 * part.clamp(0.0, 1.0)).ceil() as usize;
    sorted.get(place.min(last)).copied()
}

// === impl Verdict ===

impl Verdict {
    /// How many jobs have this defect.
    pub fn count(&self, defect: Defect) -> usize {
        self.findings.iter().filter(|finding| finding.defect == defect).count()
    }

    /// Whether everything holds.
    pub fn holds(&self) -> bool {
        self.findings.is_empty()
    }
}

// === impl Defect ===

impl Defect {
    /// Every one.
    pub const ALL: &'static [Self] = &[
        Self::Lost,
        Self::Untold,
        Self::Doubled,
        Self::StaleAccepted,
        Self::Phantom,
        Self::Unfenced,
        Self::Unexplained,
        Self::WrongEnd,
        Self::OverPolicy,
        Self::OverLimit,
        Self::Late,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Untold => "untold",
            Self::Doubled => "doubled",
            Self::StaleAccepted => "stale_accepted",
            Self::Phantom => "phantom",
            Self::Unfenced => "unfenced",
            Self::Unexplained => "unexplained",
            Self::WrongEnd => "wrong_end",
            Self::OverPolicy => "over_policy",
            Self::OverLimit => "over_limit",
            Self::Late => "late",
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}/{}: {}", self.defect.as_str(), self.job.queue, self.job.id, self.detail)
    }
}
