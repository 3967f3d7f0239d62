//! The language of the search box: words as `state:dead queue:mail since:2h`, all of which must hold.
//!
//! `name:value`, with the value in double quotes where it has spaces. Names are those of `GET /api/v1/jobs`; `error` stands
//! for `fingerprint`, `schedule` for `schedule_id`. `since` and `until` take an instant, a day, or how long ago (`2h`, `3days`). A job's id alone is
//! that job.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use windlass_core::JobId;

use super::Problem;

/// What somebody looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sought {
    /// This job.
    Job(JobId),
    /// The jobs with these parameters.
    Jobs(Vec<(&'static str, String)>),
}

const NAMES: [&str; 12] = [
    "state", "kind", "queue", "key", "tenant", "error", "schedule", "parent", "label", "text", "since",
    "until",
];
/// Longer is no search.
const MOST_BYTES: usize = 2000;
const FORM: &str = "words as state:dead, kind:mail.send, queue:mail, key:\"account 42\", tenant:acme, error:FINGERPRINT, \
     schedule:nightly, parent:QUEUE/ID, label:env=prod, text:\"account 42\", since:2h, until:2026-01-31; or a job's id";
const TIME_FORM: &str =
    "how long ago, as 2h or 3days; a day, as 2026-01-31; or an instant, as 2026-01-31T09:00:00Z";

/// Reads a search.
pub(super) fn read(text: &str, now: Timestamp) -> Result<Sought, Problem> {
    if text.len() > MOST_BYTES {
        return Err(Problem::bad(
            "q",
            format!("q: has {} bytes", text.len()),
            format!("at most {MOST_BYTES} bytes"),
        ));
    }
    let words = words(text)?;
    if let [word] = words.as_slice()
        && let Ok(id) = word.parse()
    {
        return Ok(Sought::Job(id));
    }
    let parameter = |word: String| {
        let unknown = || Problem::bad("q", format!("q: `{}` is no word of a search", shown(&word)), FORM);
        let (name, value) = word.split_once(':').ok_or_else(unknown)?;
        let name = *NAMES.iter().find(|known| **known == name).ok_or_else(unknown)?;
        if value.is_empty() {
            return Err(Problem::bad("q", format!("q: {name}: is empty"), FORM));
        }
        match name {
            "error" => Ok(("fingerprint", value.to_owned())),
            "schedule" => Ok(("schedule_id", value.to_owned())),
            "since" | "until" => instant(value, now).map(|at| (name, at.to_string())).ok_or_else(|| {
                Problem::bad("q", format!("q: {name}: `{}` is no time", shown(value)), TIME_FORM)
            }),
            _ => Ok((name, value.to_owned())),
        }
    };
    words.into_iter().map(parameter).collect::<Result<_, _>>().map(Sought::Jobs)
}

/// What must hold of a job as a search that means the same.
pub(super) fn write(words: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (name, value) in words {
        let name = match name.as_str() {
            "fingerprint" => "error",
            "schedule_id" => "schedule",
            name => name,
        };
        let space = if text.is_empty() { "" } else { " " };
        let quote = if value.contains(char::is_whitespace) { "\"" } else { "" };
        // Writing to a string does not fail.
        let _ = write!(text, "{space}{name}:{quote}{value}{quote}");
    }
    text
}

/// An instant; a day, from its beginning in UTC; or so long ago.
fn instant(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    if let Ok(day) = text.parse::<Date>() {
        return day.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp());
    }
    let ago: humantime_serde::re::humantime::Duration = text.parse().ok()?;
    now.checked_sub(SignedDuration::try_from(std::time::Duration::from(ago)).ok()?).ok()
}

/// Between spaces, but those within double quotes; the quotes are left out.
fn words(text: &str) -> Result<Vec<String>, Problem> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in text.chars() {
        match c {
            '"' => (quoted, any) = (!quoted, true),
            c if c.is_whitespace() && !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if quoted {
        return Err(Problem::bad("q", "q: a double quote has no end", FORM));
    }
    if any {
        words.push(word);
    }
    Ok(words)
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::super::query;
    use super::*;
    use crate::store::Filter;

    fn jobs(text: &str) -> Vec<(&'static str, String)> {
        let now = "2026-01-31T12:00:00Z".parse().unwrap();
        match read(text, now).unwrap() {
            Sought::Jobs(found) => found,
            Sought::Job(id) => panic!("{id}"),
        }
    }

    #[test]
    fn words_are_read() {
        for (text, expected) in [
            ("", &[][..]),
            ("  ", &[]),
            ("state:dead", &[("state", "dead")]),
            ("state:dead  queue:mail\tkind:a.b", &[("state", "dead"), ("queue", "mail"), ("kind", "a.b")]),
            ("key:\"account 42\" tenant:a:b", &[("key", "account 42"), ("tenant", "a:b")]),
            ("error:0123456789abcdef", &[("fingerprint", "0123456789abcdef")]),
            ("text:\"no such\" label:env=prod", &[("text", "no such"), ("label", "env=prod")]),
            ("schedule:nightly parent:a/b", &[("schedule_id", "nightly"), ("parent", "a/b")]),
            ("since:2h until:30m", &[("since", "2026-01-31T10:00:00Z"), ("until", "2026-01-31T11:30:00Z")]),
            ("since:2026-01-30", &[("since", "2026-01-30T00:00:00Z")]),
            ("since:2026-01-30T01:00:00+01:00", &[("since", "2026-01-30T00:00:00Z")]),
        ] {
            let found = jobs(text);
            let found: Vec<_> = found.iter().map(|(name, value)| (*name, value.as_str())).collect();
            assert_eq!(found, expected, "{text}");
        }
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(read(&format!(" {id} "), Timestamp::now()), Ok(Sought::Job(id.parse().unwrap())));
    }

    #[test]
    fn what_is_no_word_is_named() {
        for (text, part) in [
            ("dead", "`dead`"),
            ("colour:red", "`colour:red`"),
            ("queue:", "queue: is empty"),
            ("since:yesterday", "`yesterday`"),
            ("key:\"a b", "no end"),
        ] {
            let problem = read(text, Timestamp::now()).unwrap_err();
            assert_eq!((problem.status, problem.field.as_deref()), (400, Some("q")), "{text}");
            assert!(
                problem.detail.contains(part) && problem.expected.is_some(),
                "{text}: {}",
                problem.detail
            );
        }
        assert!(read(&"x".repeat(3000), Timestamp::now()).is_err());
    }

    #[test]
    fn a_filter_reads_back() {
        let filter = Filter {
            key: Some("account 42".to_owned()),
            fingerprint: Some("0123456789abcdef".to_owned()),
            queue: "mail".parse().ok(),
            schedule_id: "nightly".parse().ok(),
            parent: "mail/01890a5d-ac96-774b-bcce-b302099a8057".parse().ok(),
            ..Filter::default()
        };
        let text = write(&query::words(&filter));
        assert_eq!(
            text,
            "error:0123456789abcdef key:\"account 42\" parent:mail/01890a5d-ac96-774b-bcce-b302099a8057 queue:mail schedule:nightly"
        );
        let found: Vec<_> = jobs(&text).into_iter().map(|(name, _)| name).collect();
        assert_eq!(found, ["fingerprint", "key", "parent", "queue", "schedule_id"]);
    }
}
