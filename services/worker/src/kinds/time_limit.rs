//! The time that a task asks for, within its attempt's.

use std::time::Duration;

use super::payload::Invalid;

/// The limit that `timeout_seconds` sets; none asked for is `default`, at most the attempt's.
pub(crate) fn time_limit(
    asked_seconds: Option<f64>,
    default: Duration,
    attempt: Duration,
) -> Result<Duration, Invalid> {
    let Some(seconds) = asked_seconds else { return Ok(default.min(attempt)) };
    match Duration::try_from_secs_f64(seconds) {
        Ok(limit) if !limit.is_zero() && limit <= attempt => Ok(limit),
        _ => {
            let most = attempt.as_secs_f64();
            let reason =
                format!("is {seconds}: expected more than 0 and at most {most}, the attempt's time limit");
            Err(Invalid::new("timeout_seconds", reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_the_attempt() {
        let (default, attempt) = (Duration::from_secs(30), Duration::from_mins(5));
        let check =
            |asked, expected| assert_eq!(time_limit(asked, default, attempt).ok(), expected, "{asked:?}");
        check(None, Some(default));
        check(Some(0.5), Some(Duration::from_millis(500)));
        check(Some(300.0), Some(attempt));
        for bad in [0.0, -1.0, 300.001, f64::INFINITY, f64::NAN] {
            check(Some(bad), None);
        }
        assert_eq!(time_limit(None, default, Duration::from_secs(5)), Ok(Duration::from_secs(5)));
        let error = time_limit(Some(301.0), default, attempt).unwrap_err().to_string();
        assert!(error.starts_with("payload: timeout_seconds: is 301"), "{error}");
    }
}
