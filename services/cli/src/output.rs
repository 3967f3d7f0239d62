//! How results and errors are shown: one JSON value, or text for people.

pub(crate) mod table;

use std::error::Error as _;
use std::io::{self, Write as _};

use serde::Serialize;
use serde_json::json;

use crate::commands::Error;

/// How results are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON value.
    Json,
}

/// Writes text to standard output, now.
pub(crate) fn text(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Writes a value to standard output, as one line.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_string(value)?;
    line.push('\n');
    text(&line)
}

/// Says to people how something goes on, on standard error.
pub(crate) fn note(text: &str) {
    // If nobody reads it, the outcome still says it.
    let _ = writeln!(io::stderr().lock(), "{}", table::printable(text));
}

/// Tells an error on standard error: `error: …` with its causes and what to do next, or `{"error": {…}}`.
pub(crate) fn report(error: &Error, format: Format) {
    // Whoever read our output has gone, and wants no more of it.
    if error.is_broken_pipe() {
        return;
    }
    let shown = match format {
        Format::Json => format!("{}\n", error_value(error)),
        Format::Table => {
            let hint = error.hint().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
            format!("error: {}\n{hint}", table::printable(&chain(error)))
        }
    };
    // There is nobody left to tell.
    let _ = io::stderr().lock().write_all(shown.as_bytes());
}

fn error_value(error: &Error) -> serde_json::Value {
    let mut value = json!({ "message": chain(error) });
    if let Some(field) = error.field() {
        value["field"] = field.into();
    }
    if let Some(hint) = error.hint() {
        value["hint"] = hint.into();
    }
    if let Error::Ambiguous { queues, .. } = error {
        value["queues"] = queues.clone().into();
    }
    if let Error::Rejected { rejected, .. } = error {
        value["rejected"] = json!(rejected);
    }
    json!({ "error": value })
}

/// An error and its causes.
pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // Errors of other libraries repeat their causes.
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_field_and_all_causes() {
        let error = Error::Input { field: "delay".to_owned(), reason: "is `soon`".to_owned() };
        let value = error_value(&error);
        assert_eq!(value["error"]["message"], "delay: is `soon`");
        assert_eq!(value["error"]["field"], "delay");
        let source = io::Error::new(io::ErrorKind::NotFound, "no such file");
        let error = Error::File { path: "a.toml".into(), source };
        assert_eq!(chain(&error), "cannot read a.toml: no such file");
        assert_eq!(error_value(&error)["error"].get("field"), None);
        let queues = vec!["a".to_owned(), "b".to_owned()];
        let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        assert_eq!(error_value(&Error::Ambiguous { id, queues })["error"]["queues"], json!(["a", "b"]));
    }
}
