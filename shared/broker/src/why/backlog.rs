//! Summed for a queue.
//!
//! Lines of more than 100,000 are counted, not listed.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use windlass_core::flow::{Backlog, Cause, Counted, FlowKey, KeyGate, Rate};
use windlass_core::{JobId, Kind, RecordKind};
use windlass_proto::{Claim, Job, v1};

use super::Error;
use super::facts::{self, Facts};
use super::moment::Read;
use crate::flow::Flow;
use crate::names::{FlowSubject, Line};

/// Tries to read all at one moment.
const TRIES: usize = 4;
/// Of timers, and of claims, so many are read, in parts.
const MOST_READ: usize = 20_000;
const PART: usize = 1000;
/// Keys whose rates are read: beyond that it is not told whether they wait for one.
const MOST_RATES: usize = 500;
const READS: usize = 16;

/// What of a queue waits, and why.
pub async fn backlog(flow: &Flow) -> Result<Backlog, Error> {
    let asked_at = flow.broker().now();
    let mut read = Read::all(flow).await?;
    for _ in 1..TRIES {
        if read.is_exact() {
            break;
        }
        read = Read::all(flow).await?;
    }
    let facts = Facts::read(flow, read.delivered).await?;
    let mut counts = Counts::default();
    let held = read.held.total.max(read.places.total);
    count_held(flow, &facts, &read, &mut counts).await?;
    count_timers(flow, read.later.total, &mut counts).await?;
    let first_due = first(flow, RecordKind::Due, 1).await?;
    counts.add(&facts.gate().decision(), read.due.total, first_due.map(|(id, _)| id));
    let (handed_back, ready) = count_ready(flow, &read, &mut counts).await?;
    let tasks = flow.broker().names();
    let not_admitted = list_tasks(flow, &tasks.task_subject(flow.queue())).await?;
    let out = read.delivered.map_or(0, |delivered| delivered.out);
    if !facts.is_set && read.delivered.is_none() && not_admitted == 0 && counts.by_word.is_empty() {
        return Err(Error::NoQueue(flow.queue().clone()));
    }
    let oldest_ready = first(flow, RecordKind::Ready, read.delivered.map_or(1, |d| d.up_to + 1)).await?;
    let oldest = [
        flow.first_in_line().await?.map(|place| place.since),
        first_due.map(|(_, at)| at),
        oldest_ready.filter(|_| ready > 0).map(|(_, at)| at),
    ];
    let delayed = read.later.total;
    let mut causes = counts.into_counted();
    for counted in &mut causes {
        explain(flow, counted).await?;
    }
    Ok(Backlog {
        queue: flow.queue().clone(),
        asked_at,
        exact: read.is_exact(),
        backlog: delayed + held + read.due.total + ready,
        running: out.saturating_sub(handed_back),
        ready,
        delayed,
        held: held + read.due.total,
        not_admitted,
        oldest_at: oldest.into_iter().flatten().min(),
        causes,
    })
}

/// By the word of a cause: how many, and one of them.
#[derive(Default)]
struct Counts {
    by_word: BTreeMap<&'static str, (u64, Option<JobId>, Option<String>)>,
}

// === impl Counts ===

impl Counts {
    fn add(&mut self, cause: &Cause, count: u64, example: Option<JobId>) {
        if count == 0 {
            return;
        }
        let entry = self.by_word.entry(cause.word()).or_default();
        entry.0 += count;
        entry.1 = entry.1.or(example);
        // Of those who wait for their queue, all wait for the same.
        let alike = matches!(
            cause,
            Cause::QueuePaused(_)
                | Cause::QueueLimit { .. }
                | Cause::QueueRate { .. }
                | Cause::NoWorker { .. }
        );
        if alike && entry.2.is_none() {
            entry.2 = Some(cause.to_string());
        }
    }

    fn into_counted(self) -> Vec<Counted> {
        let all = self.by_word.into_iter();
        let mut counted: Vec<_> = all
            .map(|(word, (count, example, text))| Counted { cause: word.to_owned(), count, example, text })
            .collect();
        counted.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.cause.cmp(&b.cause)));
        counted
    }
}

/// Those who stand in lines, and those who are held without.
async fn count_held(flow: &Flow, facts: &Facts, read: &Read, counts: &mut Counts) -> Result<(), Error> {
    let gate = facts.gate();
    let listed = read.places.subjects.len() as u64 == read.places.total;
    if listed {
        count_places(flow, facts, read, counts).await?;
    } else {
        let names = flow.broker().names();
        let of = |sort: &'static str| names.lines_filter(flow.pool(), flow.queue(), sort);
        let (turns, kinds) = (of("turn"), of("kind"));
        let (turn, kind) = tokio::try_join!(flow.list(&turns, false), flow.list(&kinds, false))?;
        let (turn, kind) = (turn.total.min(read.places.total), kind.total);
        counts.add(&gate.in_turn_line(None, None, 0), turn, None);
        let mut keys = read.places.total - turn;
        let mut rest = kind.min(keys);
        keys -= rest;
        for paused in facts.settings.paused_kinds.keys() {
            let filter = flow.line_filter(&Line::of_kind(paused), None);
            let of_kind = flow.count(&filter).await?.min(rest);
            rest -= of_kind;
            counts.add(&gate.in_kind_line(paused, None), of_kind, None);
        }
        counts.add(&gate.decision(), rest, None);
        for paused in facts.settings.paused_keys.keys().filter_map(|key| key.parse::<FlowKey>().ok()) {
            let filter = flow.line_filter(&Line::Key(paused.token()), None);
            let of_key = flow.count(&filter).await?.min(keys);
            keys -= of_key;
            let key = KeyGate { key: paused.as_str(), taken: 0, holders: Vec::new(), until: None };
            counts.add(&gate.in_key_line(None, &key, 0), of_key, None);
        }
        // Who waits for a key of its own without any room is told apart by its limit alone.
        let key = KeyGate { key: "", taken: u64::MAX, holders: Vec::new(), until: None };
        counts.add(&gate.in_key_line(None, &key, 0), keys, None);
    }
    let without = read.held.total.saturating_sub(read.places.total);
    let (awaiting, example) = count_awaiting(flow, without).await?;
    let cause = Cause::Dependencies { on: Vec::new(), more: true, since: facts.now };
    counts.add(&cause, awaiting, example);
    counts.add(&Cause::Held { since: facts.now }, without - awaiting, None);
    Ok(())
}

/// How many of those who are held without a place in line wait for other jobs, and one of them.
async fn count_awaiting(flow: &Flow, without: u64) -> Result<(u64, Option<JobId>), Error> {
    if without == 0 {
        return Ok((0, None));
    }
    let names = flow.broker().names();
    let marks = flow.list(&names.queue_awaits_filter(flow.pool(), flow.queue()), true).await?;
    let edges = marks.subjects.iter().filter_map(|subject| names.parse_edge_subject(subject));
    let waiting: HashSet<JobId> = edges.map(|edge| edge.waiting.1).collect();
    // Where not all marks can be listed, all but a few wait for others.
    let listed = marks.subjects.len() as u64 == marks.total;
    let count = if listed { (waiting.len() as u64).min(without) } else { without };
    Ok((count, waiting.into_iter().min()))
}

async fn count_places(flow: &Flow, facts: &Facts, read: &Read, counts: &mut Counts) -> Result<(), Error> {
    let (names, gate, settings) = (flow.broker().names(), facts.gate(), &facts.settings);
    let mut taken: HashMap<String, u64> = HashMap::new();
    for subject in &read.slots.subjects {
        if let Some(FlowSubject::Slot(Some(key), _)) = names.parse_flow_subject(subject) {
            *taken.entry(key).or_default() += 1;
        }
    }
    let kinds: HashMap<Line, &Kind> =
        settings.paused_kinds.keys().map(|kind| (Line::of_kind(kind), kind)).collect();
    let paused: HashMap<String, FlowKey> = settings
        .paused_keys
        .keys()
        .filter_map(|key| key.parse::<FlowKey>().ok())
        .map(|key| (key.token(), key))
        .collect();
    let mut by_key: BTreeMap<String, (u64, JobId)> = BTreeMap::new();
    for subject in &read.places.subjects {
        let Some(FlowSubject::Wait(line, _, job_id)) = names.parse_flow_subject(subject) else {
            counts.add(&gate.decision(), 1, None);
            continue;
        };
        let cause = match &line {
            Line::Key(key) => {
                by_key.entry(key.clone()).or_insert((0, job_id)).0 += 1;
                continue;
            }
            Line::Turn(_) => gate.in_turn_line(None, None, 0),
            Line::Kind(token) => {
                match (kinds.get(&line), token.strip_prefix('~').and_then(|t| paused.get(t))) {
                    (Some(kind), _) => gate.in_kind_line(kind, None),
                    (None, Some(key)) => gate.in_key_line(None, &full(key.as_str()), 0),
                    (None, None) => gate.decision(),
                }
            }
        };
        counts.add(&cause, 1, Some(job_id));
    }
    let room = |token: &String| {
        let taken = taken.get(token).copied().unwrap_or(0);
        settings.key_limit().is_none_or(|limit| taken < u64::from(limit)) && !paused.contains_key(token)
    };
    let may_have_rates: Vec<_> =
        by_key.keys().filter(|token| room(token)).take(MOST_RATES).cloned().collect();
    let rates: HashMap<String, _> = stream::iter(may_have_rates)
        .map(|token| async move {
            let kept = flow.meter(Some(&token)).await?;
            let until = Rate::next_start(settings.key_rate.as_ref(), kept.as_ref(), 1, facts.now);
            Ok::<_, Error>((token, until))
        })
        .buffer_unordered(READS)
        .try_collect()
        .await?;
    for (token, (count, example)) in by_key {
        let name = paused.get(&token).map_or("", FlowKey::as_str);
        let key = KeyGate {
            key: name,
            taken: taken.get(&token).copied().unwrap_or(0),
            holders: Vec::new(),
            until: rates.get(&token).copied().flatten(),
        };
        counts.add(&gate.in_key_line(None, &key, 0), count, Some(example));
    }
    Ok(())
}

fn full(key: &str) -> KeyGate<'_> {
    KeyGate { key, taken: u64::MAX, holders: Vec::new(), until: None }
}

/// Those who wait for their time: by whether it is that of their first attempt.
async fn count_timers(flow: &Flow, total: u64, counts: &mut Counts) -> Result<(), Error> {
    let filter = flow.broker().names().records_filter(flow.pool(), flow.queue(), RecordKind::Later);
    let (mut left, mut read, mut from) = (total, 0, 1);
    while left > 0 && read < MOST_READ {
        let (messages, more) = flow.raw(&filter, from, PART).await?;
        for raw in messages {
            from = raw.sequence + 1;
            read += 1;
            let Ok(job) = Job::decode(raw.body) else { continue };
            let id = flow.broker().names().parse_job_subject(&raw.subject).map(|subject| subject.job_id);
            let cause = if job.attempts.is_empty() {
                Cause::NotDue { until: job.due_at }
            } else {
                Cause::Retrying { until: job.due_at, attempts: 0 }
            };
            if left > 0 {
                left -= 1;
                counts.add(&cause, 1, id);
            }
        }
        if !more {
            break;
        }
    }
    counts.add(&Cause::Timer {}, left, None);
    Ok(())
}

/// Those who wait for a worker. What is returned is how many of them workers have handed back, and how many there are.
async fn count_ready(flow: &Flow, read: &Read, counts: &mut Counts) -> Result<(u64, u64), Error> {
    let pending = read.delivered.map_or(read.ready.total, |delivered| delivered.pending);
    let filter = flow.broker().names().records_filter(flow.pool(), flow.queue(), RecordKind::Claim);
    let (mut from, mut read_so_far, mut back) = (1, 0, Vec::new());
    loop {
        let (messages, more) = flow.raw(&filter, from, PART).await?;
        read_so_far += messages.len();
        for raw in messages {
            from = raw.sequence + 1;
            let id = flow.broker().names().parse_job_subject(&raw.subject).map(|subject| subject.job_id);
            if let Ok(claim) = Claim::decode(raw.body)
                && claim.reason == v1::ClaimReason::HandBack
            {
                back.push((claim.kind, claim.kind_unknown_since, id));
            }
        }
        if !more || read_so_far >= MOST_READ {
            break;
        }
    }
    let ready = pending + back.len() as u64;
    if ready == 0 {
        return Ok((0, 0));
    }
    let free =
        if facts::is_served(flow).await? { Cause::Worker { ahead: 0 } } else { Cause::NoWorker { ahead: 0 } };
    let handed_back = back.len() as u64;
    for (kind, unknown_since, id) in back {
        match unknown_since {
            Some(since) => counts.add(&Cause::NoWorkerForKind { kind, since }, 1, id),
            None => counts.add(&free, 1, id),
        }
    }
    let example = first(flow, RecordKind::Ready, read.delivered.map_or(1, |d| d.up_to + 1)).await?;
    counts.add(&free, pending, example.map(|(id, _)| id));
    Ok((handed_back, ready))
}

/// The first of a sort of records, from this sequence on, and when it was stored.
async fn first(
    flow: &Flow,
    record: RecordKind,
    from: u64,
) -> Result<Option<(JobId, jiff::Timestamp)>, Error> {
    let names = flow.broker().names();
    let filter = names.records_filter(flow.pool(), flow.queue(), record);
    let (mut messages, _) = flow.raw(&filter, from, 1).await?;
    Ok(messages.pop().and_then(|raw| Some((names.parse_job_subject(&raw.subject)?.job_id, raw.stored_at))))
}

/// How many tasks of the queue no dispatcher has admitted.
async fn list_tasks(flow: &Flow, subject: &str) -> Result<u64, Error> {
    #[derive(serde::Deserialize)]
    struct Info {
        state: State,
    }
    #[derive(serde::Deserialize)]
    struct State {
        #[serde(default)]
        subjects: Option<BTreeMap<String, u64>>,
    }
    let call = format!("STREAM.INFO.{}", flow.broker().names().tasks_stream());
    let request = serde_json::json!({ "subjects_filter": subject });
    let info: Info = flow.broker().api(&call, &request, facts::CALL_TIMEOUT).await?;
    Ok(info.state.subjects.unwrap_or_default().values().sum())
}

/// Says of an example why it waits, if that is still so.
async fn explain(flow: &Flow, counted: &mut Counted) -> Result<(), Error> {
    let Some(example) = counted.example.filter(|_| counted.text.is_none()) else { return Ok(()) };
    let found = super::why(flow, example).await?;
    counted.text = found.filter(|why| why.cause.word() == counted.cause).map(|why| why.text);
    Ok(())
}
