//! Changes as they happen: Server-Sent Events (WHATWG HTML, "Server-sent events").

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::{self, Stream};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use windlass_core::{JobId, JobState, Kind, QueueName};

use super::query::{KIND_FORM, Parameters, QUEUE_FORM, RawQuery};
use super::{Api, Problem};
use crate::live::JobChange;

/// How many may look on at a time.
pub const MOST_LOOKING: usize = 64;
/// Of one batch, so many jobs are told one by one.
const MOST_TOLD: usize = 100;
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Which changes.
#[derive(Debug, Clone, Default)]
struct Wanted {
    id: Option<JobId>,
    queue: Option<QueueName>,
    kind: Option<Kind>,
    state: Option<JobState>,
}

struct Looking {
    changes: Receiver<Arc<Vec<JobChange>>>,
    wanted: Wanted,
    waiting: Vec<Event>,
    _permit: OwnedSemaphorePermit,
}

/// Changes of jobs as they happen, as Server-Sent Events.
///
/// An event `job` holds a job as it stands now. `more` says that so many others changed at the same time, and `missed`
/// that the reader was too slow, and so many batches of changes were dropped: ask for the list again. Readers are never
/// waited for.
#[utoipa::path(
    get, path = "/api/v1/live", tag = "jobs", operation_id = "watchJobs",
    params(
        ("id" = Option<String>, Query, description = "Only this job"),
        ("queue" = Option<String>, Query, description = "Only jobs of this queue"),
        ("kind" = Option<String>, Query, description = "Only jobs of this kind"),
        ("state" = Option<String>, Query, description = "Only jobs that come to stand in this state"),
    ),
    responses(
        (status = 200, description = "For as long as it is read", body = JobChange, content_type = "text/event-stream"),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn watch(
    State(api): State<Api>,
    raw: RawQuery,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let mut parameters = Parameters::new(raw)?;
    let states = JobState::ALL.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(", ");
    let wanted = Wanted {
        id: parameters.take("id", "a job's id, a UUID")?,
        queue: parameters.take("queue", QUEUE_FORM)?,
        kind: parameters.take("kind", KIND_FORM)?,
        state: parameters.take("state", &format!("one of {states}"))?,
    };
    parameters.end("id, queue, kind, state")?;
    let permit = Semaphore::try_acquire_owned(Arc::clone(&api.looking))
        .map_err(|_| Problem::too_many_looking(MOST_LOOKING))?;
    let nothing = || Problem::unavailable("no events are read just now: try again");
    let changes = api.live.and_then(|live| live.look()).ok_or_else(nothing)?;
    let looking = Looking { changes, wanted, waiting: Vec::new(), _permit: permit };
    let events = stream::unfold(looking, |mut looking| async move {
        let event = looking.next().await?;
        Some((Ok(event), looking))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

// === impl Looking ===

impl Looking {
    /// The next event; none once nothing is told any more.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop() {
                return Some(event);
            }
            match self.changes.recv().await {
                Ok(jobs) => self.waiting = self.events(&jobs),
                Err(RecvError::Lagged(batches)) => {
                    metrics::counter!("windlass_monitor_live_missed_total").increment(batches);
                    return Some(event("missed", &serde_json::json!({ "batches": batches })));
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Those of a batch that are wanted, the last first.
    fn events(&self, jobs: &[JobChange]) -> Vec<Event> {
        let mut wanted = jobs.iter().filter(|job| self.wanted.matches(job));
        let mut events: Vec<Event> = wanted.by_ref().take(MOST_TOLD).map(|job| event("job", job)).collect();
        let others = wanted.count();
        if others > 0 {
            events.push(event("more", &serde_json::json!({ "jobs": others })));
        }
        events.reverse();
        events
    }
}

// === impl Wanted ===

impl Wanted {
    fn matches(&self, job: &JobChange) -> bool {
        self.id.is_none_or(|id| id == job.id)
            && self.state.is_none_or(|state| state == job.state)
            && self.queue.as_ref().is_none_or(|queue| queue.as_str() == job.queue)
            && self.kind.as_ref().is_none_or(|kind| kind.as_str() == job.kind)
    }
}

fn event(name: &str, data: &impl serde::Serialize) -> Event {
    // What is made here can be written as JSON.
    Event::default().event(name).json_data(data).unwrap_or_default()
}
