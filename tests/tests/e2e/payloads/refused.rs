//! What is too large, missing, changed or not its own is refused with its reason.

use anyhow::{Context as _, Result};
use prost::Message as _;
use serde_json::json;
use windlass::client::{Error, Payloads};
use windlass_core::{InvalidTask, JobId, JobState, Transition};
use windlass_proto::v1;
use windlass_testkit::{Fleet, TestBroker};

use super::{STREAM, large, padded, publisher, stored};
use crate::support::{command, dead_letter};

/// Before anything is sent: neither a task nor a part of its payload.
#[tokio::test(flavor = "multi_thread")]
async fn one_byte_over_the_limit_is_refused_by_the_client() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let client =
        publisher(&fleet).await?.with_payloads(Payloads { max_bytes: 300_000, ..Payloads::default() });
    let raw = |bytes| client.raw("command.run", padded(&command(&["true"]), bytes), "application/json");
    match raw(300_001).submit().await {
        Err(Error::Invalid(InvalidTask { field: "payload", reason })) => {
            assert!(reason.contains("300001") && reason.contains("300000"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    let admin = fleet.broker.client("admin").await?;
    for stream in ["TASKS", STREAM] {
        assert_eq!(admin.subjects(stream).await?, json!(null), "{stream}");
    }
    fleet.service("dispatcher").await?;
    let id = raw(300_000).submit().await?.id;
    fleet.tap.heard(id, Transition::Accepted).await?;
    Ok(())
}

fn task(id: &str, object: v1::ObjectRef) -> v1::Task {
    let payload_object = Some(object);
    v1::Task { id: id.into(), kind: "command.run".into(), payload_object, ..Default::default() }
}

/// By the dispatcher, which looks whether it is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_payload_is_not_there_is_refused() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    fleet.service("dispatcher").await?;
    let client = fleet.broker.client("publisher").await?;
    // A job whose payload is there, to point at.
    let other = large(&publisher(&fleet).await?, &command(&["true"])).submit().await?.id;
    fleet.tap.heard(other, Transition::Accepted).await?;
    let names = fleet.broker.client("admin").await?.objects("windlass_payloads_default").await?;
    let (theirs, bytes) = names.first().context("an object")?;
    let id = "01890a5d-ac96-774b-bcce-b302099a8063";
    let object =
        |name: &str, bytes: u64| v1::ObjectRef { name: name.into(), bytes, sha256: vec![1; 32].into() };
    let own = format!("default/{id}/word");
    for (task, field) in [
        (task(id, object(&own, 7)), "payload_object"),
        (task(id, object(theirs, bytes.len() as u64)), "payload_object.name"),
        (task(id, object("word", 7)), "payload_object.name"),
        (task(id, object(&own, 1 << 30)), "payload_object"),
        // Its own, but not as it is said to be.
        (task(&other.to_string(), object(theirs, 7)), "none: the job is there already"),
        (v1::Task { payload: "x".into(), ..task(id, object(&own, 7)) }, "payload"),
    ] {
        let before = fleet.tap.until("so far", |_| true).await?.len();
        client.publish("windlass.task.default", None, &[], task.encode_to_vec()).await?;
        let rejected = |e: &windlass_core::Event| e.transition == Transition::Rejected;
        if task.id == other.to_string() {
            // A task that comes again finds its job, whatever became of the payload.
            fleet.tap.until(field, |all| all.len() > before).await?;
            assert!(!fleet.tap.of(other).iter().any(|(t, _)| *t == Transition::Rejected));
            continue;
        }
        let all = fleet.tap.until(field, |all| all[before.min(all.len())..].iter().any(rejected)).await?;
        let event = all[before..].iter().find(|e| rejected(e)).context("just heard")?;
        let letter = dead_letter(&fleet, "default", event.job_id).await?;
        assert_eq!(letter.field, field, "{letter:?}");
        assert!(!letter.reason.is_empty());
    }
    Ok(())
}

/// Between its acceptance and its attempt somebody with rights to the bucket removes or replaces the payload.
#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_is_gone_or_changed_ends_the_job_with_its_reason() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    fleet.service("dispatcher").await?;
    let client = publisher(&fleet).await?;
    let admin = fleet.broker.client("admin").await?;
    let mut broken = Vec::new();
    for (code, terminal) in [("payload_missing", true), ("payload_changed", true)] {
        let id = large(&client, &command(&["true"])).submit().await?.id;
        fleet.tap.heard(id, Transition::Accepted).await?;
        let chunks = chunks_of(&fleet, id).await?;
        let purged = admin.api(&format!("STREAM.PURGE.{STREAM}"), &json!({ "filter": chunks })).await?;
        assert!(purged["purged"].as_u64() > Some(5), "{purged}");
        if code == "payload_changed" {
            let all = padded(&command(&["echo", "evil"]), super::LARGE);
            for part in all.chunks(128 * 1024) {
                admin.store(&chunks, &[], part).await?;
            }
        }
        broken.push((id, code, terminal));
    }
    fleet.service("worker").await?;
    for (id, code, terminal) in broken {
        let ended = fleet.ended(id).await?;
        let error = ended.error.context("a cause")?;
        assert_eq!((ended.state, error.code.as_str(), error.terminal), (JobState::Dead, code, terminal));
        assert!(error.message.contains("windlass_payloads_default"), "{error:?}");
        fleet.tap.heard(id, Transition::Dead).await?;
        assert!(dead_letter(&fleet, "default", id).await?.reason.contains("object"));
    }
    Ok(())
}

/// The subject of a payload's chunks.
async fn chunks_of(fleet: &Fleet, id: JobId) -> Result<String> {
    // So many bytes are encoded as they are in a longer name.
    let nuid = encoded(&format!("default/{id}/"));
    let start = format!("$O.windlass_payloads_default.C.{nuid}");
    let subjects = stored(fleet).await?;
    Ok(subjects.keys().find(|subject| subject.starts_with(&start)).context("no chunks")?.clone())
}

/// RFC 4648, section 5, as the client library encodes names.
fn encoded(name: &str) -> String {
    use std::fmt::Write as _;
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    name.as_bytes().chunks(3).fold(String::new(), |mut text, chunk| {
        let group = chunk.iter().fold(0u32, |g, b| g << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = ALPHABET[(group >> (18 - 6 * place) & 63) as usize];
            let _ = write!(text, "{}", if place <= chunk.len() { char::from(letter) } else { '=' });
        }
        text
    })
}

/// Publishers add and do nothing else; a pool's workers reach their own bucket.
#[tokio::test]
async fn payloads_are_their_pools() -> Result<()> {
    let broker = TestBroker::with_credentials().await?;
    let mut layout = windlass_broker::provision::Layout::default();
    layout.pools.insert("billing".parse()?, vec!["invoices".parse()?]);
    broker.provision(&layout).await?;
    let admin = broker.client("admin").await?;
    for bucket in ["windlass_payloads_default", "windlass_results_default"] {
        let answer = admin.store(&format!("$O.{bucket}.C.secret"), &[], "secret").await?;
        assert!(answer["seq"].is_u64(), "{answer}");
    }
    for user in ["publisher", "worker_billing", "scheduler", "monitor"] {
        let mut client = broker.client(user).await?;
        for call in [
            "STREAM.MSG.GET.OBJ_windlass_payloads_default",
            "DIRECT.GET.OBJ_windlass_payloads_default",
            "STREAM.PURGE.OBJ_windlass_payloads_default",
            "STREAM.MSG.DELETE.OBJ_windlass_payloads_default",
            "CONSUMER.CREATE.OBJ_windlass_payloads_default",
            "STREAM.MSG.GET.OBJ_windlass_results_default",
        ] {
            for subject in [client.api_subject(call), format!("$JS.API.{call}")] {
                client.publish(&subject, None, &[], r#"{"seq": 1}"#).await?;
                client.permission_error(&subject).await?;
            }
        }
        let results = "$O.windlass_results_default.C.forged";
        client.publish(results, None, &[], "evil").await?;
        client.permission_error(results).await?;
    }
    // What a publisher adds cannot remove what is there.
    let publisher = broker.client("publisher").await?;
    for scope in ["sub", "all"] {
        let subject = "$O.windlass_payloads_default.C.secret";
        let answer = publisher.store(subject, &[("Nats-Rollup", scope)], "evil").await?;
        assert!(answer["error"]["err_code"].is_u64(), "{answer}");
    }
    let read = json!({ "last_by_subj": "$O.windlass_payloads_default.C.secret" });
    let kept = admin.api("STREAM.MSG.GET.OBJ_windlass_payloads_default", &read).await?;
    assert_eq!(kept["message"]["data"], "c2VjcmV0");
    Ok(())
}

/// A store that is away is not the payload's fault: the attempt fails, and another follows.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_tried_again() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    fleet.service("dispatcher").await?;
    let id = large(&publisher(&fleet).await?, &command(&["true"])).submit().await?.id;
    fleet.tap.heard(id, Transition::Accepted).await?;
    let admin = fleet.broker.client("admin").await?;
    admin.api(&format!("STREAM.DELETE.{STREAM}"), &json!({})).await?;
    // It looks at all that it uses before it is ready.
    fleet.set_env("WINDLASS__PROVISION", "off");
    fleet.service("worker").await?;
    let error = fleet.tap.heard(id, Transition::Retried).await?.error.context("a cause")?;
    assert_eq!((error.code.as_str(), error.terminal), ("payload_unavailable", false), "{error:?}");
    Ok(())
}
