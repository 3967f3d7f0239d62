//! What is done for every job: `cargo bench -p windlass-tests --bench hot`.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use prost::Message as _;
use windlass_broker::Names;
use windlass_broker::events::EncodedEvent;
use windlass_core::trace::TraceParent;
use windlass_core::{
    Attempt, JobId, JobState, Kind, Limits, Outcome, PoolName, Priority, QueueName, RecordKind, RetryPolicy,
    Task, Transition,
};
use windlass_proto::{Done, Incoming, Job, Teller, read_task, v1};

const PAYLOAD_BYTES: usize = 200;

fn id() -> JobId {
    JobId::from_parts(Timestamp::UNIX_EPOCH, [7; 10])
}

fn task() -> Task<Bytes> {
    let kind: Kind = "bench.nothing".parse().expect("a kind");
    Task::new(id(), kind, Bytes::from(vec![b'x'; PAYLOAD_BYTES]))
}

fn done() -> Done {
    let now = Timestamp::UNIX_EPOCH;
    let attempt = Attempt {
        number: 1,
        worker: "worker-host-12345-0123abcd".to_owned(),
        started_at: Some(now),
        ended_at: now,
        outcome: Outcome::Succeeded,
        error: None,
        alone: false,
        failure: 0,
    };
    Done {
        kind: task().kind,
        state: JobState::Succeeded,
        attempts: vec![attempt],
        result: Bytes::from_static(b"null"),
        result_form: windlass_core::Form::default(),
        result_content_type: String::new(),
        error: None,
        accepted_at: now,
        ended_at: now,
        nonce: Bytes::from_static(&[1; 16]),
        other_id: None,
    }
}

/// What a dispatcher does with the bytes of a task.
fn admission(c: &mut Criterion) {
    let body: Bytes = v1::Task::from(&task()).encode_to_vec().into();
    let limits = Limits::default();
    c.bench_function("task: read and check", |b| {
        b.iter(|| {
            let incoming = Incoming { headers: &[], body: &body, derived_id: &id };
            let task = read_task(incoming).expect("a task");
            limits.check(&task, Timestamp::UNIX_EPOCH).expect("a valid task");
            task
        });
    });
    c.bench_function("job: encode", |b| {
        b.iter(|| {
            let job = Job::new(task(), Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH, Bytes::new());
            job.encode()
        });
    });
}

/// What a worker does with the bytes of a job.
fn settlement(c: &mut Criterion) {
    let job = Job::new(task(), Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH, Bytes::new()).encode();
    c.bench_function("job: decode", |b| b.iter(|| Job::decode(job.clone()).expect("a job")));
    let done = done();
    c.bench_function("done: encode", |b| b.iter(|| black_box(&done).encode()));
    let (queue, kind) = (QueueName::default(), task().kind);
    let teller = Teller {
        queue: &queue,
        job_id: id(),
        priority: Priority::default(),
        kind: &kind,
        accepted_at: Timestamp::UNIX_EPOCH,
        trace: Some(TraceParent::undecided(1)),
    };
    c.bench_function("event: started, make and encode", |b| {
        b.iter(|| EncodedEvent::from(teller.event(Transition::Started, 1, Timestamp::UNIX_EPOCH)));
    });
    c.bench_function("event: ended, make and encode", |b| b.iter(|| EncodedEvent::from(teller.ended(&done))));
    c.bench_function("retry: the next delay", |b| {
        let policy = RetryPolicy::default();
        b.iter(|| policy.delay(black_box(7), 0.5));
    });
}

/// What every message's subject costs.
fn subjects(c: &mut Criterion) {
    let names = Names::default();
    let (pool, queue) = (PoolName::default(), QueueName::default());
    let subject = names.job_subject(&pool, &queue, RecordKind::Ready, Priority::default(), id());
    c.bench_function("subject: write", |b| {
        b.iter(|| {
            let priority = black_box(Priority::default());
            names.job_subject(&pool, &queue, RecordKind::Ready, priority, id())
        });
    });
    c.bench_function("subject: read", |b| b.iter(|| names.parse_job_subject(black_box(&subject))));
}

criterion_group!(benches, admission, settlement, subjects);
criterion_main!(benches);
