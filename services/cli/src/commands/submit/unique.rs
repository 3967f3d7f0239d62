//! One job of a key at a time, and several tasks as one job, as the command line says it.

use std::time::Duration;

use windlass::{Aggregate, OnConflict, Submission, Unique};
use windlass_core::unique::{self, Aggregate as Wire};

use crate::commands::Error;
use crate::commands::arguments::{duration, number};

/// How the task shares a key with others.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "One job of several tasks")]
#[group(skip)]
pub(super) struct Args {
    /// One job of this key at a time, in the queue: 1 to 256 bytes
    #[arg(long, value_name = "KEY", allow_hyphen_values = true, conflicts_with = "unique_over")]
    unique: Option<String>,
    /// The same by fields of the task, as kind,payload.user.id: kind, key, tenant, payload or members of it
    #[arg(long, value_name = "FIELDS", allow_hyphen_values = true)]
    unique_over: Option<String>,
    /// Another job counts in these states only, as scheduled,queued [default: until it has ended]
    #[arg(long, value_name = "STATES", allow_hyphen_values = true)]
    unique_states: Option<String>,
    /// Its job counts for this long from its acceptance, ended or not
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    unique_for: Option<String>,
    /// reject, replace or keep_earlier [default: reject]
    #[arg(long, value_name = "CHOICE", allow_hyphen_values = true)]
    on_conflict: Option<String>,
    /// Start once none of the key was submitted for this long: each replaces the one that waits
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    debounce: Option<String>,
    /// With --debounce: start no later than this after the first of them
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    debounce_max: Option<String>,
    /// Start once in this time: of those that come sooner the latest runs at its end
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    throttle: Option<String>,
    /// One job with all of this key and of the same kind; its payload is the list of theirs
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    aggregate: Option<String>,
    /// With --aggregate: it starts once none has come for this long [default: 5s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    aggregate_grace: Option<String>,
    /// With --aggregate: it starts no later than this after the first [default: ten times the grace]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    aggregate_max_delay: Option<String>,
    /// With --aggregate: it starts at once when so many have come: 1 to 10000 [default: 1000]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    aggregate_max_size: Option<String>,
}

/// The same, checked.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    unique: Option<Unique>,
    aggregate: Option<Aggregate>,
}

// === impl Args ===

impl Args {
    /// Each option, and whether it is given.
    pub(super) fn given(&self) -> [(&'static str, bool); 12] {
        [
            ("unique", self.unique.is_some()),
            ("unique_over", self.unique_over.is_some()),
            ("unique_states", self.unique_states.is_some()),
            ("unique_for", self.unique_for.is_some()),
            ("on_conflict", self.on_conflict.is_some()),
            ("debounce", self.debounce.is_some()),
            ("debounce_max", self.debounce_max.is_some()),
            ("throttle", self.throttle.is_some()),
            ("aggregate", self.aggregate.is_some()),
            ("aggregate_grace", self.aggregate_grace.is_some()),
            ("aggregate_max_delay", self.aggregate_max_delay.is_some()),
            ("aggregate_max_size", self.aggregate_max_size.is_some()),
        ]
    }

    /// Reads what concerns one option each; the client checks the rest.
    pub(super) fn read(&self) -> Result<Sharing, Error> {
        Ok(Sharing { unique: self.unique()?, aggregate: self.aggregate()? })
    }

    fn unique(&self) -> Result<Option<Unique>, Error> {
        let base = match (&self.unique, &self.unique_over) {
            (Some(key), _) => Unique::key(key),
            (None, Some(fields)) => Unique::over(fields.split(',').map(str::trim)),
            (None, None) => return self.without("unique", &self.of_unique()).map(|()| None),
        };
        let time =
            |name: &str, text: &Option<String>| text.as_deref().map(|text| duration(name, text)).transpose();
        let mut unique = base;
        if let Some(words) = &self.unique_states {
            let states = unique::states(words.split(',').map(str::trim));
            unique = unique.states(&states.map_err(|error| Error::input("unique_states", error.reason))?);
        }
        if let Some(time) = time("unique_for", &self.unique_for)? {
            unique = unique.for_time(time);
        }
        let debounce = time("debounce", &self.debounce)?;
        let throttle = time("throttle", &self.throttle)?;
        if let Some(word) = &self.on_conflict {
            let choice = OnConflict::from_word(word).ok_or_else(|| {
                Error::input(
                    "on_conflict",
                    format!("`{word}` is no choice: expected reject, replace or keep_earlier"),
                )
            })?;
            if (debounce.is_some() || throttle.is_some()) && choice != OnConflict::Replace {
                let reason = "stands beside --debounce or --throttle, which replace: leave it out";
                return Err(Error::input("on_conflict", reason));
            }
            unique = unique.on_conflict(choice);
        }
        if debounce.is_some() && throttle.is_some() {
            return Err(Error::input("throttle", "stands beside --debounce: expected one of them"));
        }
        if let Some(delay) = debounce {
            unique = unique.debounce(delay);
        }
        if let Some(period) = throttle {
            unique = unique.throttle(period);
        }
        if let Some(max) = time("debounce_max", &self.debounce_max)? {
            if debounce.is_none() {
                return Err(Error::input("debounce_max", "goes with --debounce, which is missing"));
            }
            unique = unique.max_delay(max);
        }
        Ok(Some(unique))
    }

    fn of_unique(&self) -> [(&'static str, bool); 6] {
        [
            ("unique_states", self.unique_states.is_some()),
            ("unique_for", self.unique_for.is_some()),
            ("on_conflict", self.on_conflict.is_some()),
            ("debounce", self.debounce.is_some()),
            ("debounce_max", self.debounce_max.is_some()),
            ("throttle", self.throttle.is_some()),
        ]
    }

    fn aggregate(&self) -> Result<Option<Aggregate>, Error> {
        let Some(key) = &self.aggregate else {
            let others = [
                ("aggregate_grace", self.aggregate_grace.is_some()),
                ("aggregate_max_delay", self.aggregate_max_delay.is_some()),
                ("aggregate_max_size", self.aggregate_max_size.is_some()),
            ];
            return self.without("aggregate", &others).map(|()| None);
        };
        let time = |name: &str, text: &Option<String>, default: Duration| match text {
            None => Ok(default),
            Some(text) => duration(name, text),
        };
        let grace = time("aggregate_grace", &self.aggregate_grace, Duration::from_secs(5))?;
        let max_delay = time("aggregate_max_delay", &self.aggregate_max_delay, grace.saturating_mul(10))?;
        let mut aggregate = Aggregate::key(key, grace, max_delay);
        if let Some(text) = &self.aggregate_max_size {
            aggregate = aggregate.max_size(number("aggregate_max_size", text, 1, Wire::MOST)?);
        }
        Ok(Some(aggregate))
    }

    #[allow(clippy::unused_self, reason = "as its neighbours")]
    fn without(&self, key: &str, others: &[(&'static str, bool)]) -> Result<(), Error> {
        match others.iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(Error::input(name, format!("goes with --{key}, which is missing"))),
            None => Ok(()),
        }
    }
}

// === impl Sharing ===

impl Sharing {
    /// Puts it into a task.
    pub(super) fn apply(self, mut task: Submission) -> Submission {
        if let Some(unique) = self.unique {
            task = task.unique(unique);
        }
        if let Some(aggregate) = self.aggregate {
            task = task.aggregate(aggregate);
        }
        task
    }
}
