//! What a task has to do with others, as its acceptance tells it: for people, nothing is decided by it.

use crate::dependency::Dependency;
use crate::task::{Parent, Task};
use crate::{JobId, QueueName, ScheduleId};

/// What a task has to do with others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Relations {
    /// The schedule that published it.
    pub schedule_id: Option<ScheduleId>,
    /// The job whose handler published it.
    pub parent: Option<Parent>,
    /// The jobs that it waits for, the first [`MOST_TOLD`] of them.
    pub after: Vec<Dependency>,
    /// How many those are.
    pub after_count: u32,
}

/// Of the jobs that one waits for: a history is kept for each job, and read often.
pub const MOST_TOLD: usize = 50;

/// A job and its queue as one text, `mail/01890a5d-ac96-774b-bcce-b302099a8057`: an id alone is unique within its queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JobPath {
    /// Its queue.
    pub queue: QueueName,
    /// Its id.
    pub job_id: JobId,
}

/// The text names no job of a queue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found `{0}`, expected a queue and a job's id, as mail/01890a5d-ac96-774b-bcce-b302099a8057")]
pub struct InvalidJobPath(String);

// === impl Relations ===

impl Relations {
    /// Those of a task; none if it has nothing to do with others.
    pub fn of<P>(task: &Task<P>) -> Option<Self> {
        let relations = Self {
            schedule_id: task.schedule_id.clone(),
            parent: task.parent.clone(),
            after: task.after.iter().take(MOST_TOLD).cloned().collect(),
            after_count: u32::try_from(task.after.len()).unwrap_or(u32::MAX),
        };
        (relations != Self::default()).then_some(relations)
    }
}

// === impl JobPath ===

impl From<&Parent> for JobPath {
    fn from(parent: &Parent) -> Self {
        Self { queue: parent.queue.clone(), job_id: parent.job_id }
    }
}

impl std::fmt::Display for JobPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.queue, self.job_id)
    }
}

impl std::str::FromStr for JobPath {
    type Err = InvalidJobPath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (queue, job_id) = text.split_once('/')?;
            Some(Self { queue: queue.parse().ok()?, job_id: job_id.parse().ok()? })
        };
        read().ok_or_else(|| InvalidJobPath(text.chars().take(150).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dependency::OnFailure;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn a_task_is_told_with_what_it_has_to_do_with() {
        let id: JobId = ID.parse().unwrap();
        let mut task = Task::new(id, "k".parse().unwrap(), ());
        assert_eq!(Relations::of(&task), None);
        let on = Dependency { queue: None, job_id: id, on_failure: OnFailure::Ignore };
        task.after = vec![on.clone(); 70];
        let told = Relations::of(&task).unwrap();
        assert_eq!((told.after.len(), told.after_count, &told.after[0]), (MOST_TOLD, 70, &on));
        task.after.clear();
        task.schedule_id = "nightly".parse().ok();
        assert_eq!(Relations::of(&task).unwrap().schedule_id, task.schedule_id);
    }

    #[test]
    fn a_job_of_a_queue_is_one_text() {
        let text = format!("mail/{ID}");
        assert_eq!(text.parse::<JobPath>().unwrap().to_string(), text);
        for wrong in ["", "mail", ID, &format!("a.b/{ID}"), "mail/x"] {
            let error = wrong.parse::<JobPath>().unwrap_err().to_string();
            assert!(error.contains("expected a queue and a job's id"), "{error}");
        }
    }
}
