//! Several servers of this machine that are one broker.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Error;
use crate::connect::{self, Broker};
use crate::provision::{self, Desired};

/// For the nodes to find each other, and to elect a leader.
const FORMATION: Duration = Duration::from_mins(1);
/// For one question: without a leader nobody answers, and the next one may.
const QUESTION: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(10);
/// JetStream: not enough nodes are online for the copies of a stream.
const NO_PEERS: u64 = 10_005;
/// JetStream: there is no such stream.
const NO_STREAM: u64 = 10_059;

/// What each of these servers is told beside what one alone is: for [`ServerOptions::args`](super::ServerOptions::args).
/// The nodes are `n0`, `n1` and so on, on ports that are free now; another process may take one before its server does.
pub fn arguments(nodes: usize) -> Result<Vec<Vec<String>>, Error> {
    // Each node must know the others' ports before any runs. All are held until all are chosen.
    let urls = || {
        let listeners =
            (0..nodes).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
        let url = |listener: &TcpListener| Ok(format!("nats://{}", listener.local_addr()?));
        listeners.iter().map(url).collect::<Result<Vec<_>, _>>()
    };
    let urls = urls().map_err(|source| Error::Process { action: "find ports for", source })?;
    let routes = urls.join(",");
    let of_node = |(number, url): (usize, &String)| {
        let name = format!("n{number}");
        let arguments =
            ["--name", &name, "--cluster_name", "local", "--cluster", url, "--routes", routes.as_str()];
        arguments.map(str::to_owned).to_vec()
    };
    Ok(urls.iter().enumerate().map(of_node).collect())
}

/// Waits until JetStream answers and counts all nodes, within a bound.
pub async fn formed(broker: &Broker, nodes: usize) -> Result<(), Error> {
    let deadline = Instant::now() + FORMATION;
    let probe = json!({
        "name": "probe", "subjects": ["probe"], "storage": "memory", "retention": "limits", "num_replicas": nodes,
    });
    while Instant::now() < deadline {
        // A stream over all nodes can be made once they all take part.
        if broker.api::<Value>("STREAM.CREATE.probe", &probe, QUESTION).await.is_ok() {
            while Instant::now() < deadline {
                match broker.api::<Value>("STREAM.DELETE.probe", &json!({}), QUESTION).await {
                    // Refused: it is gone since a call whose answer was lost.
                    Ok(_) | Err(connect::Error::Refused { code: NO_STREAM, .. }) => return Ok(()),
                    Err(_) => sleep(POLL).await,
                }
            }
        }
        sleep(POLL).await;
    }
    Err(Error::NotFormed { nodes, seconds: FORMATION.as_secs() })
}

/// Makes these streams on servers that have just become a cluster.
pub async fn provision(broker: &Broker, wanted: &Desired) -> Result<(), provision::Error> {
    let deadline = Instant::now() + FORMATION;
    loop {
        match provision::apply(broker, wanted, false).await {
            // Two nodes that call each other at once drop one of the calls, and take the other for offline then.
            Err(provision::Error::Refused { code: NO_PEERS, .. }) if Instant::now() < deadline => {
                sleep(POLL).await;
            }
            outcome => return outcome,
        }
    }
}
