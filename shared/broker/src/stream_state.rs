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
