//! What a stream says it holds, at no cost to it.

use std::time::Duration;

use jiff::Timestamp;

use crate::connect::{Broker, Error};

#[derive(serde::Deserialize)]
struct StreamInfo {
    state: StreamState,
}

/// What it holds.
#[derive(serde::Deserialize)]
pub(crate) struct StreamState {
    pub(crate) messages: u64,
    /// The lowest sequence that it holds, or will.
    first_seq: u64,
    /// The highest sequence that it has given.
    pub(crate) last_seq: u64,
    /// Of the oldest message; means nothing if there is none.
    pub(crate) first_ts: Timestamp,
}

// === impl StreamState ===

impl StreamState {
    /// It holds nothing up to this sequence.
    pub(crate) fn empty_up_to(&self) -> u64 {
        if self.messages == 0 { self.last_seq } else { self.first_seq.saturating_sub(1) }
    }
}

/// How much a stream holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The stream's name.
    pub name: String,
    /// How many messages.
    pub messages: u64,
    /// How many bytes, as the broker counts them.
    pub bytes: u64,
}

#[derive(serde::Deserialize)]
struct StreamList {
    #[serde(default)]
    streams: Option<Vec<ListedStream>>,
}

#[derive(serde::Deserialize)]
struct ListedStream {
    config: ListedConfig,
    state: ListedState,
}

#[derive(serde::Deserialize)]
struct ListedConfig {
    name: String,
}

#[derive(serde::Deserialize)]
struct ListedState {
    messages: u64,
    bytes: u64,
}

/// For the list of streams.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

// === impl Broker ===

impl Broker {
    /// What the streams of the fleet hold, by name: those of messages, not those behind buckets. Of many, the first that
    /// one answer has room for.
    pub async fn streams(&self) -> Result<Vec<Held>, Error> {
        let list: StreamList = self.api("STREAM.LIST", &serde_json::json!({}), LIST_TIMEOUT).await?;
        let mut held: Vec<Held> = list
            .streams
            .unwrap_or_default()
            .into_iter()
            .map(|stream| Held {
                name: stream.config.name,
                messages: stream.state.messages,
                bytes: stream.state.bytes,
            })
            .filter(|held| self.names().is_stream_of_messages(&held.name))
            .collect();
        held.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(held)
    }
}

/// Asks this stream.
pub(crate) async fn stream_state(
    broker: &Broker,
    stream: &str,
    timeout: Duration,
) -> Result<StreamState, Error> {
    let call = format!("STREAM.INFO.{stream}");
    let info: StreamInfo = broker.api(&call, &serde_json::json!({}), timeout).await?;
    Ok(info.state)
}
