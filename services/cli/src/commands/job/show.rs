//! A job as text for people.

use std::fmt::Write as _;

use jiff::Timestamp;
use windlass_core::history::{AttemptView, JobView, LogView, ProgressView, TransitionView};
use windlass_core::payload::readable;
use windlass_core::{JobError, Outcome};

use crate::output::table::{Table, instant, printable, relative, seconds};

/// All that is known of a job.
pub(super) fn job(view: &JobView, now: Timestamp) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing into a string does not fail.
            let _ = writeln!(text, "{name:<9} {}", printable(value));
        }
    };
    let at = |at: Option<Timestamp>| at.map(|at| format!("{} ({})", instant(at), relative(at, now)));
    field("id", &view.id.to_string());
    field("kind", &view.kind);
    field("queue", &view.queue);
    field("state", view.state.as_str());
    field("priority", view.priority.as_str());
    field("accepted", &at(view.accepted_at).unwrap_or_default());
    field("due", &at(view.due_at).unwrap_or_default());
    field("ended", &at(view.ended_at).unwrap_or_default());
    let relations = &view.relations;
    field("schedule", relations.schedule_id.as_ref().map(ToString::to_string).as_deref().unwrap_or_default());
    if let Some(parent) = &relations.parent {
        field("parent", &format!("{} in {}", parent.job_id, parent.queue));
    }
    field("labels", &view.labels.to_string());
    field("trace", view.trace_id.as_deref().unwrap_or_default());
    if let Some(error) = &view.error {
        let print = error.fingerprint();
        field("error", &format!("{} ({}, {print})", readable(&error.message), error.code));
    }
    if let Some(result) = &view.result {
        let key_id = view.result_form.as_ref().and_then(|form| form.encoding.key_id.as_ref());
        field("result", &key_id.map_or(result.to_string(), |id| format!("sealed with the key `{id}`")));
    }
    if let Some(told) = &view.progress {
        field("progress", &progress(told));
    }
    if !view.attempts.is_empty() {
        text.push('\n');
        text.push_str(&attempts(&view.attempts, now));
    }
    if !view.transitions.is_empty() {
        text.push('\n');
        text.push_str(&transitions(&view.transitions));
    }
    if !view.logs.is_empty() {
        text.push('\n');
        text.push_str(&logs(&view.logs));
    }
    text
}

fn progress(progress: &ProgressView) -> String {
    let percent = progress.fraction.map(|fraction| format!("{:.0}%", fraction * 100.0));
    let parts = [percent.unwrap_or_default(), progress.note.clone()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn logs(lines: &[LogView]) -> String {
    let mut table = Table::new(&["AT", "ATTEMPT", "LEVEL", "LOG"]).right([1]);
    for line in lines {
        table.row([
            instant(line.at),
            line.attempt.to_string(),
            line.level.as_str().to_owned(),
            line.message.clone(),
        ]);
    }
    table.render()
}

/// Attempts as a table.
pub(in crate::commands) fn attempts(attempts: &[AttemptView], now: Timestamp) -> String {
    let headings = ["ATTEMPT", "WORKER", "STARTED", "TOOK", "OUTCOME", "FINGERPRINT", "ERROR"];
    let mut table = Table::new(&headings).right([0, 3]);
    for attempt in attempts {
        let took = attempt.started_at.map(|started| attempt.ended_at.unwrap_or(now).duration_since(started));
        table.row([
            attempt.number.to_string(),
            attempt.worker.clone().unwrap_or_default(),
            attempt.started_at.map(instant).unwrap_or_default(),
            took.map(|took| seconds(took.as_secs_f64())).unwrap_or_default(),
            outcome(attempt),
            attempt.error.as_ref().map(JobError::fingerprint).unwrap_or_default(),
            attempt.error.as_ref().map(|error| readable(&error.message).into_owned()).unwrap_or_default(),
        ]);
    }
    table.render()
}

fn outcome(attempt: &AttemptView) -> String {
    let word = attempt.outcome.map_or("running", Outcome::as_str);
    if attempt.alone { format!("{word}, alone") } else { word.to_owned() }
}

fn transitions(transitions: &[TransitionView]) -> String {
    let mut table = Table::new(&["AT", "TRANSITION", "ATTEMPT", "WORKER", "NOTE"]).right([2]);
    for transition in transitions {
        table.row([
            instant(transition.at),
            transition.transition.to_string(),
            attempt_number(transition),
            transition.worker.clone().unwrap_or_default(),
            transition.note.clone().unwrap_or_default(),
        ]);
    }
    table.render()
}

/// One transition as a line, as it happens.
pub(super) fn transition(transition: &TransitionView) -> String {
    let mut line = format!("{}  {:<11}", instant(transition.at), transition.transition.as_str());
    let attempt = attempt_number(transition);
    for (name, value) in [
        ("attempt", Some(attempt.as_str()).filter(|number| !number.is_empty())),
        ("worker", transition.worker.as_deref()),
        ("note", transition.note.as_deref()),
    ] {
        if let Some(value) = value {
            // Writing into a string does not fail.
            let _ = write!(line, "  {name} {}", printable(value));
        }
    }
    format!("{}\n", line.trim_end())
}

/// None before the first.
fn attempt_number(transition: &TransitionView) -> String {
    if transition.attempt == 0 { String::new() } else { transition.attempt.to_string() }
}

#[cfg(test)]
mod tests {
    use windlass_core::{JobState, Priority, Transition};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn all_that_is_known_is_shown() {
        let error = JobError { message: "no\nfile".to_owned(), code: "handler".to_owned(), terminal: true };
        let print = error.fingerprint();
        let view = JobView {
            id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(),
            kind: "file.digest".to_owned(),
            queue: "mail".to_owned(),
            state: JobState::Dead,
            priority: Priority::High,
            result: None,
            result_form: None,
            error: Some(error.clone()),
            other_id: None,
            relations: windlass_core::history::RelationsView::default(),
            labels: windlass_core::labels::Labels::default(),
            trace_id: None,
            accepted_at: Some(at(10)),
            due_at: None,
            ended_at: Some(at(15)),
            attempts: vec![AttemptView {
                number: 1,
                worker: Some("w1".to_owned()),
                started_at: Some(at(11)),
                ended_at: Some(at(15)),
                outcome: Some(Outcome::Failed),
                error: Some(error),
                alone: true,
            }],
            transitions: vec![TransitionView {
                transition: Transition::Started,
                attempt: 1,
                at: at(11),
                worker: Some("w1".to_owned()),
                note: None,
            }],
            progress: Some(ProgressView {
                attempt: 1,
                fraction: Some(0.255),
                note: "half way".to_owned(),
                at: at(12),
            }),
            logs: vec![LogView {
                attempt: 1,
                sequence: 1,
                at: at(12),
                level: windlass_core::told::LogLevel::Warn,
                message: "slow\ndisk".to_owned(),
            }],
        };
        let text = job(&view, at(75));
        let line =
            |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
        assert_eq!(line("state"), "state     dead");
        assert_eq!(line("error"), format!("error     no file (handler, {print})"));
        assert_eq!(line("progress"), "progress  26% half way");
        assert!(text.contains("warn   slow disk"), "{text}");
        assert!(line("ended").ends_with("(60s ago)"), "{text}");
        assert!(!text.contains("due ") && !text.contains("trace"), "{text}");
        assert!(line("      1  w1").ends_with(&format!("4.0s  failed, alone  {print}  no file")), "{text}");
        let told = transition(&view.transitions[0]);
        assert!(told.ends_with("  started      attempt 1  worker w1\n"), "{told}");
    }
}
