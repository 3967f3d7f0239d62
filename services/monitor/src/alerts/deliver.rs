//! Telling of alerts: in the log, and to a webhook.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::store::FiredAlert;

/// Where alerts are sent. Its address may hold a secret, and is shown without what follows the host.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Webhook(String);

/// The text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an http or https URL of at most 2048 bytes")]
pub struct InvalidWebhook;

/// Alerts that wait to be sent; what has no room is counted.
pub(super) struct Deliveries {
    waiting: Option<mpsc::Sender<FiredAlert>>,
}

/// So many wait.
const MOST_WAITING: usize = 256;
/// For one attempt.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Before each attempt but the first.
const WAITS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30), Duration::from_mins(2)];

// === impl Webhook ===

impl FromStr for Webhook {
    type Err = InvalidWebhook;

    fn from_str(text: &str) -> Result<Self, InvalidWebhook> {
        let web = text.starts_with("http://") || text.starts_with("https://");
        let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        if web && plain && text.len() <= 2048 { Ok(Self(text.to_owned())) } else { Err(InvalidWebhook) }
    }
}

impl TryFrom<String> for Webhook {
    type Error = InvalidWebhook;

    fn try_from(text: String) -> Result<Self, InvalidWebhook> {
        text.parse()
    }
}

impl From<Webhook> for String {
    fn from(webhook: Webhook) -> Self {
        webhook.0
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        write!(f, "{host}/***")
    }
}

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
            let http =
                reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
            let http = match http.build() {
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
    for wait in WAITS.iter().map(Some).chain([None]) {
        let sent =
            http.post(&webhook.0).json(&body).send().await.and_then(reqwest::Response::error_for_status);
        match (sent, wait) {
            (Ok(_), _) => return,
            (Err(error), Some(wait)) => {
                // Without the address, which may hold a secret.
                tracing::warn!(error = %error.without_url(), "an alert was not taken, trying again");
                tokio::time::sleep(*wait).await;
            }
            (Err(error), None) => {
                metrics::counter!("windlass_monitor_alerts_dropped_total").increment(1);
                tracing::error!(error = %error.without_url(), "an alert was not taken");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_and_its_secret_is_not_shown() {
        for bad in ["", "ftp://x", "http://a b", &format!("http://{}", "x".repeat(2048))] {
            assert_eq!(bad.parse::<Webhook>(), Err(InvalidWebhook), "{bad}");
        }
        let webhook: Webhook = "https://hooks.example.org/T0/secret?x=/y".parse().unwrap();
        assert_eq!(format!("{webhook:?}"), "https://hooks.example.org/***");
    }
}
