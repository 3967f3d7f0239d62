//! What every measurement is given.

use tokio::sync::Mutex;
use windlass_monitor::floor::Scratch;

use super::Error;
use super::error::start_error;
use super::given::Given;
use super::running::Leftovers;
use super::settings::{Settings, Whose};
use crate::dev::screen::Screen;
use crate::global::Global;
use crate::output::Format;

/// Where it is shown, and the broker that it takes place on.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) screen: Screen,
    pub(super) format: Format,
    /// None: each measurement starts its own.
    pub(super) given: Option<Given>,
    /// What is to be stopped at the end.
    pub(super) leftovers: Leftovers,
    /// Databases that were made for it.
    pub(super) scratch: Mutex<Option<Scratch>>,
}

// === impl Scene ===

impl Scene {
    /// As the options say.
    pub(super) fn of(global: &Global) -> Result<Self, Error> {
        Ok(Self {
            screen: Screen::new(global.output),
            format: global.output,
            given: Given::of(global)?,
            leftovers: Leftovers::default(),
            scratch: Mutex::default(),
        })
    }

    /// These settings, checked.
    pub(super) fn complete(&self, settings: Settings) -> Result<Settings, Error> {
        settings.complete(if self.given.is_some() { Whose::Given } else { Whose::Own })
    }

    /// Removes all that there is of a measurement, however it ended.
    pub(super) async fn clean(&self) -> Result<(), Error> {
        self.screen.busy("stopping");
        self.leftovers.stop().await;
        let scratch = self.scratch.lock().await.take();
        let removed = match &scratch {
            Some(scratch) => scratch.remove().await.map_err(|error| start_error(error.into())),
            None => Ok(()),
        };
        self.remove_streams().await.and(removed)
    }

    /// Removes what was made on a broker that is not ours.
    pub(super) async fn remove_streams(&self) -> Result<(), Error> {
        match &self.given {
            Some(given) => {
                self.screen.busy("removing the streams of the measurement");
                given.clean().await
            }
            None => Ok(()),
        }
    }
}
