//! A whole fleet in the process of a test: a broker of its own, a dispatcher, and a worker with the test's handlers.
//!
//! For one handler, or several without a broker, use [`windlass::testing`], which is faster. Use a [`Fleet`] where the
//! real thing matters: leases, cancellation, children, uniqueness by id, large payloads, clients of other languages.
//!
//! ```
//! use std::time::Duration;
//! use windlass::{Failure, Handlers, Job, JobState};
//! use windlass_testing::Fleet;
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Mail { to: String }
//!
//! impl Job for Mail {
//!     const KIND: &'static str = "mail.send";
//! }
//!
//! async fn send(mail: Mail) -> Result<String, Failure> {
//!     Ok(format!("sent to {}", mail.to))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let fleet = Fleet::start(Handlers::new().register(send)?).await?;
//! let mail = Mail { to: "a@example.org".to_owned() };
//! let job = fleet.client().task(&mail).delay(Duration::from_secs(3600)).submit().await?;
//! fleet.assert_submitted::<Mail>(|mail| mail.to == "a@example.org").await;
//!
//! // It waits for its hour, and the test does not.
//! assert!(fleet.drain().await?.is_empty());
//! fleet.advance(Duration::from_secs(3600)).await?;
//! let ended = fleet.drain().await?;
//! assert_eq!((ended[0].id, ended[0].state), (job.id, JobState::Succeeded));
//! # Ok(())
//! # }
//! ```

mod clock;
mod drain;
mod error;
mod fleet;
mod guard;
mod host;
mod known;
mod listen;
mod submitted;

pub use self::error::Error;
pub use self::fleet::Fleet;
pub use windlass::testing::EndedJob;
pub use windlass_core::{Event, Transition};
