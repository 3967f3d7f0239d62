//! Letters as the API and the command line show them: one shape.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Letter;
use crate::history::{AttemptView, result_value};
use crate::payload::Form;
use crate::{Attempt, JobId};

/// A letter in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LetterRow {
    /// Of the job.
    pub id: JobId,
    /// Of a rejected message: the id that it bears. The letter is not that job's: one may exist.
    #[serde(default)]
    pub claimed_id: Option<JobId>,
    /// Of the job.
    pub queue: String,
    /// Empty where none is known.
    pub kind: String,
    /// A short stable word: why it is dead.
    pub code: String,
    /// The code of its last attempt's error, as its handler gave it.
    #[serde(default)]
    pub error_code: Option<String>,
    /// For people.
    pub reason: String,
    /// Which field was refused, where one was.
    pub field: Option<String>,
    /// The same for errors that are alike.
    pub fingerprint: String,
    /// When the job died.
    pub dead_at: Timestamp,
    /// How many executions there were.
    pub attempt_count: u32,
    /// Whether it can be started again.
    pub redrivable: bool,
}

/// A letter with all that it holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LetterView {
    /// As in a list.
    #[serde(flatten)]
    pub row: LetterRow,
    /// Why it cannot be started again.
    pub not_redrivable: Option<String>,
    /// The job that starting it again makes.
    pub redriven_id: JobId,
    /// The task's payload, or the whole body where it is no task: JSON as itself, text as a string, anything else as
    /// base64 under `base64`.
    pub payload: Value,
    /// Of the payload; empty where none is known.
    pub content_type: String,
    /// Where the task was published.
    pub original_subject: String,
    /// Its headers, as they were.
    pub headers: Vec<HeaderView>,
    /// Every execution, oldest first.
    pub attempts: Vec<AttemptView>,
}

/// A header line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderView {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

// === impl LetterRow ===

impl LetterRow {
    /// The row of a letter.
    pub fn of<P>(letter: &Letter<P>) -> Self {
        Self {
            id: letter.job_id,
            claimed_id: letter.claimed_id,
            queue: letter.queue.to_string(),
            kind: letter.kind.as_ref().map(ToString::to_string).unwrap_or_default(),
            code: letter.code.clone(),
            error_code: letter.error_code().map(str::to_owned),
            reason: letter.reason.clone(),
            field: (!letter.field.is_empty()).then(|| letter.field.clone()),
            fingerprint: letter.fingerprint(),
            dead_at: letter.dead_at,
            attempt_count: u32::try_from(letter.attempts.len()).unwrap_or(u32::MAX),
            redrivable: letter.task.is_ok(),
        }
    }
}

// === impl LetterView ===

impl LetterView {
    /// The view of a letter.
    pub fn of<P: AsRef<[u8]>>(letter: &Letter<P>) -> Self {
        let plain = Form::default();
        let (content_type, payload, form) = match &letter.task {
            Ok(task) => (task.content_type.as_str(), task.payload.as_ref(), &task.form),
            Err(_) => ("", letter.body.as_ref(), &plain),
        };
        let header =
            |(name, value): &(String, String)| HeaderView { name: name.clone(), value: value.clone() };
        Self {
            row: LetterRow::of(letter),
            not_redrivable: letter.task.as_ref().err().cloned(),
            redriven_id: letter.redriven_id(),
            payload: payload_value(content_type, payload, form),
            content_type: content_type.to_owned(),
            original_subject: letter.original_subject.clone(),
            headers: letter.headers.iter().map(header).collect(),
            attempts: letter.attempts.iter().map(attempt).collect(),
        }
    }
}

/// A payload as it is shown: as a result is, but what names no type is text where it can be.
pub fn payload_value(content_type: &str, bytes: &[u8], form: &Form) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) if content_type.is_empty() && form.is_plain() => Value::from(text),
        _ if content_type.is_empty() => result_value("application/octet-stream", bytes, form),
        _ => result_value(content_type, bytes, form),
    }
}

fn attempt(attempt: &Attempt) -> AttemptView {
    AttemptView {
        number: attempt.number,
        worker: (!attempt.worker.is_empty()).then(|| attempt.worker.clone()),
        started_at: attempt.started_at,
        ended_at: Some(attempt.ended_at),
        outcome: Some(attempt.outcome),
        error: attempt.error.clone(),
        alone: attempt.alone,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::letter;
    use super::*;

    #[test]
    fn a_view_reads_back_and_shows_any_body() {
        let mut dead = letter("mail", "invalid_task", "is no kind");
        dead.field = "kind".to_owned();
        dead.headers.push(("A".to_owned(), "b".to_owned()));
        for (body, expected) in [(&b"text"[..], json!("text")), (b"\xff\xfe", json!({"base64": "//4="}))] {
            dead.body = body.to_vec();
            let view = LetterView::of(&dead);
            assert_eq!(view.payload, expected);
            let value = serde_json::to_value(&view).unwrap();
            assert_eq!((&value["field"], &value["redrivable"]), (&json!("kind"), &json!(false)));
            assert_eq!(value["headers"], json!([{"name": "A", "value": "b"}]));
            assert_eq!(serde_json::from_value::<LetterView>(value).unwrap(), view);
        }
    }
}
