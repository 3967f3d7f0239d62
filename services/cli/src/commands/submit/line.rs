//! A task as a line of JSON.

use std::collections::HashMap;

use serde_json::value::RawValue;
use windlass::{Client, Dependency, OnFailure, Submission};
use windlass_core::dependency::FIELD;
use windlass_core::labels::Labels;
use windlass_core::{JobId, QueueName};

use crate::commands::Error;
use crate::commands::arguments::{duration, instant, number, parse};

/// What a line may have, for the error of one that has something else.
const FIELDS: &str = "kind, payload, queue, priority, delay, run_at, id, max_attempts, timeout, max_wait, key, tenant, \
                      points, content_type, labels, name, after";
/// The most bytes of a line: what is larger goes by `--payload-file`.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;

/// A line, read: what it says, and nothing else of the batch.
#[derive(Debug)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: u64,
    pub(super) queue: QueueName,
    pub(super) id: JobId,
    /// What others of the batch call it.
    pub(super) name: Option<String>,
    pub(super) after: Vec<After>,
    pub(super) submission: Submission,
}

/// What a line waits for.
#[derive(Debug)]
pub(super) enum After {
    /// A job.
    Job(Dependency),
    /// Another line, by its name.
    Name(String, OnFailure),
}

/// Why a line is not a task.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct Wrong {
    /// From 1.
    pub(super) line: u64,
    pub(super) field: String,
    pub(super) reason: String,
}

// === impl Wrong ===

impl Wrong {
    pub(super) fn new(line: u64, field: &str, reason: impl std::fmt::Display) -> Self {
        Self { line, field: field.to_owned(), reason: reason.to_string() }
    }

    pub(super) fn of(line: u64, error: &Error) -> Self {
        match error {
            Error::Input { field, reason } => Self::new(line, field, reason),
            other => Self::new(line, "line", other),
        }
    }
}

impl From<Wrong> for Error {
    fn from(wrong: Wrong) -> Self {
        Self::Input { field: format!("line {}: {}", wrong.line, wrong.field), reason: wrong.reason }
    }
}

// === impl Line ===

impl Line {
    /// Reads one. Its id, if it has none, follows from the run, its number and its text.
    pub(super) fn read(
        client: &Client,
        run: &str,
        number: u64,
        text: &str,
        default_queue: &QueueName,
    ) -> Result<Self, Wrong> {
        Self::parse(client, run, number, text, default_queue).map_err(|error| Wrong::of(number, &error))
    }

    fn parse(
        client: &Client,
        run: &str,
        line: u64,
        text: &str,
        default_queue: &QueueName,
    ) -> Result<Self, Error> {
        let fields: HashMap<String, &RawValue> = serde_json::from_str(text).map_err(|error| {
            Error::input("line", format!("is no JSON object ({error}): expected one with kind and payload"))
        })?;
        let text_of = |field: &str| fields.get(field).map(|raw| string(field, raw)).transpose();
        for field in fields.keys() {
            if !FIELDS.split(", ").any(|known| known == field) {
                return Err(Error::input(field, format!("is no field of a task: expected one of {FIELDS}")));
            }
        }
        let kind = text_of("kind")?.ok_or_else(|| Error::input("kind", "is missing"))?;
        let queue: QueueName = text_of("queue")?
            .map(|text| parse("queue", &text))
            .transpose()?
            .unwrap_or_else(|| default_queue.clone());
        let id: JobId = match text_of("id")? {
            Some(text) => parse("id", &text)?,
            None => JobId::of_line(run, line, text),
        };
        let payload = fields.get("payload").map_or("null", |raw| raw.get());
        let content_type = text_of("content_type")?.unwrap_or_else(|| "application/json".to_owned());
        let mut task =
            client.raw(&kind, payload.to_owned().into(), &content_type).queue(queue.as_str()).id(id);
        if let Some(text) = text_of("priority")? {
            task = task.priority(parse("priority", &text)?);
        }
        match (text_of("delay")?, text_of("run_at")?) {
            (Some(_), Some(_)) => {
                return Err(Error::input("run_at", "stands beside delay: expected one of them"));
            }
            (Some(text), None) => task = task.delay(duration("delay", &text)?),
            (None, Some(text)) => task = task.run_at(instant("run_at", &text)?),
            (None, None) => {}
        }
        if let Some(raw) = fields.get("max_attempts") {
            task = task.max_attempts(number("max_attempts", raw.get(), 1, 1000)?);
        }
        if let Some(text) = text_of("timeout")? {
            task = task.attempt_timeout(duration("timeout", &text)?);
        }
        if let Some(text) = text_of("max_wait")? {
            task = task.max_wait(duration("max_wait", &text)?);
        }
        if let Some(text) = text_of("key")? {
            task = task.key(&text);
        }
        if let Some(text) = text_of("tenant")? {
            task = task.tenant(&text);
        }
        if let Some(raw) = fields.get("points") {
            task = task.points(number("points", raw.get(), 1, windlass_core::task::MAX_POINTS)?);
        }
        if let Some(raw) = fields.get("labels") {
            let labels: Labels = serde_json::from_str(raw.get()).map_err(|error| {
                Error::input("labels", format!("{error}: expected an object as {{\"env\": \"prod\"}}"))
            })?;
            task = labels.iter().fold(task, |task, (name, value)| task.label(name, value));
        }
        let after = fields.get(FIELD).map(|raw| after(raw)).transpose()?.unwrap_or_default();
        Ok(Self { number: line, queue, id, name: text_of("name")?, after, submission: task })
    }
}

fn string(field: &str, raw: &RawValue) -> Result<String, Error> {
    serde_json::from_str(raw.get()).map_err(|_| Error::input(field, "is no text: expected one in quotes"))
}

/// A list of texts, as `ID`, `ID;queue=mail;on=ignore`, or with the name of a line: `name=extract;on=continue`.
fn after(raw: &RawValue) -> Result<Vec<After>, Error> {
    let texts: Vec<String> = serde_json::from_str(raw.get()).map_err(|_| {
        Error::input(
            FIELD,
            "is no list of texts: expected as [\"<id>;on=fail\", \"name=<name>;on=continue\"]",
        )
    })?;
    let read = |text: String| match text.strip_prefix("name=") {
        None => text.parse().map(After::Job).map_err(|error: String| Error::input(FIELD, error)),
        Some(rest) => {
            let (name, policy) = rest.split_once(';').unwrap_or((rest, "on=fail"));
            let policy = policy.trim().strip_prefix("on=").unwrap_or_default();
            let policy = policy.parse().map_err(|error: String| Error::input(FIELD, error))?;
            Ok(After::Name(name.trim().to_owned(), policy))
        }
    };
    texts.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use windlass::Handlers;
    use windlass::testing::Bench;

    use super::*;

    fn read(text: &str) -> Result<Line, Wrong> {
        let client = Bench::new(Handlers::new()).client();
        Line::read(&client, "run", 7, text, &QueueName::default())
    }

    #[test]
    fn lines_are_tasks() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let text = format!(
            r#"{{"kind":"a.b","payload":{{"big":12345678901234567890}},"queue":"mail","id":"{id}","delay":"10m","name":"x",
            "after":["{id};queue=q;on=ignore","name=y;on=continue","name=z"],"max_attempts":3,"points":2,"key":"k"}}"#
        );
        let line = read(&text).unwrap();
        assert_eq!(
            (line.queue.as_str(), line.id.to_string().as_str(), line.name.as_deref()),
            ("mail", id, Some("x"))
        );
        assert_eq!(line.after.len(), 3);
        assert!(matches!(&line.after[1], After::Name(name, OnFailure::Continue) if name == "y"));
        // The same line of the same run is the same job; another line, or another run, is not.
        let text = r#"{"kind":"a.b"}"#;
        let id = read(text).unwrap().id;
        assert_eq!(id, read(text).unwrap().id);
        assert_ne!(id, JobId::of_line("run", 8, text));
        assert_ne!(id, JobId::of_line("other", 7, text));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, field) in [
            ("", "line"),
            ("[1]", "line"),
            (r#"{"payload":1}"#, "kind"),
            (r#"{"kind":1}"#, "kind"),
            (r#"{"kind":"a.b","kindd":"x"}"#, "kindd"),
            (r#"{"kind":"a.b","queue":"a.b"}"#, "queue"),
            (r#"{"kind":"a.b","delay":"soon"}"#, "delay"),
            (r#"{"kind":"a.b","delay":"1s","run_at":"2026-01-31T09:00:00Z"}"#, "run_at"),
            (r#"{"kind":"a.b","max_attempts":0}"#, "max_attempts"),
            (r#"{"kind":"a.b","after":"x"}"#, "after"),
            (r#"{"kind":"a.b","after":["x"]}"#, "after"),
            (r#"{"kind":"a.b","after":["name=x;on=never"]}"#, "after"),
            (r#"{"kind":"a.b","id":"7"}"#, "id"),
            (r#"{"kind":"a.b","points":0}"#, "points"),
            (r#"{"kind":"a.b","labels":["env"]}"#, "labels"),
            (r#"{"kind":"a.b","labels":{"env":""}}"#, "labels"),
        ] {
            let wrong = read(text).unwrap_err();
            assert_eq!((wrong.line, wrong.field.as_str()), (7, field), "{text}");
        }
    }
}
