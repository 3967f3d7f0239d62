//! A broker that somebody else runs: our streams are made there, and removed again.

use std::ffi::OsString;
use std::sync::{Mutex, PoisonError};

use windlass_broker::provision::{self, Desired};
use windlass_broker::{Broker, Options};

use super::Error;
use super::error::start_error;
use crate::global::Global;
use crate::provision::Configuration;

/// The broker of `--nats-url`.
#[derive(Debug)]
pub(super) struct Given {
    /// How we reach it, in the namespace of the measurement.
    pub(super) options: Options,
    /// The same for services.
    pub(super) variables: Vec<(&'static str, OsString)>,
    /// The configuration that `WINDLASS_CONFIG` names, which the services get but for its layout.
    pub(super) config: toml::Table,
    /// What stands there of ours.
    made: Mutex<Vec<Desired>>,
}

/// Unless another is named: never that of a fleet by accident.
const NAMESPACE: &str = "windlass-bench";

// === impl Given ===

impl Given {
    /// The one that the options name, if any.
    pub(super) fn of(global: &Global) -> Result<Option<Self>, Error> {
        if global.nats_url.is_none() {
            return Ok(None);
        }
        let namespace = global.namespace.clone().unwrap_or_else(|| NAMESPACE.to_owned());
        let variables = Global { namespace: Some(namespace), ..global.clone() }.variables();
        let options = Configuration::load(None, &[], variables.clone())?.options("windlass-bench")?;
        let config = match std::env::var_os("WINDLASS_CONFIG").filter(|path| !path.is_empty()) {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| start_error(error.into()))?;
                toml::from_str(&text).map_err(|error| start_error(error.into()))?
            }
            None => toml::Table::new(),
        };
        Ok(Some(Self { options, variables, config, made: Mutex::default() }))
    }

    /// They are about to be made. Refuses if any is there already: it is somebody's.
    pub(super) async fn claim(&self, broker: &Broker, wanted: &Desired) -> Result<(), Error> {
        let existing = provision::existing(broker, wanted).await.map_err(|e| Error::Fleet(e.into()))?;
        if !existing.is_empty() {
            let reason = format!(
                "is `{}`, which has streams on this broker already ({}): name another, or remove them if nobody uses them",
                broker.names().namespace(),
                existing.join(", ")
            );
            return Err(Error::Usage { option: "namespace", reason });
        }
        self.made().push(wanted.clone());
        Ok(())
    }

    /// Removes what was made, however the measurement ended. What cannot be removed now is tried by the next call.
    pub(super) async fn clean(&self) -> Result<(), Error> {
        let made = self.made().clone();
        if made.is_empty() {
            return Ok(());
        }
        let broker = Broker::connect(self.options.clone()).await.map_err(|e| Error::Broker("reached", e))?;
        for wanted in made {
            provision::remove(&broker, &wanted).await.map_err(Error::NotRemoved)?;
            self.made().retain(|other| *other != wanted);
        }
        broker.drain().await;
        Ok(())
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Vec<Desired>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
