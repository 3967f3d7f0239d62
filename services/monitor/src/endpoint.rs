//! The monitor's address in the control bucket, where the command line looks for it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use prost::Message as _;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use windlass_broker::Broker;
use windlass_broker::names::MONITOR_ENDPOINT_KEY as KEY;
use windlass_proto::v1;

/// A monitor that is gone is not found for longer than this.
const TTL: Duration = Duration::from_secs(30);
const RENEW: Duration = Duration::from_secs(10);

/// The address that others are told.
pub(crate) fn address(public_url: Option<&str>, listens: SocketAddr) -> String {
    if let Some(url) = public_url {
        return url.trim_end_matches('/').to_owned();
    }
    // Whoever looks on this machine finds it; for others there is `public_url`.
    let ip = if listens.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listens.ip() };
    format!("http://{}", SocketAddr::new(ip, listens.port()))
}

/// Writes the address, and again for as long as the monitor runs. A failure is tried again with the next.
pub(crate) async fn announce(broker: &Broker, http_url: String, stop: &CancellationToken) {
    let bucket = broker.bucket(broker.names().control_bucket());
    let value = v1::Endpoint { http_url }.encode_to_vec();
    let mut ticks = tokio::time::interval(RENEW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut written = None;
    while let Some(_tick) = stop.run_until_cancelled(ticks.tick()).await {
        match bucket.put(KEY, value.clone().into(), Some(TTL)).await {
            Ok(revision) => written = Some(revision),
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::new(error));
                tracing::warn!(error, "the monitor's address was not written");
            }
        }
    }
    // Another monitor's address stays.
    if let Some(revision) = written
        && let Err(error) = bucket.delete_revision(KEY, revision).await
    {
        tracing::debug!(%error, "the monitor's address was not removed; it expires");
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use windlass_broker::provision::Layout;
    use windlass_testkit::TestBroker;

    use super::*;

    #[test]
    fn an_address_can_be_followed() {
        let listens = |text: &str| text.parse().unwrap();
        assert_eq!(address(None, listens("127.0.0.1:8304")), "http://127.0.0.1:8304");
        assert_eq!(address(None, listens("0.0.0.0:80")), "http://127.0.0.1:80");
        assert_eq!(address(None, listens("[::1]:80")), "http://[::1]:80");
        assert_eq!(
            address(Some("https://jobs.example.org/"), listens("0.0.0.0:80")),
            "https://jobs.example.org"
        );
    }

    #[tokio::test]
    async fn the_address_stands_while_the_monitor_runs() {
        let server = TestBroker::with_credentials().await.unwrap();
        let reader = server.provision(&Layout::default()).await.unwrap();
        let bucket = reader.bucket(reader.names().control_bucket());
        let mut changes = bucket.watch().await.unwrap();
        let stop = CancellationToken::new();
        let monitor = server.connect("monitor").await.unwrap();
        let stopped = stop.clone();
        let announcing =
            tokio::spawn(async move { announce(&monitor, "http://127.0.0.1:1".to_owned(), &stopped).await });
        let written = changes.next().await.unwrap().unwrap();
        let endpoint = v1::Endpoint::decode(written.value.unwrap()).unwrap();
        assert_eq!((written.key.as_str(), endpoint.http_url.as_str()), (KEY, "http://127.0.0.1:1"));
        stop.cancel();
        announcing.await.unwrap();
        assert_eq!(changes.next().await.unwrap().unwrap().value, None);
    }
}
