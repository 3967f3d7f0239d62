//! What the client reports of its connection.

use async_nats::{ClientError, Event, ServerError};
use tokio::sync::watch;

use super::{Denied, Status};

pub(super) fn on_event(event: &Event, status: &watch::Sender<Status>, denied: &watch::Sender<Denied>) {
    match event {
        Event::Connected => {
            status.send_modify(|s| *s = Status { connected: true, epoch: s.epoch + 1, closed: false });
            tracing::info!("connected to the broker");
        }
        Event::Disconnected => {
            status.send_modify(|s| s.connected = false);
            tracing::warn!("disconnected from the broker");
        }
        Event::Closed => {
            status.send_modify(|s| *s = Status { connected: false, closed: true, ..*s });
            tracing::info!("the connection to the broker is closed");
        }
        Event::ClientError(ClientError::MaxReconnects) => {
            status.send_modify(|s| *s = Status { connected: false, closed: true, ..*s });
            tracing::warn!("the broker was away for too long; what was not sent is forgotten");
        }
        Event::SlowConsumer(subscription) => {
            metrics::counter!("windlass_broker_slow_consumer_total").increment(1);
            tracing::warn!(subscription, "messages were dropped: a subscription is too slow");
        }
        Event::ServerError(ServerError::Other(text))
            if text.to_lowercase().contains("permissions violation") =>
        {
            metrics::counter!("windlass_broker_permission_denied_total").increment(1);
            tracing::error!(error = %text, "permission denied by the broker");
            denied.send_modify(|d| *d = Denied { count: d.count + 1, text: text.clone() });
        }
        Event::Draining => tracing::debug!("draining the connection to the broker"),
        // Of each try to reconnect: that it is away was said.
        other if !status.borrow().connected => tracing::debug!(event = %other, "the broker is still away"),
        other => tracing::warn!(event = %other, "the broker's connection reports"),
    }
}
