//! The shipped kinds.
//!
//! | kind | payload | result |
//! |---|---|---|
//! | [`file.digest`](file_digest) | `{"path"}` | `{"sha256", "bytes"}` |
//! | [`folder.index`](folder_index) | `{"path"}` | `{"files", "bytes", "skipped", "other", "not_utf8", "queue"}` |
//! | [`command.run`](command_run) | `{"argv", "timeout_seconds", "env", "cwd", "fail_on_nonzero"}` | `{"exit_code", "stdout", "stderr", "truncated"}` |
//! | [`http.request`](http_request) | `{"url", "method", "headers", "body", "timeout_seconds"}` | `{"status", "headers", "body", "truncated"}` |
//!
//! A field that a kind does not know fails the job at once, with the code `invalid_payload` and the field's name.

pub mod command_run;
pub mod file_digest;
pub mod folder_index;
pub mod http_request;

mod excerpt;
mod failing;
mod payload;
mod time_limit;

use std::sync::Arc;

use windlass::Handlers;
use windlass::handler::{Error, FromRef};

use command_run::Commands;
use http_request::Requester;

/// What the kinds share.
#[derive(Debug, Clone)]
pub(crate) struct Kinds {
    commands: Arc<Commands>,
    requester: Arc<Requester>,
}

/// Every shipped kind, with its settings.
pub(crate) fn handlers(commands: Commands, requester: Requester) -> Result<Handlers<Kinds>, Error> {
    Handlers::with_state(Kinds { commands: Arc::new(commands), requester: Arc::new(requester) })
        .register(file_digest::handle)?
        .register(folder_index::handle)?
        .register(command_run::handle)?
        .register(http_request::handle)
}

// === impl Kinds ===

impl FromRef<Kinds> for Arc<Commands> {
    fn from_ref(kinds: &Kinds) -> Self {
        Arc::clone(&kinds.commands)
    }
}

impl FromRef<Kinds> for Arc<Requester> {
    fn from_ref(kinds: &Kinds) -> Self {
        Arc::clone(&kinds.requester)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_kinds() {
        let commands = Commands::new(command_run::Settings::default());
        let requester = Requester::new(http_request::Settings::default());
        let kinds = handlers(commands, requester).unwrap().kinds();
        let kinds: Vec<_> = kinds.iter().map(ToString::to_string).collect();
        assert_eq!(kinds, ["command.run", "file.digest", "folder.index", "http.request"]);
    }
}
