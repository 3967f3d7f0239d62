//! What can be wrong with a connection, and with an answer.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::ConnectError;

/// Why the client library does not connect. It says the causes of its errors itself, so this one has none.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cause(ConnectError);

/// The broker cannot be reached, or does not answer as it must.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection.
    #[error("cannot connect to the broker at {url}")]
    Connect {
        /// Where.
        url: String,
        /// Why.
        source: Cause,
    },
    /// The credentials file cannot be read.
    #[error("cannot read the credentials file {}", path.display())]
    Credentials {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A right is missing.
    #[error("permission denied by the broker: {0}")]
    PermissionDenied(String),
    /// Nobody listens on the subject: the stream or consumer does not exist, or has no leader now.
    #[error("nothing answers on {0}: the stream or consumer is missing, or has no leader just now")]
    NoResponders(String),
    /// No answer within the time; a write may or may not have happened.
    #[error("no answer from the broker on {subject} within {} s", timeout.as_secs_f64())]
    TimedOut {
        /// What was asked.
        subject: String,
        /// For how long.
        timeout: Duration,
    },
    /// The message is larger than the broker takes.
    #[error("the message is larger than the broker takes: {0}")]
    TooLarge(String),
    /// The broker refused, with its code.
    #[error("the broker refused: {description} ({code})")]
    Refused {
        /// JetStream's `err_code`.
        code: u64,
        /// In its words.
        description: String,
    },
    /// The answer cannot be read.
    #[error("the broker's answer on {subject} cannot be read: {reason}")]
    Malformed {
        /// What was asked.
        subject: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// Not connected just now; nothing was sent, and nothing will be.
    #[error("not connected to the broker")]
    Disconnected,
    /// The connection is closed for good.
    #[error("the connection to the broker is closed")]
    Closed,
}

// === impl Error ===

impl Error {
    /// Whether asking again for the same can help, with no change by an operator.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Credentials { .. } | Self::PermissionDenied(_) | Self::TooLarge(_) => false,
            Self::Refused { .. } => crate::publish::is_transient(self),
            _ => true,
        }
    }
}

// === impl Cause ===

impl From<ConnectError> for Cause {
    fn from(error: ConnectError) -> Self {
        Self(error)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use crate::{Broker, Options};

    #[tokio::test]
    async fn a_refused_connection_says_so_once() {
        // Bound, and then nobody's.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = Broker::connect(Options::new(format!("nats://{free}"))).await.unwrap_err();
        assert!(error.may_pass());
        let (mut text, mut cause) = (error.to_string(), error.source());
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        assert_eq!(text.matches("refused").count(), 1, "{text}");
    }
}
