//! `windlass job cancel` without an id: all jobs that match.

use std::collections::HashSet;
use std::process::ExitCode;

use windlass_broker::commands::{self, Command, Verb};
use windlass_core::{JobId, JobState, Kind, QueueName};
use windlass_monitor::api::MAX_LIMIT;
use windlass_monitor::store::JobRow;

use crate::commands::Error;
use crate::commands::api::Monitor;
use crate::commands::arguments::{optional, parse};
use crate::commands::bulk::{MOST, Manner, Plan, SAMPLE};
use crate::commands::requester::who;
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
    pub(super) queue: Option<String>,
}

/// [`Selection`], checked.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    states: Vec<JobState>,
    kind: Option<Kind>,
    queue: Option<QueueName>,
}

/// A job of the set.
#[derive(Debug)]
struct Member {
    queue: QueueName,
    id: JobId,
}

// === impl Selection ===

impl Selection {
    /// Whether it chooses by more than the queue.
    pub(super) fn chooses_many(&self) -> bool {
        self.state.is_some() || self.kind.is_some()
    }

    fn read(&self) -> Result<Wanted, Error> {
        if !self.chooses_many() && self.queue.is_none() {
            return Err(Error::input(
                "id",
                "is missing: name a job, or say which by --queue, --kind or --state",
            ));
        }
        let states = match optional::<JobState>("state", self.state.as_deref())? {
            Some(state) if state.is_terminal() => {
                return Err(Error::input(
                    "state",
                    format!("`{state}` jobs have ended: nothing is left to cancel"),
                ));
            }
            Some(state) => vec![state],
            // One of them after the other, in the direction in which jobs move, so that few are missed or met twice.
            None => JobState::ALL.iter().copied().filter(|state| !state.is_terminal()).collect(),
        };
        Ok(Wanted {
            states,
            kind: optional("kind", self.kind.as_deref())?,
            queue: optional("queue", self.queue.as_deref())?,
        })
    }
}

pub(super) async fn run(
    selection: &Selection,
    reason: &str,
    manner: Manner,
    global: &Global,
) -> Result<ExitCode, Error> {
    let wanted = selection.read()?;
    let fleet = Fleet::find(global)?;
    let monitor = fleet.monitor().await?.ok_or(Error::NoMonitor)?;
    let plan = plan(monitor, &wanted).await?;
    let broker = fleet.broker().await?;
    let by = who();
    plan.carry_out(manner, global, async |member: &Member| {
        let command = Command {
            queue: &member.queue,
            verb: Verb::Cancel,
            job_id: member.id,
            reason,
            requested_by: &by,
            dead_at: None,
        };
        commands::publish(broker, command).await.map(|_| ()).map_err(Error::Command)
    })
    .await
}

async fn plan(monitor: &Monitor, wanted: &Wanted) -> Result<Plan<Member>, Error> {
    let mut plan = Plan {
        verb: Verb::Cancel.as_str(),
        things: "jobs",
        members: Vec::new(),
        unfit: None,
        more: false,
        sample: Vec::new(),
    };
    let mut seen = HashSet::new();
    for state in &wanted.states {
        let mut cursor = None;
        loop {
            let list = monitor.jobs(&query(wanted, *state, cursor.as_deref())).await?;
            for row in list.jobs {
                // A job may have moved on from one state to the next.
                if !seen.insert((row.queue.clone(), row.id)) {
                    continue;
                }
                if plan.members.len() == MOST {
                    plan.more = true;
                    return Ok(plan);
                }
                if plan.sample.len() < SAMPLE {
                    plan.sample.push(line(&row));
                }
                plan.members.push(Member { queue: parse("queue", &row.queue)?, id: row.id });
            }
            cursor = list.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
    }
    Ok(plan)
}

fn query(wanted: &Wanted, state: JobState, cursor: Option<&str>) -> Vec<(&'static str, String)> {
    let parts = [
        ("state", Some(state.to_string())),
        ("kind", wanted.kind.as_ref().map(ToString::to_string)),
        ("queue", wanted.queue.as_ref().map(ToString::to_string)),
        ("limit", Some(MAX_LIMIT.to_string())),
        ("cursor", cursor.map(str::to_owned)),
    ];
    parts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn line(row: &JobRow) -> String {
    format!("{} {} {} {}", row.id, row.queue, row.kind, row.state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_not_cancelled_and_something_must_be_said() {
        let text = |text: &str| Some(text.to_owned());
        let of = |state: Option<&str>, kind: Option<&str>, queue: Option<&str>| Selection {
            state: state.and_then(text),
            kind: kind.and_then(text),
            queue: queue.and_then(text),
        };
        let wanted = of(None, None, Some("mail")).read().unwrap();
        assert!(wanted.states.iter().all(|state| !state.is_terminal()) && wanted.states.len() == 5);
        assert_eq!(of(Some("retrying"), None, None).read().unwrap().states, [JobState::Retrying]);
        for (selection, field) in [
            (of(None, None, None), "id"),
            (of(Some("dead"), None, None), "state"),
            (of(Some("gone"), None, None), "state"),
            (of(None, Some("a b"), None), "kind"),
            (of(None, None, Some("a.b")), "queue"),
        ] {
            assert_eq!(selection.read().unwrap_err().field(), Some(field));
        }
    }
}
