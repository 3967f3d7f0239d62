//! Telling another program: a POST of JSON, tried some times.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::web_address::is_web_address;

/// Where something is sent. Its address may hold a secret, and is shown without what follows the host.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Webhook(String);

/// The text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an http or https URL of at most 2048 bytes")]
pub struct InvalidWebhook;

/// For one attempt.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Before each attempt but the first.
const WAITS: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30), Duration::from_mins(2)];

// === impl Webhook ===

impl Webhook {
    /// What sends; it follows no redirection.
    pub(crate) fn client() -> Result<reqwest::Client, reqwest::Error> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).redirect(reqwest::redirect::Policy::none());
        http.build()
    }

    /// Sends it, some times if need be; why it was not taken, if it was not. Takes some minutes at most.
    pub(crate) async fn send(
        &self,
        http: &reqwest::Client,
        what: &'static str,
        body: &serde_json::Value,
    ) -> Result<(), String> {
        let mut waits = WAITS.iter();
        loop {
            let sent =
                http.post(&self.0).json(body).send().await.and_then(reqwest::Response::error_for_status);
            // Without the address, which may hold a secret.
            let Err(error) = sent.map_err(reqwest::Error::without_url) else { return Ok(()) };
            let Some(wait) = waits.next() else {
                tracing::error!(%error, what, "a webhook did not take it");
                return Err(error.to_string());
            };
            tracing::warn!(%error, what, "a webhook did not take it, trying again");
            tokio::time::sleep(*wait).await;
        }
    }
}

impl FromStr for Webhook {
    type Err = InvalidWebhook;

    fn from_str(text: &str) -> Result<Self, InvalidWebhook> {
        if is_web_address(text) && text.len() <= 2048 {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidWebhook)
        }
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
