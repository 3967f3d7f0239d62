//! What `windlass dev` tells people: what it is busy with on a terminal, and notices.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::Format;

/// Standard error, and standard output where that is for people too. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Screen {
    /// While something takes a while.
    bar: Arc<Mutex<Option<ProgressBar>>>,
    terminal: bool,
    format: Format,
}

const TICK: Duration = Duration::from_millis(100);
const TEMPLATE: &str = "{spinner} {msg} [{bar:30}] {pos}/{len} {eta}";

// === impl Screen ===

impl Screen {
    /// Shows progress only if people see it.
    pub(crate) fn new(format: Format) -> Self {
        Self { bar: Arc::default(), terminal: std::io::stderr().is_terminal(), format }
    }

    /// Something takes a while.
    pub(crate) fn busy(&self, what: &str) {
        if let Some(bar) = &*self.bar(true) {
            bar.set_message(what.to_owned());
        }
    }

    /// So much of it is done.
    pub(crate) fn progress(&self, done: u64, all: u64) {
        if let Some(bar) = &*self.bar(true) {
            if bar.length() != Some(all)
                && let Ok(style) = ProgressStyle::with_template(TEMPLATE)
            {
                bar.set_style(style);
                bar.set_length(all);
            }
            bar.set_position(done);
        }
    }

    /// Nothing takes a while any more.
    pub(crate) fn idle(&self) {
        if let Some(bar) = self.bar(false).take() {
            bar.finish_and_clear();
        }
    }

    /// Something happened that people should know.
    pub(crate) fn notice(&self, text: &str) {
        // If nobody reads it, there is nobody to tell.
        self.beside_bar(|| drop(writeln!(std::io::stderr(), "windlass: {text}")));
    }

    /// A result for people; programs get theirs by [`Screen::answer`].
    pub(crate) fn show(&self, text: &str) {
        if self.format == Format::Table {
            self.beside_bar(|| drop(writeln!(std::io::stdout(), "{text}")));
        }
    }

    /// A result for programs: one line.
    pub(crate) fn answer(&self, value: &serde_json::Value) {
        if self.format == Format::Json {
            let mut stdout = std::io::stdout().lock();
            let _ = writeln!(stdout, "{value}").and_then(|()| stdout.flush());
        }
    }

    fn bar(&self, wanted: bool) -> MutexGuard<'_, Option<ProgressBar>> {
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted && self.terminal && bar.is_none() {
            let new = ProgressBar::new_spinner();
            new.enable_steady_tick(TICK);
            *bar = Some(new);
        }
        bar
    }

    fn beside_bar(&self, write: impl FnOnce()) {
        match &*self.bar(false) {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}
