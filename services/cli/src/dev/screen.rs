//! What `windlass dev` tells people: what it is busy with on a terminal, and notices.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::Format;

/// Standard error, and standard output where that is for people too. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Screen {
    bar: ProgressBar,
    format: Format,
}

const TICK: Duration = Duration::from_millis(100);

// === impl Screen ===

impl Screen {
    /// Shows progress only if people see it.
    pub(super) fn new(format: Format) -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        Self { bar, format }
    }

    /// Something takes a while.
    pub(super) fn busy(&self, what: &str) {
        self.bar.enable_steady_tick(TICK);
        self.bar.set_message(what.to_owned());
    }

    /// So much of it is done.
    pub(super) fn progress(&self, done: u64, all: u64) {
        let template = "{spinner} {msg} [{bar:30}] {pos}/{len} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.bar.set_length(all);
        self.bar.set_position(done);
    }

    /// Nothing takes a while any more.
    pub(super) fn idle(&self) {
        self.bar.disable_steady_tick();
        self.bar.set_style(ProgressStyle::default_spinner());
        self.bar.set_message("");
        self.bar.finish_and_clear();
        self.bar.reset();
    }

    /// Something happened that people should know.
    pub(super) fn notice(&self, text: &str) {
        // If nobody reads it, there is nobody to tell.
        self.bar.suspend(|| drop(writeln!(std::io::stderr(), "windlass: {text}")));
    }

    /// A result for people; programs get theirs by [`Screen::answer`].
    pub(super) fn show(&self, text: &str) {
        if self.format == Format::Table {
            self.bar.suspend(|| drop(writeln!(std::io::stdout(), "{text}")));
        }
    }

    /// A result for programs: one line.
    pub(super) fn answer(&self, value: &serde_json::Value) {
        if self.format == Format::Json {
            let mut stdout = std::io::stdout().lock();
            let _ = writeln!(stdout, "{value}").and_then(|()| stdout.flush());
        }
    }
}
