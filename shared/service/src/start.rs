//! From a configuration to a broker that is connected and provisioned, for as long as it takes.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use windlass_broker::Broker;
use windlass_broker::provision::{Mode, Part};

use crate::config::Common;
use crate::health::Health;

/// The condition that the broker is connected.
pub(crate) const BROKER: &str = "broker";
/// The condition that its streams are what they must be.
pub(crate) const PROVISIONED: &str = "provisioned";

const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(5);
const PROVISION_DELAY: Duration = Duration::from_secs(3);

/// Connects, trying again until it succeeds; none if asked to stop before.
pub(crate) async fn connect(
    common: &Common,
    client_name: &str,
    give_up_after: Option<Duration>,
    health: &Health,
    stop: &CancellationToken,
) -> Option<Broker> {
    let mut last_cause = String::new();
    let mut delay = FIRST_DELAY;
    loop {
        let cause = tokio::select! {
            () = stop.cancelled() => return None,
            attempt = attempt(common, client_name, give_up_after) => match attempt {
                Ok(broker) => {
                    health.ready(BROKER);
                    return Some(broker);
                }
                Err(error) => plain(&error),
            },
        };
        if cause != last_cause {
            tracing::error!(error = cause, "cannot connect to the broker, trying again");
            health.not_ready(BROKER, cause.clone());
            last_cause = cause;
        }
        stop.run_until_cancelled(tokio::time::sleep(delay)).await?;
        delay = (delay * 2).min(LONGEST_DELAY);
    }
}

async fn attempt(
    common: &Common,
    client_name: &str,
    give_up_after: Option<Duration>,
) -> anyhow::Result<Broker> {
    let options = common.nats.broker_options(common.names(), client_name.to_owned())?;
    let options = windlass_broker::Options { give_up_after, ..options };
    // Each server of the list has its own time; this bound is for what that time does not cover, as names to resolve.
    let servers = u32::try_from(options.url.split(',').count()).unwrap_or(1);
    let limit = options.connect_timeout * (servers + 2);
    match tokio::time::timeout(limit, Broker::connect(options)).await {
        Ok(connected) => Ok(connected?),
        Err(_) => anyhow::bail!("cannot connect to the broker within {} s", limit.as_secs()),
    }
}

/// Makes or checks the streams, trying again until they are right; none if asked to stop before.
pub(crate) async fn prepare(
    common: &Common,
    broker: &Broker,
    parts: &[Part],
    health: &Health,
    stop: &CancellationToken,
) -> Option<()> {
    let mode = Mode::from(common.provision);
    let mut last_cause = String::new();
    loop {
        let cause = tokio::select! {
            () = stop.cancelled() => return None,
            result = broker.provision(mode, &common.layout, parts) => match result {
                Ok(differences) if differences.is_empty() => {
                    health.ready(PROVISIONED);
                    return Some(());
                }
                Ok(differences) => differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
                Err(error) => plain(&anyhow::Error::new(error)),
            },
        };
        if cause != last_cause {
            tracing::error!(error = cause, ?mode, "the streams are not as configured, trying again");
            health.not_ready(PROVISIONED, cause.clone());
            last_cause = cause;
        }
        stop.run_until_cancelled(tokio::time::sleep(PROVISION_DELAY)).await?;
    }
}

/// Reports the connection's state until it is closed for good.
pub(crate) async fn follow(broker: &Broker, health: &Health) {
    let (mut status, mut silent) = (broker.status(), broker.is_silent());
    loop {
        let now = *status.borrow_and_update();
        if now.closed {
            break;
        }
        if now.connected && *silent.borrow_and_update() {
            health.not_ready(BROKER, "the connection stands, and the broker does not answer");
        } else if now.connected {
            health.ready(BROKER);
        } else {
            health.not_ready(BROKER, "the connection is lost, connecting again");
        }
        let changed = tokio::select! {
            changed = status.changed() => changed,
            changed = silent.changed() => changed,
        };
        if changed.is_err() {
            break;
        }
    }
    health.not_ready(BROKER, "the connection is closed, making a new one");
}

/// An error with its causes, less those that only repeat the one before.
fn plain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(cause.trim_start_matches("nats: ")) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_not_repeated() {
        let error = anyhow::anyhow!("nats: authorization violation")
            .context("authorization violation: nats: authorization violation")
            .context("cannot connect");
        assert_eq!(plain(&error), "cannot connect: authorization violation: nats: authorization violation");
        let error = anyhow::anyhow!("no such host").context("cannot connect");
        assert_eq!(plain(&error), "cannot connect: no such host");
    }
}
