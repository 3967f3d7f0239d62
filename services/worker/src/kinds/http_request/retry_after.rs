//! The header `Retry-After` (RFC 9110, section 10.2.3): seconds, or an instant.

use std::time::Duration;

use http::HeaderValue;
use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// How long to wait; none if it does not say. An instant that has passed is no wait.
pub(super) fn parse(value: Option<&HeaderValue>, now: Timestamp) -> Option<Duration> {
    let text = value?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let at = rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_or_an_instant() {
        let now: Timestamp = "2015-10-21T07:27:50Z".parse().unwrap();
        let check = |text: &'static str, seconds: Option<u64>| {
            let found = parse(Some(&HeaderValue::from_static(text)), now);
            assert_eq!(found, seconds.map(Duration::from_secs), "{text}");
        };
        check("120", Some(120));
        check("0", Some(0));
        check("Wed, 21 Oct 2015 07:28:00 GMT", Some(10));
        check("Wed, 21 Oct 2015 07:27:00 GMT", Some(0));
        check("-1", None);
        check("soon", None);
        check("", None);
        assert_eq!(parse(None, now), None);
    }
}
