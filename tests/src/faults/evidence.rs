//! All that was recorded of a round, put together for the judge; and kept, where it found something.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use windlass_core::audit::{EndRecord, Evidence, Execution, Fault, JobKey, Limit, Verdict, Victim};
use windlass_core::{JobId, QueueName, RecordKind};
use windlass_proto::RecordBody;
use windlass_testkit::EventLog;

use super::history::{self, Hit, Line};
use super::ledger::Ledger;
use super::settle::subjects;
use super::stage::{Injected, LEASE, LIMITED, QUEUES, Stage, Whom, service_of};

/// The evidence of a round, and the failpoints that it met.
pub(super) struct Gathered {
    pub(super) evidence: Evidence,
    pub(super) hits: Vec<Hit>,
}

/// Reads everything. The services may still run, but nothing moves.
pub(super) async fn gather(
    stage: &Stage,
    ledger: &Ledger,
    events: &mut EventLog,
    malformed: usize,
) -> Result<Gathered> {
    let lines = history::read(&stage.folder().join("history.jsonl"))?;
    let hits = history::read_hits(&stage.folder().join("failpoints.log"));
    let workers = workers(&lines);
    let mut faults: Vec<_> = stage.faults.all().into_iter().map(|f| fault(f, &workers)).collect();
    faults.extend(hits.iter().filter_map(|hit| acted(hit, &workers)));
    faults.extend(lines.iter().filter_map(stalled));
    let events = events.catch_up(&stage.admin).await.context("EVENTS cannot be read")?.to_vec();
    let evidence = Evidence {
        submissions: ledger.submissions(),
        executions: Some(executions(&lines)),
        events,
        records: Some(records(stage).await.context("JOBS cannot be read")?),
        faults,
        malformed,
        lease: SignedDuration::try_from(LEASE)?,
        limits: limits(stage)?,
    };
    Ok(Gathered { evidence, hits })
}

fn limits(stage: &Stage) -> Result<Vec<Limit>> {
    let queue: QueueName = LIMITED.parse()?;
    // Of those with a unique key there is one job at a time.
    let unique = Limit { queue: QUEUES[1].parse()?, by_key: true, most: 1 };
    let Some(limits) = stage.limits() else { return Ok(vec![unique]) };
    let limit = |by_key, most: u32| Limit { queue: queue.clone(), by_key, most: most as usize };
    let of_queue = limits.of_queue.map(|most| limit(false, most));
    Ok(of_queue.into_iter().chain([limit(true, limits.of_key), unique]).collect())
}

/// The ids of workers by those of their processes.
fn workers(lines: &[Line]) -> BTreeMap<u32, String> {
    let hello = |line: &Line| match line {
        Line::Hello { pid, worker, .. } => Some((*pid, worker.clone())),
        _ => None,
    };
    lines.iter().filter_map(hello).collect()
}

fn fault(injected: Injected, workers: &BTreeMap<u32, String>) -> Fault {
    let victim = match &injected.whom {
        Whom::Broker => Victim::Broker,
        Whom::Process(label, pid) => match workers.get(pid) {
            Some(worker) if service_of(label) == "worker" => Victim::Worker(worker.clone()),
            _ => Victim::Bystander(label.clone()),
        },
    };
    let until = injected.until.unwrap_or_else(Timestamp::now);
    Fault { what: injected.what, victim, at: injected.at, until, injected: injected.by_us }
}

/// A failpoint that acted is a fault as any other.
fn acted(hit: &Hit, workers: &BTreeMap<u32, String>) -> Option<Fault> {
    if hit.act == "reached" {
        return None;
    }
    let victim = match workers.get(&hit.pid) {
        Some(worker) => Victim::Worker(worker.clone()),
        None => Victim::Bystander(hit.point.clone()),
    };
    Some(Fault {
        what: format!("{} at {}", hit.act, hit.point),
        victim,
        at: hit.at,
        until: hit.at,
        injected: true,
    })
}

/// A worker that got no processor for long loses its leases as one that was stopped does; nobody injected that.
fn stalled(line: &Line) -> Option<Fault> {
    let Line::Stall { at, worker, milliseconds } = line else { return None };
    let length = SignedDuration::from_millis(i64::try_from(*milliseconds).unwrap_or(i64::MAX));
    Some(Fault {
        what: "stall".to_owned(),
        victim: Victim::Worker(worker.clone()),
        at: at.saturating_sub(length).unwrap_or(*at),
        until: *at,
        injected: false,
    })
}

fn executions(lines: &[Line]) -> Vec<Execution> {
    let mut open: BTreeMap<(JobId, QueueName, u32, String), usize> = BTreeMap::new();
    let mut executions: Vec<Execution> = Vec::new();
    for line in lines {
        match line {
            Line::Start { at, worker, queue, job, attempt, .. } => {
                open.insert((*job, queue.clone(), *attempt, worker.clone()), executions.len());
                executions.push(Execution {
                    job: JobKey { queue: queue.clone(), id: *job },
                    attempt: *attempt,
                    worker: worker.clone(),
                    started_at: *at,
                    ended_at: None,
                });
            }
            Line::End { at, worker, queue, job, attempt, .. } => {
                let place = open.remove(&(*job, queue.clone(), *attempt, worker.clone()));
                if let Some(execution) = place.and_then(|place| executions.get_mut(place)) {
                    execution.ended_at = Some(*at);
                }
            }
            Line::Hello { .. } | Line::Stall { .. } => {}
        }
    }
    executions
}

async fn records(stage: &Stage) -> Result<Vec<EndRecord>> {
    let done: Vec<_> = subjects(&stage.admin).await?.into_iter().filter(|s| s.record == "done").collect();
    let texts: Vec<_> = done.iter().map(|subject| subject.text.clone()).collect();
    let bodies: BTreeMap<_, _> = stage.admin.last_of("JOBS", &texts).await?.into_iter().collect();
    let mut records = Vec::new();
    for subject in done {
        let Some(body) = bodies.get(&subject.text) else { continue };
        if let RecordBody::Done(done) = RecordBody::decode(RecordKind::Done, body.clone())? {
            let job = JobKey { queue: subject.queue.parse()?, id: subject.id.parse()? };
            records.push(EndRecord { job, state: done.state, attempts: done.attempts });
        }
    }
    Ok(records)
}

/// Writes what whoever looks into a finding needs, beside the services' logs.
pub(super) fn keep(stage: &Stage, gathered: &Gathered, verdict: &Verdict) -> Result<()> {
    let evidence = &gathered.evidence;
    let found: BTreeSet<_> = verdict.findings.iter().map(|finding| &finding.job).collect();
    // All of them, where nothing was found and all is kept nevertheless.
    let all = evidence.submissions.iter().map(|submission| &submission.job).filter(|_| found.is_empty());
    let of_interest: BTreeSet<_> = found.iter().copied().chain(all).collect();
    let submissions =
        evidence.submissions.iter().filter(|s| of_interest.contains(&s.job)).map(
            |s| json!({ "queue": s.job.queue, "id": s.job.id, "at": s.at, "acknowledged": s.acknowledged }),
        );
    let events = evidence
        .events
        .iter()
        .filter(|e| of_interest.contains(&JobKey { queue: e.queue.clone(), id: e.job_id }))
        .map(|e| {
            json!({ "queue": e.queue, "id": e.job_id, "transition": e.transition, "attempt": e.attempt,
                    "worker": e.worker, "at": e.at, "note": e.note })
        });
    let records =
        evidence.records.iter().flatten().filter(|r| of_interest.contains(&r.job)).map(
            |r| json!({ "queue": r.job.queue, "id": r.job.id, "state": r.state, "attempts": r.attempts }),
        );
    let faults = evidence.faults.iter().map(|f| {
        json!({ "what": f.what, "victim": format!("{:?}", f.victim), "at": f.at, "until": f.until,
                "injected": f.injected })
    });
    let findings = verdict.findings.iter().map(ToString::to_string);
    let all = json!({
        "findings": findings.collect::<Vec<_>>(),
        "faults": faults.collect::<Vec<_>>(),
        "submissions": submissions.collect::<Vec<_>>(),
        "events": events.collect::<Vec<_>>(),
        "records": records.collect::<Vec<_>>(),
    });
    std::fs::write(stage.folder().join("findings.json"), serde_json::to_vec_pretty(&all)?)?;
    Ok(())
}
