//! Elections of the consumers' leaders: each new one may have forgotten what the old one delivered, and deliver it
//! again. Faults lead to them, one to several perhaps; so they are written down as they are said.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use futures::StreamExt as _;
use serde::Deserialize;
use tokio::task::JoinSet;
use windlass_broker::Options;
use windlass_testkit::{Cluster, broker};

use super::stage::Faults;

/// Every consumer on the stream of jobs.
const ELECTED: &str = "$JS.EVENT.ADVISORY.CONSUMER.LEADER_ELECTED.JOBS.*";

/// As the broker says it.
#[derive(Debug, Deserialize)]
struct Advisory {
    id: String,
    timestamp: jiff::Timestamp,
}

/// Listens at every node, as any of them may be the one that sleeps; as long as the value lives.
pub(super) async fn watch(cluster: &Cluster, faults: &Faults) -> Result<JoinSet<()>> {
    let mut listening = JoinSet::new();
    let heard = Arc::new(Mutex::new(BTreeSet::new()));
    for node in cluster.url().split(',') {
        let options = Options { client_name: "elections".to_owned(), ..Options::new(node) };
        let client = broker::Client::connect(options).await?;
        let mut elections = client.subscribe(ELECTED).await?;
        let (faults, heard) = (faults.clone(), Arc::clone(&heard));
        listening.spawn(async move {
            let _client = client;
            while let Some(message) = elections.next().await {
                let Ok(advisory) = serde_json::from_slice::<Advisory>(&message.payload) else { continue };
                if heard.lock().unwrap_or_else(PoisonError::into_inner).insert(advisory.id) {
                    faults.befell("election", advisory.timestamp);
                }
            }
        });
    }
    Ok(listening)
}
