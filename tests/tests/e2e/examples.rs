//! The SDK's examples are whole programs, and work.

use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;
use windlass_testkit::{Fleet, PATIENCE, TestBroker, program};

/// The examples connect to a broker without users.
async fn example(broker: &TestBroker, name: &str) -> Result<Command> {
    let mut command = Command::new(program(&format!("examples/{name}")).await?);
    command.env("WINDLASS_NATS_URL", broker.url()).stdout(Stdio::piped()).kill_on_drop(true);
    Ok(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_runs_what_the_publisher_submits() -> Result<()> {
    let mut fleet = Fleet::without_users().await?;
    fleet.service("dispatcher").await?;
    let mut worker = example(&fleet.broker, "worker").await?.spawn()?;
    let mut lines = BufReader::new(worker.stdout.take().context("no output")?).lines();
    timeout(PATIENCE, async {
        while let Some(line) = lines.next_line().await? {
            if line.contains("ready") {
                return Ok(());
            }
        }
        anyhow::bail!("the worker ended")
    })
    .await??;
    let publisher = example(&fleet.broker, "publisher").await?.output();
    let output = timeout(PATIENCE, publisher).await??;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(!text.trim().is_empty());
    Ok(())
}

#[test]
fn examples_are_short() -> Result<()> {
    for name in ["publisher", "worker"] {
        let text = std::fs::read_to_string(format!("../shared/sdk/examples/{name}.rs"))?;
        assert!(text.lines().count() < 60, "{name}.rs has {} lines", text.lines().count());
    }
    Ok(())
}
