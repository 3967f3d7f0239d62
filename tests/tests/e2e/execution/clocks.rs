//! Time allowed to wait.

use std::time::Duration;

use anyhow::Result;
use windlass::worker::Options;
use windlass::{Failure, Handlers, JobState};
use windlass_core::Transition;

use super::{Alpha, fleet, host, host_with};

async fn handle(_: Alpha) -> Result<(), Failure> {
    Ok(())
}

/// Nobody serves the queue: the job expires by itself, with an event, and nothing of it is left to run.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_nobody_takes_expires() -> Result<()> {
    let fleet = fleet().await?;
    let task = || fleet.client.task(&Alpha::new("x")).max_wait(Duration::from_millis(500));
    let at_once = task().submit().await?.id;
    let delayed = task().delay(Duration::from_millis(1500)).submit().await?.id;
    let patient = fleet.client.submit(&Alpha::new("patient")).await?.id;
    for id in [at_once, delayed] {
        let ended = fleet.ended(id).await?;
        assert_eq!(
            (ended.state, ended.error.map(|e| e.code)),
            (JobState::Expired, Some("expired".to_owned()))
        );
        let event = fleet.tap.heard(id, Transition::Expired).await?;
        assert_eq!(event.attempt, 0);
    }
    let _worker = host(&fleet, Handlers::new().register(handle)?).await?;
    assert_eq!(fleet.ended(patient).await?.state, JobState::Succeeded);
    fleet.tap.heard(patient, Transition::Succeeded).await?;
    for id in [at_once, delayed] {
        assert_eq!(fleet.tap.of(id), [(Transition::Accepted, 0), (Transition::Expired, 0)]);
    }
    Ok(())
}

/// A job that began in time does not expire, however long it runs, retries or waits after a snooze.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_began_does_not_expire() -> Result<()> {
    async fn slow(
        job: Alpha,
        windlass::AttemptNumber(number): windlass::AttemptNumber,
    ) -> Result<u32, Failure> {
        let wait = Duration::from_millis(2500);
        match (job.text.as_str(), number) {
            ("snooze", 1) => Err(Failure::snooze(wait)),
            ("run", _) => {
                // Longer than it may wait, and than the timer that would end it.
                tokio::time::sleep(wait).await;
                Ok(number)
            }
            _ => Ok(number),
        }
    }
    let fleet = fleet().await?;
    let _worker = host(&fleet, Handlers::new().register(slow)?).await?;
    for (text, attempts) in [("run", 1), ("snooze", 2)] {
        let task = fleet.client.task(&Alpha::new(text)).max_wait(Duration::from_millis(600));
        assert_eq!(fleet.result(task.submit().await?.id).await?, attempts, "{text}");
    }
    Ok(())
}

/// Its worker is busy: when the slot is free at last, the job is too late.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_does_not_begin_what_is_too_late() -> Result<()> {
    async fn slow(job: Alpha) -> Result<(), Failure> {
        tokio::time::sleep(Duration::from_millis(job.text.parse()?)).await;
        Ok(())
    }
    let fleet = fleet().await?;
    let options = Options { slots: 1, ..Options::default() };
    let _worker = host_with(&fleet, Handlers::new().register(slow)?, options).await?;
    let first = fleet.client.submit(&Alpha::new("900")).await?.id;
    fleet.tap.heard(first, Transition::Started).await?;
    let second = fleet.client.task(&Alpha::new("1")).max_wait(Duration::from_millis(300)).submit().await?.id;
    assert_eq!(fleet.ended(second).await?.state, JobState::Expired);
    assert_eq!(fleet.ended(first).await?.state, JobState::Succeeded);
    fleet.tap.heard(second, Transition::Expired).await?;
    assert_eq!(fleet.tap.of(second), [(Transition::Accepted, 0), (Transition::Expired, 0)]);
    Ok(())
}
