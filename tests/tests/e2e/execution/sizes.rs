//! Records at the bounds of what a broker takes.

use std::time::Duration;

use anyhow::Result;
use windlass::client::Payloads;
use windlass::codec::Codec;
use windlass::worker::Options;
use windlass::{AttemptNumber, Failure, Handlers, JobState, QueueName, RetryPolicy};
use windlass_core::Transition;
use windlass_testkit::PATIENCE;

use super::{Alpha, fleet, host_with};

/// The payload and the errors are each within their limits, and together larger than a message may be. The broker's
/// refusal of their record was taken for the loss of a worker: run five times more, and dead as a crash loop.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_too_large_for_its_record_is_told_without_its_messages() -> Result<()> {
    const ATTEMPTS: u32 = 102;
    async fn handle(_: Alpha, AttemptNumber(number): AttemptNumber) -> Result<(), Failure> {
        let failure = Failure::new(format!("attempt {number} {}", "x".repeat(5000)));
        Err(failure.retry_after(Duration::from_millis(1)))
    }
    let fleet = fleet().await?;
    // Sealed, an error is a third longer; and a hundred of them travel with the job.
    let key = format!("k1:{}Cws=", "CwsL".repeat(10));
    let codec = Codec::default().with_keys(key.parse()?);
    let options = Options { codec: codec.clone(), ..Options::default() };
    let _worker = host_with(&fleet, Handlers::new().register(handle)?, options).await?;
    let payloads = Payloads { inline_bytes: 524_288, ..Payloads::default() };
    let client = fleet.client.clone().with_payloads(payloads).with_codec(codec);
    let large = Alpha::new(&"y".repeat(524_000));
    let retry = RetryPolicy::default().with_max_attempts(ATTEMPTS)?;
    let id = client.task(&large).retry(retry).submit().await?.id;
    let ended = client.wait(&QueueName::default(), id, PATIENCE).await?;
    let error = ended.error.expect("it failed");
    assert_eq!((ended.state, error.code.as_str()), (JobState::Dead, "handler"));
    assert!(error.message.starts_with(&format!("attempt {ATTEMPTS} ")), "{}", &error.message[..40]);
    fleet.tap.heard(id, Transition::Dead).await?;
    let told = fleet.tap.of(id);
    let count = |transition| told.iter().filter(|(t, _)| *t == transition).count();
    let attempts = usize::try_from(ATTEMPTS)?;
    assert_eq!(
        (count(Transition::Started), count(Transition::Retried)),
        (attempts, attempts - 1),
        "{told:?}"
    );
    assert_eq!(count(Transition::Crashed), 0, "{told:?}");
    Ok(())
}
