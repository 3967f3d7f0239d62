//! Jobs by their ids.

use jiff::Timestamp;
use windlass_core::history::{History, JobView, state_at};
use windlass_core::{Event, JobId, JobState, QueueName};

use super::batch::{most_ids, rows_of};
use super::rows::{from_ns, id_of, word};
use super::sql::Sql;
use super::{Error, READ_TIMEOUT, Store, history, in_time};

// === impl Store ===

impl Store {
    /// The jobs of this id, in this queue or in every one that has it, by the queue's name. The state is as folded, see
    /// [`JobView::at`].
    pub async fn find(&self, id: JobId, queue: Option<&QueueName>) -> Result<Vec<JobView>, Error> {
        let histories = self.histories(id, queue).await?;
        let mut views: Vec<_> = histories.iter().filter_map(History::view).collect();
        for view in &mut views {
            view.progress = self.progress(&view.queue, id).await?;
            view.logs = self.log_lines(&view.queue, id).await?;
        }
        Ok(views)
    }

    /// Where the jobs of these ids stand, with their queues; those that are not known are left out.
    pub async fn states(
        &self,
        ids: &[JobId],
        now: Timestamp,
    ) -> Result<Vec<(String, JobId, JobState)>, Error> {
        const WHAT: &str = "tell states of jobs";
        let read = |source| Error::Statement(WHAT, source);
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let reading = async {
            let mut reader = self.readers.acquire().await.map_err(read)?;
            let on = &mut reader.on();
            let mut found = Vec::with_capacity(ids.len());
            for ids in ids.chunks(most_ids(on)) {
                let rows = rows_of(on, "SELECT queue, id, state, due_at_ns FROM jobs WHERE id", ids)
                    .await
                    .map_err(read)?;
                for row in &rows {
                    let id = id_of(&row.get::<Vec<u8>>("id").map_err(read)?)?;
                    let state = word("state", &row.get::<String>("state").map_err(read)?)?;
                    let due_at: Option<i64> = row.get("due_at_ns").map_err(read)?;
                    let due_at = due_at.map(|nanos| from_ns("due_at_ns", nanos)).transpose()?;
                    let queue = row.get("queue").map_err(read)?;
                    found.push((queue, id, state_at(state, due_at, now)));
                }
            }
            Ok(found)
        };
        in_time(WHAT, READ_TIMEOUT, reading).await
    }

    /// What is known of the jobs of this id, by the queue's name.
    pub(super) async fn histories(
        &self,
        id: JobId,
        queue: Option<&QueueName>,
    ) -> Result<Vec<History>, Error> {
        const SQL: &str =
            "SELECT queue, history FROM jobs WHERE id = $1 AND ($2 IS NULL OR queue = $2) ORDER BY queue";
        let sql = Sql::new(SQL).bind(id).bind(queue.map(QueueName::as_str));
        let found: Vec<(String, Vec<u8>)> = self.read_all("tell a job", sql).await?;
        found.into_iter().map(|(queue, bytes)| history::decode(&word("queue", &queue)?, bytes)).collect()
    }

    /// The latest rejected message that bears this id. It is told under an id of its own, as a job of this one may exist.
    pub async fn rejected(
        &self,
        claimed_id: JobId,
        queue: Option<&QueueName>,
    ) -> Result<Option<Event>, Error> {
        const SQL: &str = "SELECT queue, history FROM jobs WHERE claimed_id = $1 AND ($2 IS NULL OR queue = $2) \
             ORDER BY ended_at_ns DESC LIMIT 1";
        let sql = Sql::new(SQL).bind(claimed_id).bind(queue.map(QueueName::as_str));
        let found: Option<(String, Vec<u8>)> = self.read_optional("tell a rejected message", sql).await?;
        let Some((queue, bytes)) = found else { return Ok(None) };
        let history = history::decode(&word("queue", &queue)?, bytes)?;
        Ok(history.events().find(|event| event.claimed_id == Some(claimed_id)).cloned())
    }
}
