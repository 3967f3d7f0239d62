//! Why a command did not do what was asked.

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use windlass::JobId;
use windlass_broker::jobs;
use windlass_core::{InvalidTask, JobState, ScheduleId};
use windlass_monitor::api::RejectedMessage;
use windlass_schedules::{file, store};

use super::api;
use crate::connect;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// An argument is not what it must be: nothing was sent.
    #[error("{field}: {reason}")]
    Input {
        /// Which, as the command line names it.
        field: String,
        /// What it was, and what was expected.
        reason: String,
    },
    /// The fleet.
    #[error(transparent)]
    Fleet(#[from] connect::Error),
    /// The monitor's API.
    #[error(transparent)]
    Api(#[from] api::Error),
    /// No monitor says where it is.
    #[error("no monitor runs, or it has not said where")]
    NoMonitor,
    /// A report cannot be written.
    #[error("cannot write {}", file.display())]
    Report {
        /// Where it should be.
        file: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A task was not accepted.
    #[error(transparent)]
    NotAccepted(windlass::client::Error),
    /// A batch was not accepted.
    #[error(transparent)]
    Batch(windlass::client::BatchError),
    /// The broker took no more of many tasks.
    #[error("stopped at line {line}, which was not accepted")]
    Stopped {
        /// The first that is not known to be stored.
        line: u64,
        /// What the ids of lines without one follow from.
        run: String,
        /// Why.
        source: Box<windlass::client::Error>,
    },
    /// The operator's keys.
    #[error("the keys cannot be read")]
    Keys(#[source] windlass::codec::KeyError),
    /// A result in Object Store.
    #[error("the result of job {id} cannot be fetched")]
    Result {
        /// Which.
        id: JobId,
        /// Why.
        source: windlass_broker::objects::Error,
    },
    /// What is sealed.
    #[error("what is sealed of job {id} cannot be opened")]
    Sealed {
        /// Which.
        id: JobId,
        /// Why.
        source: windlass::codec::Error,
    },
    /// The streams of jobs.
    #[error("the job {id} cannot be looked up on the broker")]
    Jobs {
        /// Which.
        id: JobId,
        /// Why.
        source: jobs::Error,
    },
    /// A command to the dispatchers.
    #[error("the command was not stored")]
    Command(#[source] windlass_broker::connect::Error),
    /// The dead letters.
    #[error("the dead letters cannot be read")]
    Letters(#[source] windlass_broker::connect::Error),
    /// No such dead letter.
    #[error("there is no dead letter of a job {0}")]
    NoLetter(JobId),
    /// It holds nothing to start.
    #[error("the dead letter of {id} cannot be redriven: {reason}")]
    NotRedrivable {
        /// Of which job.
        id: JobId,
        /// Why.
        reason: String,
    },
    /// The command is stored, and its effect is not seen.
    #[error("the command about the dead letter of {id} was not carried out within {} s", waited.as_secs_f64())]
    NotCarriedOut {
        /// Of which job.
        id: JobId,
        /// For how long.
        waited: Duration,
    },
    /// Somebody was asked, and did not say yes.
    #[error("nothing was done")]
    Declined,
    /// No such job.
    #[error("no job {id} is known{place}")]
    NotFound {
        /// Which.
        id: JobId,
        /// Where it was looked for.
        place: String,
    },
    /// No such job, but a message that bears its id.
    #[error("no job {id} is known: a message that bears this id was rejected: {}", rejected.reason)]
    Rejected {
        /// Which.
        id: JobId,
        /// Why, and under which id that is told.
        rejected: Box<RejectedMessage>,
    },
    /// An id is unique within its queue only.
    #[error("several queues have a job {id}: {}", queues.join(", "))]
    Ambiguous {
        /// Which.
        id: JobId,
        /// Where.
        queues: Vec<String>,
    },
    /// It goes on.
    #[error("job {id} did not end within {} s{}", waited.as_secs_f64(),
        state.map(|state| format!(": it is {state}")).unwrap_or_default())]
    NotEnded {
        /// Which.
        id: JobId,
        /// For how long.
        waited: Duration,
        /// Where it stands, if that is known.
        state: Option<JobState>,
    },
    /// It ended in another way than asked for.
    #[error("job {id} is {state}{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Ended {
        /// Which.
        id: JobId,
        /// How.
        state: JobState,
        /// Why.
        reason: Option<String>,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of schedules is not what it must be.
    #[error("{} is refused: nothing was changed", path.display())]
    ScheduleFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: file::Error,
    },
    /// An expression is not what it must be.
    #[error("{0}")]
    Expression(windlass_core::schedule::Error),
    /// The schedules on the broker.
    #[error("the schedules were not read or changed")]
    Schedules(#[source] store::Error),
    /// No such schedule.
    #[error("no schedule {0} is known")]
    NoSchedule(ScheduleId),
    /// The settings of queues on the broker.
    #[error(transparent)]
    Settings(windlass_broker::queues::Error),
    /// Why jobs wait.
    #[error(transparent)]
    Why(#[from] windlass_broker::why::Error),
    /// Settings are stored, and not in force for all that waits.
    #[error("revision {revision} of queue {queue} was not in force for all that waits within {} s{}",
        waited.as_secs_f64(), if *begun { "" } else { ": no dispatcher has begun with it" })]
    NotApplied {
        /// Of which queue.
        queue: windlass_core::QueueName,
        /// Which.
        revision: u64,
        /// For how long.
        waited: Duration,
        /// Whether a dispatcher is at it.
        begun: bool,
    },
    /// Our own output.
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
}

// === impl Error ===

impl Error {
    /// An argument is not what it must be.
    pub(crate) fn input(field: &str, reason: impl std::fmt::Display) -> Self {
        Self::Input { field: field.to_owned(), reason: reason.to_string() }
    }

    /// What the program exits with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Output(_) if self.is_broken_pipe() => 0,
            Self::Input { .. }
            | Self::Expression(_)
            | Self::Schedules(store::Error::NeverFires { .. } | store::Error::Task { .. })
            | Self::ScheduleFile { .. }
            | Self::File { .. }
            | Self::Keys(_)
            | Self::Fleet(connect::Error::Option { .. } | connect::Error::Unknown(_))
            | Self::Api(api::Error::Refused(_)) => 2,
            Self::Why(windlass_broker::why::Error::NoQueue(_))
            | Self::NotFound { .. }
            | Self::Rejected { .. }
            | Self::NoSchedule(_)
            | Self::NoLetter(_) => 4,
            Self::Ambiguous { .. } => 5,
            _ => 1,
        }
    }

    /// Whether it only says that whoever read our output has gone.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Which argument is wrong.
    pub(crate) fn field(&self) -> Option<&str> {
        match self {
            Self::Input { field, .. } | Self::Fleet(connect::Error::Option { field, .. }) => Some(field),
            Self::Api(api::Error::Refused(problem)) => problem.field.as_deref(),
            Self::ScheduleFile { source: file::Error::Field { field, .. }, .. } => Some(field),
            Self::Expression(error) => Some(error.field),
            _ => None,
        }
    }

    /// What to do next.
    pub(crate) fn hint(&self) -> Option<Cow<'static, str>> {
        // Under the text, as it was printed above.
        if let Self::Expression(error) = self {
            return error.marked().map(|marked| format!("\n{marked}").into());
        }
        if let Self::Rejected { rejected, .. } = self {
            return Some(format!("`windlass dead show {}` shows what was published", rejected.id).into());
        }
        if let Self::Stopped { line, run, .. } = self {
            return Some(
                format!("run it again with --start-line {line} --run '{run}': that makes no second jobs")
                    .into(),
            );
        }
        Some(Cow::Borrowed(match self {
            Self::Fleet(connect::Error::Broker { .. }) => {
                "check that the broker runs, that the address is its, and the user and password (--nats-user, \
                 --nats-password-file)"
            }
            Self::Api(api::Error::Unreachable { .. }) | Self::NoMonitor => {
                "start windlass-monitor, or look at its log; `job get ID` works without it"
            }
            Self::NotAccepted(windlass::client::Error::NotAccepted { source, .. }) if source.may_pass() => {
                "submit it again with --id and the same id: that makes no second job"
            }
            Self::Batch(windlass::client::BatchError::NotAccepted(source)) if source.may_pass() => {
                "submit the same batch again, under the same --run: that makes no second jobs"
            }
            Self::NotFound { .. } => {
                "a task that was just submitted is known once a dispatcher has admitted it; look whether one runs"
            }
            Self::Letters(windlass_broker::connect::Error::NoResponders(_)) => {
                "`windlass provision` lets the stream of dead letters be read in batches"
            }
            Self::NoLetter(_) => {
                "`windlass dead list` names those that exist; with `--contains ID` rejected messages that bear the id"
            }
            Self::NotRedrivable { .. } => {
                "`windlass dead show ID` shows what it holds; publish a valid task in its stead"
            }
            Self::NotCarriedOut { .. } => {
                "it is stored, and is carried out once a dispatcher runs; if one does, its log says why not"
            }
            Self::Ambiguous { .. } => "name one of them with --queue",
            Self::NotEnded { .. } => "it goes on: `windlass job watch ID` follows it",
            Self::Schedules(store::Error::Conflict(_)) => "run the same command again",
            Self::Schedules(store::Error::Revision { .. }) => {
                "`windlass schedule show ID` shows what it is now, and who changed it"
            }
            Self::Sealed { .. } => "name the file of the workers' keys with --codec-keys",
            Self::NotApplied { begun: true, .. } => {
                "it goes on: `windlass queue show NAME` tells how far it is"
            }
            Self::NotApplied { begun: false, .. } => {
                "the settings are stored: look whether a dispatcher runs"
            }
            Self::Settings(windlass_broker::queues::Error::Revision { .. }) => {
                "`windlass queue show NAME` shows what was set meanwhile, and by whom"
            }
            Self::NoSchedule(_) => "`windlass schedule list` names those that exist",
            _ => return None,
        }))
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::None(id) => Self::NoSchedule(id),
            other => Self::Schedules(other),
        }
    }
}

impl From<windlass::client::Error> for Error {
    fn from(error: windlass::client::Error) -> Self {
        match error {
            windlass::client::Error::Invalid(InvalidTask { field, reason }) => {
                Self::input(argument(field), reason)
            }
            other => Self::NotAccepted(other),
        }
    }
}

/// A field of a task as the command line names it.
fn argument(field: &'static str) -> &'static str {
    match field {
        "run_at" => "at",
        "attempt_timeout" => "timeout",
        "unique.key" => "unique",
        "unique.over" => "unique_over",
        "unique.states" => "unique_states",
        "unique.for" => "unique_for",
        "unique.max_delay" => "debounce_max",
        "unique.period" => "throttle",
        "aggregate.key" => "aggregate",
        "aggregate.grace" => "aggregate_grace",
        "aggregate.max_delay" => "aggregate_max_delay",
        "aggregate.max_size" => "aggregate_max_size",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use windlass_broker::tasks;

    use super::*;

    #[test]
    fn what_the_client_refuses_is_named_as_on_the_command_line() {
        for (field, expected) in [("attempt_timeout", "timeout"), ("run_at", "at"), ("payload", "payload")] {
            let error = Error::from(windlass::client::Error::Invalid(InvalidTask::new(field, "is wrong")));
            assert_eq!((error.field(), error.exit_code()), (Some(expected), 2));
        }
    }

    #[test]
    fn only_what_may_pass_is_to_be_tried_again() {
        use windlass_broker::connect::Error as Broker;
        let hint = |source| {
            let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
            Error::from(windlass::client::Error::NotAccepted { id, source }).hint()
        };
        for (source, expected) in [
            (tasks::Error::Broker(Broker::Disconnected), true),
            (tasks::Error::Broker(Broker::Refused { code: 10_077, description: "full".into() }), true),
            (tasks::Error::Broker(Broker::Refused { code: 10_054, description: "too large".into() }), false),
            (tasks::Error::Broker(Broker::TooLarge("x".into())), false),
            (tasks::Error::Broker(Broker::PermissionDenied("x".into())), false),
            (tasks::Error::TooLarge { bytes: 2, limit: 1 }, false),
        ] {
            let text = source.to_string();
            assert_eq!(hint(source).is_some(), expected, "{text}");
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure() {
        let output = |kind: io::ErrorKind| Error::Output(kind.into()).exit_code();
        assert_eq!((output(io::ErrorKind::BrokenPipe), output(io::ErrorKind::StorageFull)), (0, 1));
    }
}
