//! `windlass job watch`.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use windlass_core::history::JobView;
use windlass_core::{JobId, JobState, Transition};

use super::show;
use crate::commands::arguments::{Which, duration, parse};
use crate::commands::{Error, ending, lookup};
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::table::{instant, printable};
use crate::output::{self, Format};

/// How often the job is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long a job may be unknown: its task was just submitted.
const UNKNOWN: Duration = Duration::from_secs(5);

const AFTER_HELP: &str = "\
Examples:
  windlass job watch 01890a5d-ac96-774b-bcce-b302099a8057
  windlass job watch 01890a5d-ac96-774b-bcce-b302099a8057 --timeout 10m -o json

With -o json, the job is printed once, as `job get` does, when it has ended.

Exit codes: 0 it succeeded; 1 it ended otherwise, or did not end in time; 2 an argument is wrong; 4 no such job;
5 several queues have a job of this id.";

/// Which job, and for how long.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// For how long at most
    #[arg(long, value_name = "DURATION", default_value = "24h", allow_hyphen_values = true)]
    timeout: String,
}

/// What of a job was printed already.
#[derive(Debug, Default)]
struct Told {
    transitions: HashSet<(Transition, u32)>,
    state: Option<JobState>,
}

pub(super) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let (id, queue) = args.which.read()?;
    let timeout = duration("timeout", &args.timeout)?;
    let fleet = Fleet::find(global)?;
    let deadline = Instant::now() + timeout;
    let mut told = Told::default();
    let mut tell = |view: &JobView| -> Result<(), Error> {
        match global.output {
            Format::Json => Ok(()),
            Format::Table => Ok(output::text(&told.news(view, Timestamp::now()))?),
        }
    };

    let mut view = first_look(&fleet, id, queue.as_ref(), deadline).await?;
    let queue = parse("queue", &view.queue)?;
    tell(&view)?;
    if !view.state.is_terminal() {
        let mut ended = Box::pin(ending::recorded(&fleet, id, &queue, deadline));
        view = loop {
            tokio::select! {
                recorded = &mut ended => {
                    let waited = timeout;
                    let not_ended = Error::NotEnded { id, waited, state: Some(view.state) };
                    break if recorded? { ending::show(&fleet, id, &queue).await?.ok_or(not_ended)? }
                    else { return Err(not_ended) };
                }
                () = sleep(LOOK_AGAIN) => {}
            }
            // A look that fails now may succeed the next time; the bound is the deadline.
            if let Ok(next) = lookup::find(&fleet, id, Some(&queue)).await {
                view = next;
                tell(&view)?;
                if view.state.is_terminal() {
                    break view;
                }
            }
        };
        tell(&view)?;
    }
    if global.output == Format::Json {
        output::json(&view)?;
    }
    Ok(if view.state == JobState::Succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn first_look(
    fleet: &Fleet,
    id: JobId,
    queue: Option<&windlass_core::QueueName>,
    deadline: Instant,
) -> Result<JobView, Error> {
    let deadline = deadline.min(Instant::now() + UNKNOWN);
    loop {
        match lookup::find(fleet, id, queue).await {
            Err(Error::NotFound { .. }) if Instant::now() < deadline => sleep(LOOK_AGAIN).await,
            other => return other,
        }
    }
}

// === impl Told ===

impl Told {
    /// What was not printed yet.
    fn news(&mut self, view: &JobView, now: Timestamp) -> String {
        let mut text = String::new();
        for transition in &view.transitions {
            if self.transitions.insert((transition.transition, transition.attempt)) {
                text.push_str(&show::transition(transition));
            }
        }
        // A live record has no transitions; so has a timer that ended.
        if text.is_empty() && self.state != Some(view.state) {
            text = format!("{}  is {}\n", instant(now), view.state);
        }
        self.state = Some(view.state);
        if view.state.is_terminal()
            && !text.is_empty()
            && let Some(error) = view.error.as_ref()
        {
            // Writing into a string does not fail.
            let _ = writeln!(text, "error: {}", printable(&error.message));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use windlass_core::Priority;
    use windlass_core::history::TransitionView;

    use super::*;

    fn view(state: JobState, transitions: &[(Transition, u32)]) -> JobView {
        JobView {
            id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            kind: "k".to_owned(),
            queue: "q".to_owned(),
            state,
            priority: Priority::Normal,
            result: None,
            result_form: None,
            error: None,
            other_id: None,
            relations: windlass_core::history::RelationsView::default(),
            labels: windlass_core::labels::Labels::default(),
            trace_id: None,
            accepted_at: None,
            due_at: None,
            ended_at: None,
            attempts: Vec::new(),
            progress: None,
            logs: Vec::new(),
            transitions: transitions
                .iter()
                .map(|&(transition, attempt)| TransitionView {
                    transition,
                    attempt,
                    at: Timestamp::UNIX_EPOCH,
                    worker: None,
                    note: None,
                })
                .collect(),
        }
    }

    #[test]
    fn everything_is_told_once() {
        let mut told = Told::default();
        let mut check = |state, transitions: &[(Transition, u32)], expected: &[&str]| {
            let text = told.news(&view(state, transitions), Timestamp::UNIX_EPOCH);
            let words: Vec<_> = text
                .lines()
                .map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" "))
                .collect();
            assert_eq!(words, expected);
        };
        check(JobState::Queued, &[], &["is queued"]);
        check(JobState::Queued, &[], &[]);
        let started = [(Transition::Accepted, 0), (Transition::Started, 1)];
        check(JobState::Running, &started, &["accepted", "started attempt 1"]);
        check(JobState::Running, &started, &[]);
        let again = [started[0], started[1], (Transition::Retried, 1)];
        check(JobState::Retrying, &again, &["retried attempt 1"]);
        check(JobState::Queued, &again, &["is queued"]);
        let last = [again[0], again[1], again[2], (Transition::Started, 2)];
        check(JobState::Running, &last, &["started attempt 2"]);
    }
}
