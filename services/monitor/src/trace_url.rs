//! Where a trace can be seen.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::web_address::is_web_address;

/// A URL with `{trace_id}` in it, as `http://localhost:16686/trace/{trace_id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceUrl(String);

/// The text is no such URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address of traces: expected an http or https URL with {{trace_id}} in it")]
pub struct InvalidTraceUrl(String);

const PLACE: &str = "{trace_id}";

// === impl TraceUrl ===

impl TraceUrl {
    /// The address of one trace.
    pub fn of(&self, trace_id: &str) -> String {
        self.0.replace(PLACE, trace_id)
    }
}

impl FromStr for TraceUrl {
    type Err = InvalidTraceUrl;

    fn from_str(text: &str) -> Result<Self, InvalidTraceUrl> {
        // The page links to it: no other scheme may get there.
        if is_web_address(text) && text.contains(PLACE) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidTraceUrl(text.chars().take(200).collect()))
        }
    }
}

impl TryFrom<String> for TraceUrl {
    type Error = InvalidTraceUrl;

    fn try_from(text: String) -> Result<Self, InvalidTraceUrl> {
        text.parse()
    }
}

impl From<TraceUrl> for String {
    fn from(url: TraceUrl) -> Self {
        url.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_addresses_with_a_place_are_read() {
        let url: TraceUrl = "http://localhost:16686/trace/{trace_id}".parse().unwrap();
        assert_eq!(url.of("4bf9"), "http://localhost:16686/trace/4bf9");
        for bad in ["", "http://localhost/trace", "javascript:alert('{trace_id}')", "http://a b/{trace_id}"] {
            assert!(bad.parse::<TraceUrl>().is_err(), "{bad}");
        }
    }
}
