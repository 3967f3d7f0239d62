//! The section `[worker.http]` of the configuration.

use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use windlass_service::config::check_duration;
use windlass_service::{Problems, Validate};

use crate::kinds::excerpt;

/// What `http.request` may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The hosts that tasks may name: `example.com`, `*.example.com` for all below it, or an address. Empty: any, so
    /// that whoever may publish reaches what the worker reaches.
    pub allow_hosts: Vec<String>,
    /// For tasks that bring no `timeout_seconds`: 1ms to 1d.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// How much of an answer's body is kept: at most 30720. The rest is not read.
    pub body_limit_bytes: usize,
    /// How many redirections are followed, at most 20. None makes a redirection a result.
    pub max_redirects: usize,
    /// The longest wait that a server may ask for: at most 30d.
    #[serde(with = "humantime_serde")]
    pub retry_after_limit: Duration,
    /// Whether `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` are obeyed.
    pub proxy_from_environment: bool,
}

/// The most redirections that may be configured.
const MOST_REDIRECTS: usize = 20;

// === impl Settings ===

impl Settings {
    /// Whether this may be requested.
    pub(super) fn allows(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        // A parsed host is in lower case; a dot at its end makes it no other.
        let host = host.strip_suffix('.').unwrap_or(host);
        self.allow_hosts.is_empty() || self.allow_hosts.iter().any(|pattern| matches(pattern, host))
    }
}

fn matches(pattern: &str, host: &str) -> bool {
    let pattern = pattern.to_ascii_lowercase();
    match pattern.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => host == pattern,
    }
}

/// A host as it stands in a URL, or such with `*.` before it.
fn is_pattern(pattern: &str) -> bool {
    let host = pattern.strip_prefix("*.").unwrap_or(pattern).to_ascii_lowercase();
    let same = |url: Url| url.host_str() == Some(host.as_str());
    !host.contains('*') && Url::parse(&format!("http://{host}/")).is_ok_and(same)
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allow_hosts: Vec::new(),
            timeout: Duration::from_secs(30),
            body_limit_bytes: 16 * 1024,
            max_redirects: 0,
            retry_after_limit: Duration::from_hours(1),
            proxy_from_environment: true,
        }
    }
}

impl Validate for Settings {
    fn validate(&self, problems: &mut Problems) {
        if let Some(bad) = self.allow_hosts.iter().find(|pattern| !is_pattern(pattern)) {
            let reason = format!("`{bad}` is no host: expected example.com, *.example.com or an address");
            problems.add("allow_hosts", reason);
        }
        let day = Duration::from_hours(24);
        check_duration(problems, "timeout", self.timeout, Duration::from_millis(1), day);
        if self.body_limit_bytes > excerpt::LIMIT_BYTES {
            let (found, most) = (self.body_limit_bytes, excerpt::LIMIT_BYTES);
            problems.add("body_limit_bytes", format!("{found} is out of range: expected at most {most}"));
        }
        if self.max_redirects > MOST_REDIRECTS {
            let found = self.max_redirects;
            problems
                .add("max_redirects", format!("{found} is out of range: expected at most {MOST_REDIRECTS}"));
        }
        check_duration(problems, "retry_after_limit", self.retry_after_limit, Duration::ZERO, 30 * day);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let settings = |patterns: &[&str]| Settings {
            allow_hosts: patterns.iter().map(ToString::to_string).collect(),
            ..Settings::default()
        };
        let check = |patterns: &[&str], url: &str, allowed: bool| {
            let url = url.parse().unwrap();
            assert_eq!(settings(patterns).allows(&url), allowed, "{patterns:?} {url}");
        };
        check(&[], "http://anything/", true);
        check(&["Example.com"], "https://EXAMPLE.com:8443/", true);
        check(&["example.com"], "http://example.com./", true);
        check(&["example.com"], "http://www.example.com/", false);
        check(&["example.com"], "http://example.com.evil.org/", false);
        check(&["example.com"], "http://example.com@evil.org/", false);
        check(&["*.example.com"], "http://www.example.com/", true);
        check(&["*.example.com"], "http://example.com/", false);
        check(&["*.example.com"], "http://badexample.com/", false);
        check(&["a", "127.0.0.1"], "http://2130706433/", true);
        check(&["[::1]"], "http://[0:0:0:0:0:0:0:1]:1/", true);
        for (pattern, good) in [
            ("example.com", true),
            ("*.Example.com", true),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("", false),
            ("*", false),
            ("a.*.b", false),
            ("example.com:80", false),
            ("http://example.com", false),
            ("::1", false),
        ] {
            let mut problems = Problems::default();
            settings(&[pattern]).validate(&mut problems);
            assert_eq!(problems.is_empty(), good, "{pattern}");
        }
    }
}
