//! Doing one thing to many: one after the other, at a pace, until all are done or somebody has had enough.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// The most a second.
pub const MOST_A_SECOND: u32 = 1000;
/// How many a second unless told.
pub const DEFAULT_A_SECOND: u32 = 50;
/// After so many failures one after the other, the next would fail as well.
const ENOUGH_FAILURES: usize = 3;
/// Failures that are told.
const TOLD_FAILURES: usize = 5;

/// How far it has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many were sent.
    pub commanded: usize,
    /// How many were not.
    pub failed: usize,
    /// The first reasons why not.
    pub errors: Vec<String>,
}

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It came to the last one; some may have failed.
    All,
    /// Somebody had enough.
    Enough,
    /// Too many failed in a row.
    Failing,
}

/// Sends one after the other, at most so many a second, and tells how far it has come after each. It is left between
/// two of them, never within one.
pub async fn all<T, F: Future<Output = Result<(), String>>>(
    members: Vec<T>,
    per_second: u32,
    enough: impl Future<Output = ()>,
    mut tell: impl FnMut(&Progress),
    mut send: impl FnMut(T) -> F,
) -> (Progress, End) {
    let mut progress = Progress::default();
    let mut in_a_row = 0;
    let mut pace = interval(Duration::from_secs(1) / per_second.clamp(1, MOST_A_SECOND));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(enough);
    for member in members {
        tokio::select! {
            biased;
            () = &mut enough => return (progress, End::Enough),
            _ = pace.tick() => {}
        }
        match send(member).await {
            Ok(()) => {
                progress.commanded += 1;
                in_a_row = 0;
            }
            Err(error) => {
                progress.failed += 1;
                in_a_row += 1;
                if progress.errors.len() < TOLD_FAILURES {
                    progress.errors.push(error);
                }
            }
        }
        tell(&progress);
        if in_a_row == ENOUGH_FAILURES {
            return (progress, End::Failing);
        }
    }
    (progress, End::All)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn the_pace_is_kept() {
        let begun = Instant::now();
        let mut told = Vec::new();
        let tell = |progress: &Progress| told.push(progress.commanded);
        let (progress, end) = all(vec![1; 11], 100, std::future::pending(), tell, async |_| Ok(())).await;
        assert_eq!((progress.commanded, progress.failed, end), (11, 0, End::All));
        assert_eq!(told, (1..=11).collect::<Vec<_>>());
        assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
    }

    /// What is under way when somebody has had enough is ended, and nothing after it is begun.
    #[tokio::test]
    async fn an_abort_comes_between_two() {
        let (said, heard) = tokio::sync::oneshot::channel();
        let said = Mutex::new(Some(said));
        let ended = AtomicUsize::new(0);
        let enough = async { heard.await.unwrap_or(()) };
        let (progress, end) = all(
            vec![1, 2, 3, 4],
            1000,
            enough,
            |_| {},
            async |member| {
                if member == 2 {
                    said.lock().unwrap().take().unwrap().send(()).unwrap();
                    tokio::task::yield_now().await;
                }
                ended.fetch_add(1, Ordering::Relaxed);
                Ok(())
            },
        )
        .await;
        assert_eq!((progress.commanded, end, ended.load(Ordering::Relaxed)), (2, End::Enough, 2));
    }

    #[tokio::test]
    async fn failures_are_counted_and_a_row_of_them_is_enough() {
        let run = async |members: Vec<u32>| {
            let fails = async |member| if member == 0 { Err("no".to_owned()) } else { Ok(()) };
            all(members, 1000, std::future::pending(), |_| {}, fails).await
        };
        let (progress, end) = run(vec![1, 0, 0, 1, 0, 1]).await;
        assert_eq!((progress.commanded, progress.failed, end), (3, 3, End::All));
        let (progress, end) = run(vec![1, 0, 0, 0, 1]).await;
        assert_eq!((progress.commanded, progress.failed, end), (1, 3, End::Failing));
        assert_eq!(progress.errors.len(), 3);
    }
}
