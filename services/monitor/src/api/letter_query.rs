//! Parameters of a request for dead letters, checked.

use std::collections::BTreeMap;

use windlass_core::letter::Filter;

use super::Problem;
use super::query::{INSTANT_FORM, KIND_FORM, PRINT_FORM, Parameters, QUEUE_FORM, RawQuery};

/// What `GET /api/v1/dead` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LetterQuery {
    pub(super) filter: Filter,
    pub(super) limit: u32,
    pub(super) cursor: Option<u64>,
}

/// What [`filter`] takes.
pub(super) const FILTER_NAMES: &str = "queue, kind, code, fingerprint, contains, since, until";

// === impl LetterQuery ===

impl LetterQuery {
    /// With `limit`, if a list is asked for.
    pub(super) fn read(raw: RawQuery, is_list: bool) -> Result<Self, Problem> {
        let mut parameters = Parameters::new(raw)?;
        let filter = filter(&mut parameters)?;
        let limit = if is_list { parameters.limit()? } else { 0 };
        let cursor = parameters.take("cursor", "the `next_cursor` of an earlier answer")?;
        let limits = if is_list { ", limit" } else { "" };
        parameters.end(&format!("{FILTER_NAMES}{limits}, cursor"))?;
        Ok(Self { filter, limit, cursor })
    }
}

/// Which letters, by a query or by a body.
pub(super) fn filter(parameters: &mut Parameters) -> Result<Filter, Problem> {
    Ok(Filter {
        queue: parameters.take("queue", QUEUE_FORM)?,
        kind: parameters.take("kind", KIND_FORM)?,
        code: parameters.take("code", "a word as `handler`")?,
        fingerprint: parameters.take("fingerprint", PRINT_FORM)?,
        contains: parameters.take("contains", "any text")?,
        since: parameters.take("since", INSTANT_FORM)?,
        until: parameters.take("until", INSTANT_FORM)?,
    })
}

/// What a filter asks for, as it is shown.
pub(super) fn words(filter: &Filter) -> BTreeMap<String, String> {
    let Filter { queue, kind, code, fingerprint, contains, since, until } = filter;
    let parts = [
        ("queue", queue.as_ref().map(ToString::to_string)),
        ("kind", kind.as_ref().map(ToString::to_string)),
        ("code", code.clone()),
        ("fingerprint", fingerprint.as_ref().map(ToString::to_string)),
        ("contains", contains.clone()),
        ("since", since.as_ref().map(ToString::to_string)),
        ("until", until.as_ref().map(ToString::to_string)),
    ];
    parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
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
        let shown = words(&query.filter);
        assert_eq!(
            shown.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
            ["contains=no such", "queue=mail", "since=2026-01-31T09:00:00Z"]
        );
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
