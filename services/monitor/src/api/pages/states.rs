//! A job's way through its states.

use jiff::Timestamp;
use windlass_core::history::JobView;
use windlass_core::{JobState, Transition};

/// A state that it was in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stay {
    pub(super) state: JobState,
    pub(super) from: Timestamp,
    /// None: it is in it.
    pub(super) to: Option<Timestamp>,
    /// Where the attempt is known.
    pub(super) attempt: u32,
}

// === impl Stay ===

impl Stay {
    pub(super) fn seconds(&self, now: &Timestamp) -> f64 {
        self.to.unwrap_or(*now).duration_since(self.from).as_secs_f64().max(0.0)
    }

    /// It ends there.
    pub(super) fn is_end(&self) -> bool {
        self.state.is_terminal()
    }
}

/// The states that a job was in, one after the other.
pub(super) fn of(job: &JobView, now: Timestamp) -> Vec<Stay> {
    let mut stays: Vec<Stay> = Vec::new();
    for step in &job.transitions {
        let Some(state) = after(step.transition, job, step.at) else { continue };
        // Told again, or late: what is over is over.
        if stays.last().is_some_and(|last| last.is_end() || last.state == state) {
            continue;
        }
        if let Some(last) = stays.last_mut() {
            last.to = Some(step.at.max(last.from));
        }
        stays.push(Stay { state, from: step.at, to: None, attempt: step.attempt });
    }
    // A timer that has ended is told by nobody.
    if let Some(last) = stays.last().cloned()
        && matches!(last.state, JobState::Scheduled | JobState::Retrying)
        && let Some(due) = job.due_at.filter(|due| *due <= now && *due >= last.from)
    {
        if let Some(stay) = stays.last_mut() {
            stay.to = Some(due);
        }
        stays.push(Stay { state: JobState::Queued, from: due, to: None, attempt: last.attempt });
    }
    stays
}

fn after(transition: Transition, job: &JobView, at: Timestamp) -> Option<JobState> {
    Some(match transition {
        // Of a first delay only the first attempt's is known.
        Transition::Accepted if job.attempts.is_empty() && job.due_at.is_some_and(|due| due > at) => {
            JobState::Scheduled
        }
        Transition::Accepted
        | Transition::Released
        | Transition::Queued
        | Transition::Crashed
        | Transition::HandedBack => JobState::Queued,
        Transition::Held => JobState::Held,
        Transition::Started => JobState::Running,
        Transition::Retried | Transition::Snoozed => JobState::Retrying,
        Transition::Succeeded => JobState::Succeeded,
        Transition::Dead | Transition::Rejected => JobState::Dead,
        Transition::Cancelled => JobState::Cancelled,
        Transition::Expired => JobState::Expired,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use windlass_core::history::History;
    use windlass_core::{Event, JobId, Kind, QueueName};

    use super::*;

    #[test]
    fn a_job_that_is_held_and_let_go_passes_through_both() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let kind: Kind = "k".parse().unwrap();
        let steps = [
            (Transition::Accepted, 0, 1),
            (Transition::Held, 0, 2),
            (Transition::Queued, 0, 5),
            (Transition::Started, 1, 6),
            (Transition::Succeeded, 1, 9),
        ];
        let history: History = steps
            .into_iter()
            .map(|(transition, attempt, second)| {
                Event::new(QueueName::default(), JobId::nil(), kind.clone(), transition, attempt, at(second))
            })
            .collect();
        let found = of(&history.view().unwrap(), at(20));
        let seen: Vec<_> = found.iter().map(|stay| (stay.state.as_str(), stay.seconds(&at(20)))).collect();
        let expected =
            [("queued", 1.0), ("held", 3.0), ("queued", 1.0), ("running", 3.0), ("succeeded", 11.0)];
        assert_eq!(seen, expected);
    }
}
