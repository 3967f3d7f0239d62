//! Parameters of a request for dead letters, checked.

use windlass_core::letter::Filter;

use super::Problem;
use super::query::{KIND_FORM, Parameters, QUEUE_FORM, RawQuery};

/// What `GET /api/v1/dead` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LetterQuery {
    pub(super) filter: Filter,
    pub(super) limit: u32,
    pub(super) cursor: Option<u64>,
}

const INSTANT_FORM: &str = "an instant with its offset, as 2026-01-31T09:00:00Z";
const PRINT_FORM: &str = "16 hexadecimal digits in lower case";

// === impl LetterQuery ===

impl LetterQuery {
    /// With `limit`, if a list is asked for.
    pub(super) fn read(raw: RawQuery, is_list: bool) -> Result<Self, Problem> {
        let mut parameters = Parameters::new(raw)?;
        let filter = Filter {
            queue: parameters.take("queue", QUEUE_FORM)?,
            kind: parameters.take("kind", KIND_FORM)?,
            code: parameters.take("code", "a word as `handler`")?,
            fingerprint: parameters.take("fingerprint", PRINT_FORM)?,
            contains: parameters.take("contains", "any text")?,
            since: parameters.take("since", INSTANT_FORM)?,
            until: parameters.take("until", INSTANT_FORM)?,
        };
        let limit = if is_list { parameters.limit()? } else { 0 };
        let cursor = parameters.take("cursor", "the `next_cursor` of an earlier answer")?;
        let limits = if is_list { ", limit" } else { "" };
        parameters.end(&format!("queue, kind, code, fingerprint, contains, since, until{limits}, cursor"))?;
        Ok(Self { filter, limit, cursor })
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::Query;

    use super::*;

    fn read(query: &str, is_list: bool) -> Result<LetterQuery, Problem> {
        let uri = format!("http://localhost/?{query}").parse().unwrap();
        LetterQuery::read(Query::try_from_uri(&uri), is_list)
    }

    #[test]
    fn the_wrong_field_is_named() {
        let query = read("queue=mail&contains=no%20such&since=2026-01-31T09:00:00Z&limit=7", true).unwrap();
        assert_eq!((query.limit, query.filter.contains.as_deref()), (7, Some("no such")));
        for (query, is_list, field) in [
            ("queue=a.b", true, "queue"),
            ("fingerprint=xyz", true, "fingerprint"),
            ("since=yesterday", true, "since"),
            ("until=2026-01-31", false, "until"),
            ("cursor=-1", true, "cursor"),
            ("limit=0", true, "limit"),
            ("limit=7", false, "limit"),
            ("state=dead", true, "state"),
        ] {
            assert_eq!(read(query, is_list).unwrap_err().field.as_deref(), Some(field), "{query}");
        }
    }
}
