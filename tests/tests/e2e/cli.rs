//! The command line against a running fleet, and a whole fleet by one command.

use anyhow::{Context as _, Result};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use windlass_testkit::Fleet;

use crate::support::command;

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_submits_reads_and_cancels() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    fleet.service("monitor").await?;
    let job =
        fleet.cli(&["submit", "command.run", r#"{"argv": ["echo", "hi"]}"#, "--wait", "-o", "json"]).await?;
    let job: Value = serde_json::from_str(&job)?;
    assert_eq!((&job["state"], &job["result"]["stdout"]), (&"succeeded".into(), &"hi\n".into()));
    let id = job["id"].as_str().context("no id")?;
    let got: Value = serde_json::from_str(&fleet.cli(&["job", "get", id, "-o", "json"]).await?)?;
    for key in ["id", "kind", "queue", "state", "result", "error", "trace_id", "attempts"] {
        assert!(got.get(key).is_some(), "{key} is missing: {got}");
    }
    for key in ["number", "worker", "started_at", "ended_at", "outcome", "error"] {
        assert!(got["attempts"][0].get(key).is_some(), "attempts have no {key}: {got}");
    }

    let late = ["submit", "command.run", r#"{"argv": ["true"]}"#, "--delay", "1h", "-o", "json"];
    let late: Value = serde_json::from_str(&fleet.cli(&late).await?)?;
    let late = late["id"].as_str().context("no id")?;
    fleet.cli(&["job", "cancel", late, "--reason", "not needed"]).await?;
    let got: Value = serde_json::from_str(&fleet.cli(&["job", "get", late, "-o", "json"]).await?)?;
    assert_eq!(got["state"], "cancelled");

    let refused = fleet.cli(&["submit", "no kind", "{}"]).await.expect_err("a kind with a blank");
    assert!(refused.to_string().contains("kind"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_in_two_queues_is_an_error_that_names_them() -> Result<()> {
    let mut fleet = Fleet::running().await?;
    fleet.service("monitor").await?;
    let id = "01890a5d-ac96-774b-bcce-b302099a8059";
    for queue in ["one", "two"] {
        command(&["true"]).into_submission(&fleet).queue(queue).id(id.parse()?).submit().await?;
        let queued = |all: &[windlass_core::Event]| all.iter().any(|e| e.queue.as_str() == queue);
        fleet.tap.until("accepted", queued).await?;
    }
    let monitor = fleet.process("monitor")?.http().await?;
    let mut status = 0;
    while status != 409 {
        status = reqwest::get(format!("{monitor}/api/v1/jobs/{id}")).await?.status().as_u16();
    }
    let error = fleet.cli(&["job", "get", id]).await.expect_err("the id is in two queues").to_string();
    assert!(error.contains("one") && error.contains("two"), "{error}");
    let got: Value =
        serde_json::from_str(&fleet.cli(&["job", "get", id, "--queue", "two", "-o", "json"]).await?)?;
    assert_eq!(got["queue"], "two");
    Ok(())
}

/// The demo indexes a folder, and every digest is right.
#[tokio::test(flavor = "multi_thread")]
async fn the_demo_digests_every_file_and_leaves_nothing_behind() -> Result<()> {
    let data = tempfile::tempdir()?;
    let files = tempfile::tempdir()?;
    let mut expected = Vec::new();
    std::fs::create_dir_all(files.path().join("a/.b"))?;
    for (name, content) in [("one", "1"), ("a/two", ""), ("a/.b/three", "drei\n"), ("ä ö", "x")] {
        std::fs::write(files.path().join(name), content)?;
        let digest = crate::support::hex(&Sha256::digest(content));
        expected.push((name.to_owned(), digest));
    }
    let program = windlass_testkit::program("windlass").await?;
    let mut dev = tokio::process::Command::new(program);
    let output = dev
        .args(["dev", "--demo", "--once", "--nats-port", "0", "--http-port", "0", "-o", "json", "--path"])
        .arg(files.path())
        .arg("--data-dir")
        .arg(data.path())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(windlass_testkit::PATIENCE * 3, output).await??;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let first: Value = serde_json::from_str(text.lines().next().context("nothing was printed")?)?;
    for key in ["nats_url", "http_url", "data_dir", "operator_token_file"] {
        assert!(first[key].is_string(), "{first}");
    }
    let token = std::fs::read_to_string(first["operator_token_file"].as_str().context("no file")?)?;
    assert!(
        token.trim().len() >= 32 && !text.contains(token.trim()),
        "it is where it is said to be, and not shown"
    );
    // What was started is gone: nobody answers any more.
    let http_url = first["http_url"].as_str().context("no address")?;
    assert!(reqwest::get(format!("{http_url}/livez")).await.is_err());
    assert!(!data.path().join("dev.json").exists());
    // A second run on the same data finds the first one's jobs.
    let found = digests_in(data.path())?;
    for (name, digest) in expected {
        assert!(found.contains(&digest), "{name} has no right digest");
    }
    Ok(())
}

/// The digests in the monitor's database, wherever it lies under this folder.
fn digests_in(folder: &std::path::Path) -> Result<String> {
    let mut all = String::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|n| n.to_string_lossy().contains(".db")) {
                all.push_str(&String::from_utf8_lossy(&std::fs::read(path)?));
            }
        }
    }
    Ok(all)
}
