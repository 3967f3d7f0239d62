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
    /// The highest sequence that it has given.
    pub(crate) last_seq: u64,
    /// Of the oldest message; means nothing if there is none.
    pub(crate) first_ts: Timestamp,
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
