//! Testing handlers and what submits tasks, without a broker.
//!
//! ```
//! use std::time::Duration;
//! use windlass::testing::Bench;
//! use windlass::{Client, Failure, Handlers, Job, JobState};
//! # #[derive(serde::Serialize, serde::Deserialize, Debug)]
//! # struct Order { id: u64 }
//! # impl Job for Order { const KIND: &'static str = "order.place"; }
//! # #[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq)]
//! # struct Mail { order: u64 }
//! # impl Job for Mail { const KIND: &'static str = "mail.send"; }
//!
//! async fn place(order: Order, client: Client) -> Result<(), Failure> {
//!     client.task(&Mail { order: order.id }).delay(Duration::from_secs(60)).submit().await?;
//!     Ok(())
//! }
//!
//! async fn mail(_: Mail) -> Result<&'static str, Failure> {
//!     Ok("sent")
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bench = Bench::new(Handlers::new().register(place)?.register(mail)?);
//!
//! // One handler, once.
//! let ran = bench.attempt(&Order { id: 7 }).run().await;
//! assert!(ran.returned.is_ok());
//! bench.assert_submitted::<Mail>(|mail| mail.order == 7);
//!
//! // What was submitted runs when the bench's clock says so.
//! assert_eq!(bench.drain().await.len(), 0);
//! bench.advance(Duration::from_secs(60));
//! let ended = bench.drain().await;
//! assert_eq!(ended[0].state, JobState::Succeeded);
//! # Ok(())
//! # }
//! ```

mod attempt;
mod bench;

pub use self::attempt::{Ran, TestAttempt};
pub(crate) use self::bench::Recorder;
pub use self::bench::{Bench, EndedJob, SubmittedTask};
