//! What a job's task had to do with others, as it is shown.

use serde::{Deserialize, Serialize};

use crate::relations::Relations;
use crate::{JobId, QueueName, ScheduleId};

/// What a task had to do with others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RelationsView {
    /// The schedule that published it.
    #[serde(default)]
    pub schedule_id: Option<ScheduleId>,
    /// The job whose handler published it.
    #[serde(default)]
    pub parent: Option<ParentView>,
    /// The jobs that it waited for before it could start, the first 50 of them.
    #[serde(default)]
    pub after: Vec<AfterView>,
    /// How many those are.
    #[serde(default)]
    pub after_count: u32,
}

/// The job whose handler published another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentView {
    /// Its queue.
    pub queue: QueueName,
    /// Which.
    pub job_id: JobId,
    /// Whether the child goes on when it is cancelled.
    pub detached: bool,
}

/// A job that another waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AfterView {
    /// Its queue; null: that of the job which waits.
    pub queue: Option<QueueName>,
    /// Which.
    pub job_id: JobId,
    /// What follows if it ends otherwise than well: `fail`, `continue` or `ignore`.
    pub on_failure: String,
}

// === impl RelationsView ===

impl RelationsView {
    /// As it is shown.
    pub fn of(relations: &Relations) -> Self {
        let parent = relations.parent.as_ref().map(|parent| ParentView {
            queue: parent.queue.clone(),
            job_id: parent.job_id,
            detached: parent.detached,
        });
        let after = relations.after.iter().map(|on| AfterView {
            queue: on.queue.clone(),
            job_id: on.job_id,
            on_failure: on.on_failure.as_str().to_owned(),
        });
        Self {
            schedule_id: relations.schedule_id.clone(),
            parent,
            after: after.collect(),
            after_count: relations.after_count,
        }
    }
}
