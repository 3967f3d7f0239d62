//! With keys, nobody between publisher and worker reads a payload, a result or an error.

use anyhow::{Context as _, Result};
use windlass::client::Error;
use windlass::{Codec, Keyring};
use windlass_core::{JobId, JobState, QueueName, Transition};
use windlass_testkit::{Fleet, PATIENCE};

use super::{Make, has, publisher, worker};
use crate::support::{command, dead_letter};

const SECRET: &str = "the-card-number-4111";

/// A new key, by the program that makes them.
async fn key(fleet: &Fleet, id: &str) -> Result<String> {
    Ok(fleet.cli(&["keys", "generate", "--id", id]).await?.trim().to_owned())
}

fn write_keys(fleet: &Fleet, name: &str, lines: &[&str]) -> Result<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = fleet.folder.path().join(name);
    std::fs::write(&path, lines.join("\n"))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(path.display().to_string())
}

fn codec(lines: &[&str]) -> Result<Codec> {
    Ok(Codec::default().with_keys(lines.join("\n").parse::<Keyring>()?).with_compression())
}

/// All that the broker stores but the objects, which are looked at apart.
async fn stored_text(fleet: &Fleet, streams: &[&str]) -> Result<String> {
    let admin = fleet.broker.client("admin").await?;
    let mut all = Vec::new();
    for stream in streams {
        for (_, body) in admin.messages(stream).await? {
            all.extend_from_slice(&body);
        }
    }
    Ok(String::from_utf8_lossy(&all).into_owned())
}

/// A worker process with a file of keys: what runs is what was published, and what it says comes back to who has the
/// keys, and to nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_in_between_reads_what_is_sealed() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let (old, new) = (key(&fleet, "old").await?, key(&fleet, "new").await?);
    // In the midst of a change of keys: the worker seals with the new one, the publisher still with the old one.
    let keys = write_keys(&fleet, "keys", &[&new, &old])?;
    fleet.set_env("WINDLASS__CODEC__KEYS_FILE", &keys);
    fleet.set_env("WINDLASS__CODEC__ONLY_SEALED", "true");
    for service in ["dispatcher", "monitor", "worker"] {
        fleet.service(service).await?;
    }
    let client = publisher(&fleet).await?.with_codec(codec(&[&old, &new])?);
    let script = format!("echo {SECRET}; echo {SECRET} >&2; exit 3");
    let payload = |job: &crate::support::Command| super::padded(job, 300_000);
    let raw = |bytes| client.raw("command.run", bytes, "application/json");
    let well = raw(payload(&command(&["sh", "-c", &script]))).submit().await?.id;
    let dead =
        raw(command(&["sh", "-c", &script]).failing().json().into()).max_attempts(1).submit().await?.id;
    fleet.tap.heard(well, Transition::Succeeded).await?;
    fleet.tap.heard(dead, Transition::Dead).await?;

    let reader = fleet.client.clone().with_codec(codec(&[&new, &old])?);
    let (queue, patience) = (QueueName::default(), PATIENCE);
    let ended = reader.wait(&queue, well, patience).await?;
    assert!(String::from_utf8_lossy(&ended.result).contains(SECRET), "{ended:?}");
    let error = reader.wait(&queue, dead, patience).await?.error.context("a cause")?;
    assert!(error.message.contains(SECRET), "{error:?}");

    let stored = stored_text(&fleet, &["JOBS", "EVENTS", "DEAD"]).await?;
    assert!(!stored.contains(SECRET), "it stands in a stream");
    assert!(stored.contains("windlass-sealed:1:new:"), "nothing is sealed");
    assert!(dead_letter(&fleet, "default", dead).await?.reason.starts_with("windlass-sealed:1:new:"));
    // It was compressed before it was sealed, and so needed no object.
    has(&fleet, 0).await?;
    // Without keys the end is known, and says what is missing.
    let error = fleet.client.wait(&queue, well, patience).await.unwrap_err();
    let told = format!("{:#}", anyhow::Error::new(error));
    assert!(told.contains("succeeded") && told.contains("`new`"), "{told}");
    let error = fleet.ended(dead).await?.error.context("a cause")?;
    assert!(error.message.starts_with("windlass-sealed:1:new:"), "{error:?}");
    for service in ["dispatcher", "monitor", "worker"] {
        let log = fleet.process(service)?.log();
        let shown = [SECRET, &new[4..], &old[4..]].into_iter().find(|secret| log.contains(secret));
        assert_eq!(shown, None, "{service} logs it");
    }
    operator_reveals(&mut fleet, well, dead, &keys).await
}

/// The command line tells that it is sealed, and opens it when asked to.
async fn operator_reveals(fleet: &mut Fleet, well: JobId, dead: JobId, keys: &str) -> Result<()> {
    for id in [well.to_string(), dead.to_string()] {
        let out = fleet.cli(&["job", "get", &id]).await?;
        assert!(out.contains("sealed with the key `new`") && !out.contains(SECRET), "{out}");
        let out = fleet.cli(&["job", "get", &id, "--reveal", "--codec-keys", keys]).await?;
        assert!(out.contains(SECRET), "{out}");
    }
    let page = format!("{}/jobs/{dead}", fleet.process("monitor")?.http().await?);
    let page = reqwest::get(page).await?.text().await?;
    assert!(page.contains("sealed with the key") && !page.contains(SECRET), "{page}");
    Ok(())
}

/// A worker that lacks the key says which; one that takes nothing but sealed payloads says that.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_the_key_names_it() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    fleet.service("dispatcher").await?;
    let (known, lost) = (key(&fleet, "known").await?, key(&fleet, "lost").await?);
    let _worker = worker(&fleet, codec(&[&known])?.only_sealed()).await?;
    let task = Make { bytes: 1, fail: String::new() };
    let of = |lines: &[&str]| anyhow::Ok(fleet.client.clone().with_codec(codec(lines)?));
    let plain = fleet.client.task(&task).submit().await?.id;
    let sealed = of(&[&lost])?.task(&task).max_attempts(1).submit().await?.id;
    let good = of(&[&known])?.task(&task).submit().await?.id;
    for (id, code, words) in
        [(plain, "payload_refused", "not sealed"), (sealed, "payload_unknown_key", "`lost`")]
    {
        let ended = fleet.ended(id).await?;
        let error = ended.error.context("a cause")?;
        // Said in clear: it tells nothing of the payload.
        assert_eq!((ended.state, error.code.as_str()), (JobState::Dead, code));
        assert!(error.message.contains(words), "{error:?}");
    }
    let ended = of(&[&known])?.wait(&QueueName::default(), good, PATIENCE).await?;
    assert_eq!((ended.state, &ended.result[..]), (JobState::Succeeded, &b"\"x\""[..]));
    let unopened = fleet.ended(good).await.unwrap_err();
    let unopened = unopened.downcast_ref::<Error>();
    assert!(matches!(unopened, Some(Error::ResultSealed { state: JobState::Succeeded, .. })), "{unopened:?}");
    Ok(())
}

/// A dead letter's job starts again as another job, and opens what was sealed for the first: large payloads as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_payload_is_redriven() -> Result<()> {
    async fn other(_: crate::execution::Alpha) -> Result<(), windlass::Failure> {
        Ok(())
    }
    let mut fleet = Fleet::start().await?;
    fleet.service("dispatcher").await?;
    let keys = [key(&fleet, "known").await?];
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let codec = Codec::default().with_keys(keys.join("\n").parse::<Keyring>()?);
    let client = fleet.client.clone().with_codec(codec.clone());
    // Nobody has a handler for it while it dies.
    let without = windlass::Handlers::new().register(other)?;
    let options = || windlass::worker::Options {
        codec: codec.clone(),
        unknown_kind_patience: std::time::Duration::from_millis(1),
        ..windlass::worker::Options::default()
    };
    let first = crate::execution::host_with(&fleet, without, options()).await?;
    let make = |fail: String| Make { bytes: 1, fail };
    let mut dead = Vec::new();
    // What is not sealed is not said; the second is too large for its task.
    for task in [make(String::new()), make("x".repeat(300_000))] {
        dead.push(client.task(&task).submit().await?.id);
    }
    for id in &dead {
        assert_eq!(fleet.ended(*id).await?.state, JobState::Dead);
        fleet.tap.heard(*id, Transition::Dead).await?;
    }
    has(&fleet, 1).await?;
    first.drain().await?;
    let _worker = worker(&fleet, codec).await?;
    for (id, state) in dead.into_iter().zip([JobState::Succeeded, JobState::Dead]) {
        let out = fleet
            .cli(&["dead", "redrive", &id.to_string(), "--reason", "a handler is there", "-o", "json"])
            .await?;
        let view: serde_json::Value = serde_json::from_str(&out)?;
        let again: JobId = view["redriven_id"].as_str().context("an id")?.parse()?;
        let ended = client.wait(&QueueName::default(), again, PATIENCE).await?;
        assert_eq!(ended.state, state, "{ended:?}");
        if state == JobState::Dead {
            let message = ended.error.context("a cause")?.message;
            assert!(message.starts_with("xxx"), "it was not opened: {message:.80}");
        }
    }
    // The letter's own went with it, the new one's stays for its letter.
    has(&fleet, 1).await
}

/// What a handler saves and tells is sealed as well, and the next attempt opens what the one before saved.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_saves_and_tells_is_sealed() -> Result<()> {
    async fn tell(
        _: Make,
        checkpoint: windlass::Checkpoint<String>,
        logger: windlass::Logger,
        progress: windlass::Progress,
    ) -> Result<String, windlass::Failure> {
        if let Some(saved) = checkpoint.saved() {
            return Ok(saved.clone());
        }
        logger.info(format!("a line with {SECRET}"));
        progress.set(0.5, format!("a note with {SECRET}"));
        checkpoint.save(&SECRET.to_owned()).await?;
        Err(windlass::Failure::new("again").retry_after(std::time::Duration::from_millis(500)))
    }
    let mut fleet = Fleet::start().await?;
    fleet.service("dispatcher").await?;
    let keys = key(&fleet, "known").await?;
    let codec = Codec::default().with_keys(keys.parse::<Keyring>()?);
    let options = windlass::worker::Options { codec: codec.clone(), ..windlass::worker::Options::default() };
    let handlers = windlass::Handlers::new().register(tell)?;
    let _worker = crate::execution::host_with(&fleet, handlers, options).await?;
    let client = fleet.client.clone().with_codec(codec);
    let id = client.task(&Make { bytes: 1, fail: String::new() }).submit().await?.id;
    fleet.tap.heard(id, Transition::Retried).await?;
    // The record of the job that waits has the checkpoint.
    let stored = stored_text(&fleet, &["JOBS", "EVENTS"]).await?;
    assert!(!stored.contains(SECRET), "it stands in a stream");
    let ended = client.wait(&QueueName::default(), id, PATIENCE).await?;
    assert_eq!(ended.result, format!("\"{SECRET}\"").as_bytes());
    let admin = fleet.broker.client("admin").await?;
    // What was told comes beside the events.
    loop {
        let stored = admin.messages("EVENTS").await?;
        let told = stored.iter().filter_map(|(_, body)| {
            <windlass_proto::v1::EventBatch as prost::Message>::decode(body.clone()).ok()
        });
        let (mut lines, mut notes) = (Vec::new(), Vec::new());
        for batch in told {
            lines.extend(batch.logs.into_iter().map(|line| line.message));
            notes.extend(batch.progress.into_iter().map(|progress| progress.note));
        }
        if !lines.is_empty() && !notes.is_empty() {
            assert!(lines.iter().chain(&notes).all(|text| text.starts_with("windlass-sealed:1:known:")));
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
