//! The conditions that events and dead letters can be stored: without either jobs wait, however well all else is.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use windlass_broker::Broker;
use windlass_broker::storing::{DEAD_LETTERS, EVENTS, Trouble};

use crate::health::Health;

/// For so long it may be the loss of a stream's leader.
const PATIENCE: Duration = Duration::from_secs(10);
/// After the last try that failed it is not known any more: another replica may say now what is owed.
const QUIET: Duration = Duration::from_secs(90);

/// Keeps the conditions, for as long as it is polled.
pub(crate) async fn watch(broker: Broker, health: Health) {
    let mut troubles = broker.not_stored();
    loop {
        let mut look_at = None;
        {
            let troubles = troubles.borrow_and_update();
            for what in [EVENTS, DEAD_LETTERS] {
                let (cause, until) = judge(troubles.get(what), Instant::now());
                match cause {
                    Some(cause) => health.not_ready(what, cause),
                    None => health.ready(what),
                }
                look_at = look_at.into_iter().chain(until).min();
            }
        }
        let later = async {
            match look_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = troubles.changed() => if changed.is_err() { return },
            () = later => {}
        }
    }
}

/// Why the condition is not met, and until when that holds without news.
fn judge(trouble: Option<&Trouble>, now: Instant) -> (Option<String>, Option<Instant>) {
    let Some(trouble) = trouble else { return (None, None) };
    let (begins, ends) = (trouble.since + PATIENCE, trouble.last + QUIET);
    if now >= ends {
        return (None, None);
    }
    if now < begins {
        return (None, Some(begins));
    }
    let seconds = now.duration_since(trouble.since).as_secs();
    (Some(format!("could not be stored for {seconds} s ({}): jobs wait", trouble.cause)), Some(ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_lasts_is_told_and_not_for_ever() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let trouble = Trouble { since: start, last: at(5), cause: "no stream".to_owned() };
        assert_eq!(judge(None, start), (None, None));
        assert_eq!(judge(Some(&trouble), at(9)), (None, Some(at(10))));
        let (cause, until) = judge(Some(&trouble), at(12));
        assert!(cause.is_some_and(|cause| cause.contains("12 s (no stream)")));
        assert_eq!(until, Some(at(95)));
        assert_eq!(judge(Some(&trouble), at(95)), (None, None));
    }
}
