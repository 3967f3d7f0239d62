//! Subscribers that take everything and read nothing; and the monitor asleep.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::sleep;
use windlass::Auth;
use windlass_testkit::Servers as _;

use super::Scene;
use crate::faults::stage::Whom;

const STALLED: usize = 3;

/// The broker gives such a subscriber up; nobody else may feel it.
pub(super) async fn stalled(scene: &mut Scene<'_>) -> Result<()> {
    let mut connections = Vec::new();
    for number in 0..STALLED {
        let whom = Whom::Process(format!("subscriber-{number}"), 0);
        let fault = scene.stage.faults.begin("a subscriber that does not read", whom);
        connections.push((subscribe(scene).await?, fault));
    }
    let pause = scene.seed.millis(4000, 8000);
    scene.stage.pause("monitor-1", pause).await?;
    sleep(Duration::from_secs(scene.times(5, 1))).await;
    for (_, fault) in &connections {
        scene.stage.faults.end(*fault);
    }
    Ok(())
}

/// To all that the fleet says, without a client that would read it.
async fn subscribe(scene: &mut Scene<'_>) -> Result<TcpStream> {
    let port = scene.stage.one()?.port();
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut connect = json!({ "verbose": false, "pedantic": false, "lang": "none", "version": "0" });
    if let Auth::UserPassword { user, password } = scene.stage.fleet.broker.options("admin").auth {
        connect["user"] = json!(user);
        connect["pass"] = json!(password.reveal());
    }
    let lines = format!("CONNECT {connect}\r\nSUB windlass.> 1\r\nSUB _INBOX.> 2\r\nSUB $JS.> 3\r\n");
    connection.write_all(lines.as_bytes()).await?;
    Ok(connection)
}
