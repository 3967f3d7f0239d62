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
    let read = |body: &Bytes| read_task(Incoming { headers: &[], body, derived_id }).unwrap();
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
