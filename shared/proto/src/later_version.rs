//! What a later version may write, and this one must read: fields that it does not know are passed over.

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message;
use windlass_core::QueueName;

use crate::{Claim, Done, Incoming, Job, instant, read_task, v1};

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// The message with a text under number 1000, which no schema of ours has.
fn with_unknown_field(message: &impl Message) -> Bytes {
    let mut bytes = message.encode_to_vec();
    // Tag 1000, length-delimited, as a varint: (1000 << 3) | 2.
    bytes.extend([0xc2, 0x3e, 5]);
    bytes.extend(b"later");
    bytes.into()
}

fn task() -> v1::Task {
    v1::Task { id: ID.to_owned(), kind: "a.b".to_owned(), ..v1::Task::default() }
}

fn now() -> prost_types::Timestamp {
    instant(Timestamp::UNIX_EPOCH)
}

fn attempt() -> v1::Attempt {
    let outcome = v1::Outcome::Crashed.into();
    v1::Attempt { number: 1, ended_at: Some(now()), outcome, ..v1::Attempt::default() }
}

#[test]
fn a_task() {
    let derived_id = ID.parse().unwrap();
    let read = |body: &Bytes| read_task(Incoming { headers: &[], body, derived_id: &|| derived_id }).unwrap();
    assert_eq!(read(&with_unknown_field(&task())), read(&task().encode_to_vec().into()));
}

#[test]
fn the_records_of_a_job() {
    let (task, attempts) = (Some(task()), vec![attempt()]);
    let job = v1::Job {
        task,
        accepted_at: Some(now()),
        due_at: Some(now()),
        attempts: attempts.clone(),
        ..v1::Job::default()
    };
    let read = Job::decode(with_unknown_field(&job)).unwrap();
    assert_eq!(read, Job::decode(job.encode_to_vec().into()).unwrap());
    assert_eq!(read.attempts.len(), 1);

    let claim = v1::Claim {
        work_sequence: 7,
        claimed_at: Some(now()),
        accepted_at: Some(now()),
        attempts: attempts.clone(),
        kind: "a.b".to_owned(),
        reason: v1::ClaimReason::Redelivered.into(),
        ..v1::Claim::default()
    };
    let read = Claim::decode(with_unknown_field(&claim)).unwrap();
    assert_eq!(read, Claim::decode(claim.encode_to_vec().into()).unwrap());

    let done = v1::Done {
        kind: "a.b".to_owned(),
        state: v1::JobState::Succeeded.into(),
        attempts,
        accepted_at: Some(now()),
        ended_at: Some(now()),
        ..v1::Done::default()
    };
    let read = Done::decode(with_unknown_field(&done)).unwrap();
    assert_eq!(read, Done::decode(done.encode_to_vec().into()).unwrap());
}

#[test]
fn an_event() {
    let event = v1::Event {
        job_id: ID.to_owned(),
        transition: v1::Transition::Started.into(),
        at: Some(now()),
        ..v1::Event::default()
    };
    let read = |body: Bytes| v1::Event::decode(body).unwrap().into_domain(&QueueName::default()).unwrap();
    assert_eq!(read(with_unknown_field(&event)), read(event.encode_to_vec().into()));
}

/// A number that no enumeration has.
const NEWER: i32 = 99;

fn waiting(change: impl FnOnce(&mut v1::Task)) -> v1::Job {
    let mut task = task();
    change(&mut task);
    v1::Job { task: Some(task), accepted_at: Some(now()), due_at: Some(now()), ..v1::Job::default() }
}

fn claim(reason: i32) -> v1::Claim {
    v1::Claim {
        claimed_at: Some(now()),
        accepted_at: Some(now()),
        kind: "a.b".to_owned(),
        reason,
        ..v1::Claim::default()
    }
}

fn done(state: i32) -> v1::Done {
    let kind = "a.b".to_owned();
    v1::Done { kind, state, accepted_at: Some(now()), ended_at: Some(now()), ..v1::Done::default() }
}

/// What decides something is told from what is malformed: the fleet's own messages are left to those who know it.
#[test]
fn a_value_that_is_not_known() {
    let job = |change: fn(&mut v1::Task)| Job::decode(waiting(change).encode_to_vec().into()).err();
    let event = |transition| {
        let event = v1::Event { job_id: ID.to_owned(), transition, at: Some(now()), ..v1::Event::default() };
        event.into_domain(&QueueName::default()).err()
    };
    let encoding = || Some(v1::Encoding { compression: NEWER, ..v1::Encoding::default() });
    let formed = v1::Done { result_encoding: encoding(), ..done(v1::JobState::Succeeded.into()) };
    for (error, field, is_unknown) in [
        (job(|task| task.priority = NEWER), "priority", true),
        (
            job(|task| task.retry = Some(v1::RetryPolicy { backoff: NEWER, ..v1::RetryPolicy::default() })),
            "retry.backoff",
            true,
        ),
        (
            job(|task| {
                task.payload_encoding = Some(v1::Encoding { compression: NEWER, ..v1::Encoding::default() });
            }),
            "payload_encoding.compression",
            true,
        ),
        (job(|task| task.kind = "a b".to_owned()), "kind", false),
        (Claim::decode(claim(NEWER).encode_to_vec().into()).err(), "reason", true),
        (Done::decode(done(NEWER).encode_to_vec().into()).err(), "state", true),
        (Done::decode(done(v1::JobState::Queued.into()).encode_to_vec().into()).err(), "state", false),
        (Done::decode(formed.encode_to_vec().into()).err(), "result_encoding.compression", true),
        (event(NEWER), "transition", true),
        (event(0), "transition", false),
    ] {
        let error = error.unwrap_or_else(|| panic!("{field} was read"));
        assert_eq!((error.field.as_str(), error.is_unknown), (field, is_unknown), "{error}");
    }
}

/// How an attempt ended is history: the number comes out as it went in.
#[test]
fn an_outcome_that_is_not_known() {
    let newer = vec![v1::Attempt { outcome: NEWER, ..attempt() }];
    let job = v1::Job { attempts: newer.clone(), ..waiting(|_| {}) };
    let read = Job::decode(job.encode_to_vec().into()).unwrap();
    assert_eq!(v1::Job::decode(read.encode()).unwrap().attempts, newer);
    let claim = v1::Claim { attempts: newer.clone(), ..claim(1) };
    let read = Claim::decode(claim.encode_to_vec().into()).unwrap();
    assert_eq!(v1::Claim::decode(read.encode()).unwrap().attempts, newer);
    let done = v1::Done { attempts: newer.clone(), ..done(v1::JobState::Dead.into()) };
    let read = Done::decode(done.encode_to_vec().into()).unwrap();
    assert_eq!(v1::Done::decode(read.encode()).unwrap().attempts, newer);
    assert!(!read.attempts[0].outcome.counts(), "the unknowing count no attempt for it");
    let missing = v1::Job { attempts: vec![v1::Attempt { outcome: 0, ..attempt() }], ..job };
    assert_eq!(Job::decode(missing.encode_to_vec().into()).unwrap_err().field, "attempts.outcome");
}
