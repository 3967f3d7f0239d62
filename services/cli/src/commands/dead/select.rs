//! Which dead letters: one by its id, or those that match.

use jiff::Timestamp;
use windlass_broker::dead::Letters;
use windlass_core::letter::{Filter, Letter};
use windlass_core::{JobId, QueueName, duration};

use crate::commands::Error;
use crate::commands::arguments::{instant, optional};

/// Queues with a letter of one id that are told apart.
const MOST_QUEUES: usize = 16;

pub(super) type Dead = Letter<bytes::Bytes>;

/// Which letters.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Which")]
pub(super) struct Selection {
    /// Only those of this queue
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub(super) queue: Option<String>,
    /// Only those of this kind
    #[arg(long, value_name = "KIND", allow_hyphen_values = true)]
    kind: Option<String>,
    /// Only those with this code, or whose last error has it, as `handler`
    #[arg(long, value_name = "CODE", allow_hyphen_values = true)]
    code: Option<String>,
    /// Only those with this fingerprint
    #[arg(long, value_name = "HEX", allow_hyphen_values = true)]
    fingerprint: Option<String>,
    /// Only those with this text in their reason, in the error of an attempt, or in the id that a rejected message bears
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    contains: Option<String>,
    /// Only jobs that died at this instant or later: as 2026-01-31T09:00:00Z, or 2h for two hours ago
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    since: Option<String>,
    /// Only jobs that died before this instant
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    until: Option<String>,
}

// === impl Selection ===

impl Selection {
    pub(super) fn read(&self, now: Timestamp) -> Result<Filter, Error> {
        Ok(Filter {
            queue: optional("queue", self.queue.as_deref())?,
            kind: optional("kind", self.kind.as_deref())?,
            code: self.code.clone(),
            fingerprint: optional("fingerprint", self.fingerprint.as_deref())?,
            contains: self.contains.clone(),
            since: self.since.as_deref().map(|text| when("since", text, now)).transpose()?,
            until: self.until.as_deref().map(|text| when("until", text, now)).transpose()?,
        })
    }
}

/// An instant, or how long ago.
fn when(field: &str, text: &str, now: Timestamp) -> Result<Timestamp, Error> {
    match duration::parse(text) {
        Some(ago) => Ok(now.saturating_sub(ago).unwrap_or(Timestamp::MIN)),
        None => instant(field, text),
    }
}

/// The letter of this id, in this queue or in the only one that has one.
pub(super) async fn find(letters: &Letters, id: JobId, queue: Option<&QueueName>) -> Result<Dead, Error> {
    let mut found = match queue {
        Some(queue) => letters.find(queue, id).await.map_err(Error::Letters)?.into_iter().collect(),
        None => letters.find_all(id, MOST_QUEUES).await.map_err(Error::Letters)?,
    };
    match (found.pop(), found.is_empty()) {
        (Some(letter), true) => Ok(letter),
        (None, _) => Err(Error::NoLetter(id)),
        (Some(last), false) => {
            found.push(last);
            Err(Error::Ambiguous {
                id,
                queues: found.iter().map(|letter| letter.queue.to_string()).collect(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        let now: Timestamp = "2026-01-31T09:00:00Z".parse().unwrap();
        let text = |text: &str| Some(text.to_owned());
        let read = |selection: Selection| selection.read(now);
        let good = Selection { since: text("2h"), until: text("2026-01-31T08:30:00Z"), ..Default::default() };
        let filter = read(good).unwrap();
        assert_eq!(filter.since, "2026-01-31T07:00:00Z".parse().ok());
        assert_eq!(filter.until, "2026-01-31T08:30:00Z".parse().ok());
        assert!(read(Selection::default()).unwrap().is_empty());
        for (selection, field) in [
            (Selection { queue: text("a.b"), ..Default::default() }, "queue"),
            (Selection { kind: text("a b"), ..Default::default() }, "kind"),
            (Selection { fingerprint: text("7"), ..Default::default() }, "fingerprint"),
            (Selection { since: text("yesterday"), ..Default::default() }, "since"),
            (Selection { until: text("2026-01-31"), ..Default::default() }, "until"),
        ] {
            assert_eq!(read(selection).unwrap_err().field(), Some(field));
        }
    }
}
