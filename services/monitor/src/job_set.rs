//! The jobs that a cancellation by filter means: made alike whether the database is at hand or asked for over HTTP.

use windlass_broker::commands::set::{Member, Set};
use windlass_core::JobState;

use crate::store::JobRow;

/// The states of jobs that can be cancelled: this one, or all that have not ended. They are looked through one after
/// the other, in the direction in which jobs move, so that few are missed or met twice.
pub fn states(wanted: Option<JobState>) -> Vec<JobState> {
    match wanted {
        Some(state) => vec![state],
        None => JobState::ALL.iter().copied().filter(|state| !state.is_terminal()).collect(),
    }
}

/// The jobs in these states, read page by page: `page` gives one, and the cursor of the next.
pub async fn make<C, E, F>(
    states: &[JobState],
    mut page: impl FnMut(JobState, Option<C>) -> F,
) -> Result<Set, E>
where
    F: Future<Output = Result<(Vec<JobRow>, Option<C>), E>>,
{
    let mut set = Set::default();
    for state in states {
        let mut cursor = None;
        loop {
            let (jobs, next) = page(*state, cursor).await?;
            for row in &jobs {
                match row.queue.parse() {
                    Ok(queue) => set.add(Member { queue, job_id: row.id, dead_at: None }, || line(row)),
                    Err(_) => set.unfit += 1,
                }
            }
            if set.more {
                return Ok(set);
            }
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
    }
    Ok(set)
}

fn line(row: &JobRow) -> String {
    format!("{} {} {} {}", row.id, row.queue, row.kind, row.state)
}
