//! Which letters.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::Letter;
use crate::fingerprint::is_fingerprint;
use crate::{Kind, QueueName};

/// Which letters; what is none asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this queue.
    pub queue: Option<QueueName>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// With this code, or whose last attempt failed with it.
    pub code: Option<String>,
    /// With this fingerprint.
    pub fingerprint: Option<Print>,
    /// Whose reason, or the error of one of its attempts, or the id that a rejected message bears, has this text in it,
    /// without regard to case.
    pub contains: Option<String>,
    /// Dead since this instant.
    pub since: Option<Timestamp>,
    /// Dead before this instant.
    pub until: Option<Timestamp>,
}

/// A fingerprint that somebody looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Print(String);

/// The text is no fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a fingerprint: expected 16 hexadecimal digits in lower case")]
pub struct InvalidFingerprint(String);

// === impl Filter ===

impl Filter {
    /// Whether it asks for all letters.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a letter is one of those.
    pub fn matches<P>(&self, letter: &Letter<P>) -> bool {
        fn fits<T: PartialEq>(wanted: Option<&T>, found: Option<&T>) -> bool {
            wanted.is_none() || wanted == found
        }
        fits(self.queue.as_ref(), Some(&letter.queue))
            && fits(self.kind.as_ref(), letter.kind.as_ref())
            && self.code.as_deref().is_none_or(|code| code == letter.code || Some(code) == letter.error_code())
            && self.since.is_none_or(|since| letter.dead_at >= since)
            && self.until.is_none_or(|until| letter.dead_at < until)
            && self.contains.as_ref().is_none_or(|text| contains(letter, &text.to_lowercase()))
            // Last, as it costs most.
            && self.fingerprint.as_ref().is_none_or(|print| letter.fingerprint() == print.0)
    }
}

fn contains<P>(letter: &Letter<P>, text: &str) -> bool {
    let mut errors = letter.attempts.iter().filter_map(|attempt| attempt.error.as_ref());
    letter.message().to_lowercase().contains(text)
        || errors.any(|e| e.message.to_lowercase().contains(text))
        || letter.claimed_id.is_some_and(|id| id.to_string().contains(text))
}

// === impl Print ===

impl FromStr for Print {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        if is_fingerprint(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidFingerprint(text.chars().take(64).collect()))
        }
    }
}

impl fmt::Display for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{failed, letter};
    use super::*;

    #[test]
    fn each_part_decides() {
        let mut dead = letter("mail", "handler", "No such User 7");
        dead.kind = Some("a.b".parse().unwrap());
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let check = |filter: Filter, expected: bool| {
            assert_eq!(filter.matches(&dead), expected, "{filter:?}");
        };
        let none = Filter::default;
        check(none(), true);
        check(Filter { queue: "mail".parse().ok(), ..none() }, true);
        check(Filter { queue: "web".parse().ok(), ..none() }, false);
        check(Filter { kind: "a.b".parse().ok(), ..none() }, true);
        check(Filter { kind: "a.c".parse().ok(), ..none() }, false);
        check(Filter { code: Some("handler".to_owned()), ..none() }, true);
        check(Filter { code: Some("hand".to_owned()), ..none() }, false);
        check(Filter { contains: Some("SUCH user".to_owned()), ..none() }, true);
        check(Filter { contains: Some("such a user".to_owned()), ..none() }, false);
        check(Filter { since: at(100), until: at(101), ..none() }, true);
        check(Filter { since: at(101), ..none() }, false);
        check(Filter { until: at(100), ..none() }, false);
        check(Filter { fingerprint: dead.fingerprint().parse().ok(), ..none() }, true);
        check(Filter { fingerprint: "0123456789abcdef".parse().ok(), ..none() }, false);
        assert!("0123456789ABCDEF".parse::<Print>().is_err());
        let bears = |text: &str| Filter { contains: Some(text.to_owned()), ..none() };
        check(bears("01890A5D-ac96-774b-bcce-0000000000ff"), false);
        dead.claimed_id = "01890a5d-ac96-774b-bcce-0000000000ff".parse().ok();
        assert!(bears("01890A5D-ac96-774b-bcce-0000000000ff").matches(&dead));
        dead.code = "terminal_error".to_owned();
        dead.attempts = vec![failed("no bank", "network"), failed("no money", "card_declined")];
        for (code, expected) in [("terminal_error", true), ("card_declined", true), ("network", false)] {
            let filter = Filter { code: Some(code.to_owned()), ..none() };
            assert_eq!(filter.matches(&dead), expected, "{code}");
        }
        let unknown = letter("mail", "malformed", "x");
        assert!(!Filter { kind: "a.b".parse().ok(), ..none() }.matches(&unknown));
    }
}
