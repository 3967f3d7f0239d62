//! Telling of alerts: in the log, and to a webhook.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::store::FiredAlert;
use crate::webhook::Webhook;

/// Alerts that wait to be sent; what has no room is counted.
pub(super) struct Deliveries {
    waiting: Option<mpsc::Sender<FiredAlert>>,
}

/// So many wait.
const MOST_WAITING: usize = 256;
// === impl Deliveries ===

impl Deliveries {
    /// Ready to tell, and what sends: it ends when nothing is told any more, or is stopped.
    pub(super) fn start(
        webhook: Option<Webhook>,
        stop: &CancellationToken,
    ) -> (Self, impl Future<Output = ()>) {
        let (sender, mut receiver) = mpsc::channel::<FiredAlert>(MOST_WAITING);
        let waiting = webhook.is_some().then_some(sender);
        let sending = async move {
            let Some(webhook) = webhook else { return };
            let http = match Webhook::client() {
                Ok(http) => http,
                Err(error) => return tracing::error!(%error, "alerts cannot be sent"),
            };
            while let Some(Some(alert)) = stop.run_until_cancelled(receiver.recv()).await {
                if stop.run_until_cancelled(send(&http, &webhook, &alert)).await.is_none() {
                    return;
                }
            }
        };
        (Self { waiting }, sending)
    }

    /// Tells of an alert that has fired or is over, without waiting.
    pub(super) fn tell(&self, alert: FiredAlert) {
        let FiredAlert { rule, subject, value, detail, silenced, .. } = &alert;
        let is_over = alert.resolved_at.is_some();
        metrics::counter!("windlass_monitor_alert_changes_total", "rule" => rule.clone()).increment(1);
        if is_over {
            tracing::info!(rule, subject, silenced, "an alert is over");
        } else {
            tracing::warn!(rule, subject, value, silenced, detail, "an alert has fired");
        }
        if let Some(waiting) = self.waiting.as_ref().filter(|_| !silenced)
            && waiting.try_send(alert).is_err()
        {
            metrics::counter!("windlass_monitor_alerts_dropped_total").increment(1);
            tracing::error!("an alert was not sent: too many wait");
        }
    }
}

async fn send(http: &reqwest::Client, webhook: &Webhook, alert: &FiredAlert) {
    let body = serde_json::json!({
        "source": "windlass",
        "state": if alert.resolved_at.is_some() { "resolved" } else { "firing" },
        "alert": alert,
    });
    if webhook.send(http, "alert", &body).await.is_err() {
        metrics::counter!("windlass_monitor_alerts_dropped_total").increment(1);
    }
}
