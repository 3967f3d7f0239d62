//! Who asks for something, and why: for the history.

use windlass_broker::commands::MOST_REASON_BYTES;

use super::Error;

/// Who asks.
pub(super) fn who() -> String {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    format!("windlass-cli {}", user.unwrap_or_default()).trim_end().chars().take(100).collect()
}

/// Checks a reason.
pub(super) fn check_reason(reason: &str) -> Result<(), Error> {
    if reason.len() > MOST_REASON_BYTES {
        let reason = format!("has {} bytes: expected at most {MOST_REASON_BYTES}", reason.len());
        return Err(Error::input("reason", reason));
    }
    Ok(())
}
