//! `windlass job cancel` without an id: all jobs that match.

use std::process::ExitCode;

use windlass_broker::commands::Verb;
use windlass_core::{JobState, Kind, QueueName};
use windlass_monitor::api::MAX_LIMIT;
use windlass_monitor::job_set;

use crate::commands::Error;
use crate::commands::arguments::optional;
use crate::commands::bulk::{Manner, Plan};
use crate::commands::target::Filters;
use crate::connect::Fleet;
use crate::global::Global;

/// Which jobs.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Which")]
pub(super) struct Selection {
    /// Only those in this state: scheduled, held, queued, running or retrying
    #[arg(long, value_name = "STATE", allow_hyphen_values = true)]
    state: Option<String>,
    /// Only those of this kind
    #[arg(long, value_name = "KIND", allow_hyphen_values = true)]
    kind: Option<String>,
    /// Only those of this queue; with an ID, its queue, where several have the id
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    queue: Option<String>,
}

/// [`Selection`], checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    state: Option<JobState>,
    kind: Option<Kind>,
    pub(super) queue: Option<QueueName>,
}

// === impl Selection ===

impl Selection {
    pub(super) fn read(&self) -> Result<Wanted, Error> {
        let state = optional::<JobState>("state", self.state.as_deref())?;
        if let Some(state) = state.filter(|state| state.is_terminal()) {
            return Err(Error::input(
                "state",
                format!("`{state}` jobs have ended: nothing is left to cancel"),
            ));
        }
        let (kind, queue) =
            (optional("kind", self.kind.as_deref())?, optional("queue", self.queue.as_deref())?);
        Ok(Wanted { state, kind, queue })
    }
}

// === impl Wanted ===

impl Wanted {
    pub(super) fn filters(&self) -> Filters {
        match (self.state.is_some() || self.kind.is_some(), &self.queue) {
            (true, _) => Filters::Many,
            (false, Some(_)) => Filters::Queue,
            (false, None) => Filters::None,
        }
    }

    fn query(&self, state: JobState, cursor: Option<String>) -> Vec<(&'static str, String)> {
        let parts = [
            ("state", Some(state.to_string())),
            ("kind", self.kind.as_ref().map(ToString::to_string)),
            ("queue", self.queue.as_ref().map(ToString::to_string)),
            ("limit", Some(MAX_LIMIT.to_string())),
            ("cursor", cursor),
        ];
        parts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

pub(super) async fn run(
    wanted: &Wanted,
    reason: &str,
    manner: Manner,
    global: &Global,
) -> Result<ExitCode, Error> {
    let fleet = Fleet::find(global)?;
    let monitor = fleet.monitor().await?.ok_or(Error::NoMonitor)?;
    let set = job_set::make(&job_set::states(wanted.state), |state, cursor| async move {
        let list = monitor.jobs(&wanted.query(state, cursor)).await?;
        Ok::<_, Error>((list.jobs, list.next_cursor))
    })
    .await?;
    let plan = Plan { verb: Verb::Cancel, things: "jobs", unfit_as: "their queue has no valid name", set };
    plan.carry_out(manner, reason, fleet.broker().await?, global).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_not_cancelled() {
        let text = |text: &str| Some(text.to_owned());
        let of = |state: Option<&str>, kind: Option<&str>, queue: Option<&str>| Selection {
            state: state.and_then(text),
            kind: kind.and_then(text),
            queue: queue.and_then(text),
        };
        for (selection, filters) in [
            (of(None, None, None), Filters::None),
            (of(None, None, Some("mail")), Filters::Queue),
            (of(Some("retrying"), None, None), Filters::Many),
            (of(None, Some("a.b"), Some("mail")), Filters::Many),
        ] {
            assert_eq!(selection.read().unwrap().filters(), filters);
        }
        for (selection, field) in [
            (of(Some("dead"), None, None), "state"),
            (of(Some("gone"), None, None), "state"),
            (of(None, Some("a b"), None), "kind"),
            (of(None, None, Some("a.b")), "queue"),
        ] {
            assert_eq!(selection.read().unwrap_err().field(), Some(field));
        }
    }
}
