//! Parameters of a request, checked: of its query, or of its body, which is a JSON object of them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use jiff::Timestamp;
use serde_json::{Map, Value};
use windlass_broker::commands::MOST_REASON_BYTES;
use windlass_core::letter::Print;
use windlass_core::{JobId, JobState, QueueName};

use super::search::{self, Sought};
use super::{DEFAULT_LIMIT, MAX_LIMIT, Problem};
use crate::store::{Cursor, Filter};

/// The parameters of a query as they came.
pub(super) type RawQuery = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// A job's id in the path as it came.
pub(super) type RawPath = Result<Path<String>, PathRejection>;

/// What `GET /api/v1/jobs` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListQuery {
    pub(super) filter: Filter,
    /// That the payload has.
    pub(super) text: Option<String>,
    pub(super) limit: u32,
    pub(super) cursor: Option<Cursor>,
    /// The search, as it was given: `search`.
    pub(super) search: String,
}

pub(super) const QUEUE_FORM: &str = "1 to 64 letters, digits, `_` and `-`, a letter or digit first";
pub(super) const KIND_FORM: &str = "words of letters, digits, `_` and `-`, with dots between them";
pub(super) const INSTANT_FORM: &str = "an instant with its offset, as 2026-01-31T09:00:00Z";
pub(super) const PRINT_FORM: &str = "16 hexadecimal digits in lower case";
pub(super) const PARENT_FORM: &str = "a queue and a job's id, as mail/01890a5d-ac96-774b-bcce-b302099a8057";
const LABEL_FORM: &str = "a label as env=prod";
const ID_FORM: &str = "a UUID as 01890a5d-ac96-774b-bcce-b302099a8057";

// === impl ListQuery ===

impl ListQuery {
    pub(super) fn read(raw: RawQuery) -> Result<Self, Problem> {
        let mut parameters = Parameters::new(raw)?;
        let search: String = parameters.take("q", "a search")?.unwrap_or_default();
        match search::read(&search, Timestamp::now())? {
            Sought::Jobs(words) => words.into_iter().for_each(|(name, value)| parameters.give(name, value)),
            Sought::Job(_) => {
                let detail = "q: names one job: ask for it, under /jobs/ID";
                return Err(Problem::bad("q", detail, "words as state:dead"));
            }
        }
        let filter = filter(&mut parameters)?;
        let text = parameters.take("text", "a part of a payload")?;
        let limit = parameters.limit()?;
        let cursor = parameters.take("cursor", "the `next_cursor` of an earlier answer")?;
        parameters.end(&format!("{FILTER_NAMES}, text, q, limit, cursor"))?;
        Ok(Self { filter, text, limit, cursor, search })
    }

    /// As the search box shows it.
    pub(super) fn shown(&self) -> String {
        if self.search.is_empty() { search::write(&self.words()) } else { self.search.clone() }
    }

    /// All that must hold of a job.
    pub(super) fn words(&self) -> BTreeMap<String, String> {
        let text = self.text.iter().map(|text| ("text".to_owned(), text.clone()));
        words(&self.filter).into_iter().chain(text).collect()
    }

    /// The query that asks for the same from another cursor on.
    pub(super) fn to_text(&self, cursor: Option<Cursor>) -> String {
        let mut parts = Vec::new();
        if self.search.is_empty() {
            parts.extend(self.words().into_iter().map(|(name, value)| format!("{name}={}", encoded(&value))));
        } else {
            parts.push(format!("q={}", encoded(&self.search)));
        }
        parts.extend((self.limit != DEFAULT_LIMIT).then(|| format!("limit={}", self.limit)));
        parts.extend(cursor.map(|cursor| format!("cursor={cursor}")));
        parts.join("&")
    }
}

/// The pairs of a query or of a form's body; what cannot be read is none.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    let uri = format!("/?{text}").parse().ok();
    let read = uri.and_then(|uri| Query::<Vec<(String, String)>>::try_from_uri(&uri).ok());
    read.map(|Query(pairs)| pairs).unwrap_or_default()
}

/// What [`filter`] takes.
pub(super) const FILTER_NAMES: &str =
    "state, kind, queue, key, tenant, fingerprint, schedule_id, parent, label, since, until";

/// Which jobs, by a query or by a body.
pub(super) fn filter(parameters: &mut Parameters) -> Result<Filter, Problem> {
    let states = JobState::ALL.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(", ");
    Ok(Filter {
        state: parameters.take("state", &format!("one of {states}"))?,
        kind: parameters.take("kind", KIND_FORM)?,
        queue: parameters.take("queue", QUEUE_FORM)?,
        key: parameters.take("key", "the key of a task")?,
        tenant: parameters.take("tenant", "the tenant of a task")?,
        fingerprint: parameters.take::<Print>("fingerprint", PRINT_FORM)?.map(|print| print.to_string()),
        schedule_id: parameters.take("schedule_id", QUEUE_FORM)?,
        parent: parameters.take("parent", PARENT_FORM)?,
        label: parameters.take("label", LABEL_FORM)?,
        since: parameters.take("since", INSTANT_FORM)?,
        until: parameters.take("until", INSTANT_FORM)?,
    })
}

/// What a filter asks for, as it is shown and sent again.
pub(super) fn words(filter: &Filter) -> BTreeMap<String, String> {
    let Filter { state, kind, queue, key, tenant, fingerprint, schedule_id, parent, label, since, until } =
        filter;
    let parts = [
        ("state", state.as_ref().map(ToString::to_string)),
        ("kind", kind.as_ref().map(ToString::to_string)),
        ("queue", queue.as_ref().map(ToString::to_string)),
        ("key", key.clone()),
        ("tenant", tenant.clone()),
        ("fingerprint", fingerprint.clone()),
        ("schedule_id", schedule_id.as_ref().map(ToString::to_string)),
        ("parent", parent.as_ref().map(ToString::to_string)),
        ("label", label.as_ref().map(ToString::to_string)),
        ("since", since.as_ref().map(ToString::to_string)),
        ("until", until.as_ref().map(ToString::to_string)),
    ];
    parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// A text as a part of a query: all but letters and digits as the bytes that they are (RFC 3986, section 2.1).
pub(super) fn encoded(text: &str) -> String {
    let byte = |byte: u8| match char::from(byte) {
        plain if plain.is_ascii_alphanumeric() => plain.to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Reads the parameters of one job: its id, and perhaps its queue.
pub(super) fn job(path: RawPath, raw: RawQuery) -> Result<(JobId, Option<QueueName>), Problem> {
    let id = id(path)?;
    let mut parameters = Parameters::new(raw)?;
    let queue = parameters.take("queue", QUEUE_FORM)?;
    parameters.end("queue")?;
    Ok((id, queue))
}

pub(super) fn id(path: RawPath) -> Result<JobId, Problem> {
    let text = path.map(|Path(text)| text).unwrap_or_default();
    text.parse().map_err(|error| bad("id", &error, ID_FORM))
}

/// Refuses parameters where none are known.
pub(super) fn none(raw: RawQuery) -> Result<(), Problem> {
    Parameters::new(raw)?.end("none")
}

pub(super) fn bad(field: &str, error: &impl Display, expected: &str) -> Problem {
    Problem::bad(field, format!("{field}: {error}"), expected)
}

/// Parameters as they came; each is taken once.
pub(super) struct Parameters {
    given: Vec<(String, Value)>,
    /// Of a query: a form sends its empty fields too.
    empty_is_none: bool,
}

// === impl Parameters ===

impl Parameters {
    pub(super) fn new(raw: RawQuery) -> Result<Self, Problem> {
        let Query(parameters) =
            raw.map_err(|error| bad("query", &error.body_text(), "name=value pairs with `&` between them"))?;
        let given = parameters.into_iter().map(|(name, value)| (name, Value::String(value)));
        Ok(Self { given: given.collect(), empty_is_none: true })
    }

    /// Those of a body. What is empty or null there is none left out: a script that lacks a value would mean more than
    /// it says.
    pub(super) fn of_body(body: &[u8]) -> Result<Self, Problem> {
        let object: Map<String, Value> =
            serde_json::from_slice(body).map_err(|error| bad("body", &error, "a JSON object"))?;
        Ok(Self::of_pairs(object.into_iter().collect()))
    }

    pub(super) fn of_pairs(given: Vec<(String, Value)>) -> Self {
        Self { given, empty_is_none: false }
    }

    /// Adds one, as if it had been given; in place of an empty one.
    pub(super) fn give(&mut self, name: &str, value: impl Into<Value>) {
        self.given.retain(|(given, value)| given != name || !self.empty_is_none || value != "");
        self.given.push((name.to_owned(), value.into()));
    }

    fn remove(&mut self, name: &str) -> Option<Value> {
        let place = self.given.iter().position(|(key, _)| key == name)?;
        Some(self.given.remove(place).1)
    }

    pub(super) fn take<T: FromStr<Err: Display>>(
        &mut self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, Problem> {
        match self.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() && self.empty_is_none => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => {
                text.parse().map(Some).map_err(|error| bad(name, &error, expected))
            }
            Some(other) => Err(unfit(name, &other, expected)),
        }
    }

    /// A number of a body.
    pub(super) fn number(&mut self, name: &str, least: u32, most: u32) -> Result<Option<u32>, Problem> {
        let Some(value) = self.remove(name) else { return Ok(None) };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(unfit(name, &value, &format!("a whole number from {least} to {most}"))),
        }
    }

    /// An object of a body.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Map<String, Value>>, Problem> {
        match self.remove(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(other) => Err(unfit(name, &other, "a JSON object")),
        }
    }

    /// A list of a body.
    pub(super) fn array(&mut self, name: &str) -> Result<Option<Vec<Value>>, Problem> {
        match self.remove(name) {
            None => Ok(None),
            Some(Value::Array(members)) => Ok(Some(members)),
            Some(other) => Err(unfit(name, &other, "a list")),
        }
    }

    /// Yes or no in a body; no, if it is not there.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        match self.remove(name) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(value),
            Some(other) => Err(unfit(name, &other, "true or false")),
        }
    }

    /// Why something is to be done, for people; empty, if it is not there.
    pub(super) fn reason(&mut self) -> Result<String, Problem> {
        let expected = format!("text of at most {MOST_REASON_BYTES} bytes");
        match self.remove("reason") {
            None => Ok(String::new()),
            Some(Value::String(text)) if text.len() <= MOST_REASON_BYTES => Ok(text),
            Some(Value::String(text)) => {
                Err(bad("reason", &format_args!("has {} bytes", text.len()), &expected))
            }
            Some(other) => Err(unfit("reason", &other, &expected)),
        }
    }

    /// How many a list may have.
    pub(super) fn limit(&mut self) -> Result<u32, Problem> {
        let form = format!("a whole number from 1 to {MAX_LIMIT}");
        let limit: u32 = self.take("limit", &form)?.unwrap_or(DEFAULT_LIMIT);
        if (1..=MAX_LIMIT).contains(&limit) {
            Ok(limit)
        } else {
            Err(Problem::bad("limit", format!("limit: `{limit}` is out of range"), form))
        }
    }

    /// Whatever was not taken is unknown, or was given twice.
    pub(super) fn end(self, known: &str) -> Result<(), Problem> {
        match self.given.first() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(64).collect();
                let detail = format!("{name}: is not known here, or was given twice");
                Err(Problem::bad(&name, detail, format!("each at most once: {known}")))
            }
        }
    }
}

fn unfit(name: &str, value: &Value, expected: &str) -> Problem {
    let shown: String = value.to_string().chars().take(64).collect();
    bad(name, &format_args!("`{shown}` does not fit"), expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<ListQuery, Problem> {
        let uri = format!("http://localhost/?{query}").parse().unwrap();
        ListQuery::read(Query::try_from_uri(&uri))
    }

    #[test]
    fn a_query_reads_back() {
        let query = read("state=dead&kind=file.digest&queue=mail&limit=7&cursor=12").unwrap();
        assert_eq!(read(&query.to_text(query.cursor)), Ok(query));
        let query = read(
            "key=a%20%26%3D%C3%BC&tenant=t&fingerprint=0123456789abcdef&since=2026-01-31T09:00:00Z&cursor=7.12",
        )
        .unwrap();
        assert_eq!(query.filter.key.as_deref(), Some("a &=ü"));
        assert_eq!(read(&query.to_text(query.cursor)), Ok(query));
        assert_eq!(read("state=&kind=").unwrap().to_text(None), "");
    }

    #[test]
    fn the_wrong_field_is_named() {
        for (query, field) in [
            ("state=ended", "state"),
            ("kind=a%20b", "kind"),
            ("queue=a.b", "queue"),
            ("limit=0", "limit"),
            ("limit=501", "limit"),
            ("sate=", "sate"),
            ("state=&state=dead", "state"),
            ("limit=many", "limit"),
            ("cursor=x", "cursor"),
            ("cursor=1.x", "cursor"),
            ("fingerprint=xyz", "fingerprint"),
            ("schedule_id=a.b", "schedule_id"),
            ("parent=mail", "parent"),
            ("label=prod", "label"),
            ("since=yesterday", "since"),
            ("until=2026-01-31", "until"),
            ("colour=red", "colour"),
            ("state=dead&state=queued", "state"),
        ] {
            let problem = read(query).unwrap_err();
            assert_eq!((problem.status, problem.field.as_deref()), (400, Some(field)), "{query}");
            assert!(problem.expected.is_some_and(|expected| !expected.is_empty()), "{query}");
        }
    }

    #[test]
    fn a_body_says_what_it_means() {
        let read = |body: &str| -> Result<(Option<QueueName>, Option<u32>, bool, String), Problem> {
            let mut body = Parameters::of_body(body.as_bytes())?;
            let read = (
                body.take("queue", QUEUE_FORM)?,
                body.number("rate", 1, 9)?,
                body.flag("all")?,
                body.reason()?,
            );
            body.end("queue, rate, all, reason")?;
            Ok(read)
        };
        let (queue, rate, all, reason) =
            read(r#"{"queue": "mail", "rate": 9, "all": true, "reason": "x"}"#).unwrap();
        assert_eq!((queue, rate, all, reason.as_str()), ("mail".parse().ok(), Some(9), true, "x"));
        assert_eq!(read(r#"{"reason": ""}"#).unwrap(), (None, None, false, String::new()));
        let long = format!(r#"{{"reason": "{}"}}"#, "x".repeat(MOST_REASON_BYTES + 1));
        for (body, field) in [
            ("", "body"),
            ("[]", "body"),
            (r#"{"queue": "mail"} x"#, "body"),
            (r#"{"queue": ""}"#, "queue"),
            (r#"{"queue": null}"#, "queue"),
            (r#"{"queue": 7}"#, "queue"),
            (r#"{"rate": 0}"#, "rate"),
            (r#"{"rate": "5"}"#, "rate"),
            (r#"{"rate": 1.5}"#, "rate"),
            (r#"{"all": "true"}"#, "all"),
            (r#"{"reason": 7}"#, "reason"),
            (&long, "reason"),
            (r#"{"colour": "red"}"#, "colour"),
        ] {
            let problem = read(body).unwrap_err();
            assert_eq!((problem.status, problem.field.as_deref()), (400, Some(field)), "{body}");
            assert!(problem.expected.is_some_and(|expected| !expected.is_empty()), "{body}");
        }
    }
}
