//! One job.

use windlass_core::history::JobView;
use windlass_core::{Event, JobId, QueueName};

use super::rows::word;
use super::{Error, Store, history};

// === impl Store ===

impl Store {
    /// The jobs of this id, in this queue or in every one that has it, by the queue's name. The state is as folded, see
    /// [`JobView::at`].
    pub async fn find(&self, id: JobId, queue: Option<&QueueName>) -> Result<Vec<JobView>, Error> {
        const WHAT: &str = "tell a job";
        const SQL: &str =
            "SELECT queue, history FROM jobs WHERE id = ?1 AND (?2 IS NULL OR queue = ?2) ORDER BY queue";
        let query = sqlx::query_as::<_, (String, Vec<u8>)>(SQL)
            .bind(id.as_uuid().as_bytes().to_vec())
            .bind(queue.map(|queue| queue.as_str().to_owned()));
        let mut views = Vec::new();
        for (queue, bytes) in super::read(WHAT, query.fetch_all(&self.readers)).await? {
            views.extend(history::decode(&word("queue", &queue)?, bytes)?.view());
        }
        for view in &mut views {
            view.progress = self.progress(&view.queue, id).await?;
            view.logs = self.log_lines(&view.queue, id).await?;
        }
        Ok(views)
    }

    /// The latest rejected message that bears this id. It is told under an id of its own, as a job of this one may exist.
    pub async fn rejected(
        &self,
        claimed_id: JobId,
        queue: Option<&QueueName>,
    ) -> Result<Option<Event>, Error> {
        const SQL: &str = "SELECT queue, history FROM jobs WHERE claimed_id = ?1 AND (?2 IS NULL OR queue = ?2) \
             ORDER BY ended_at_ns DESC LIMIT 1";
        let query = sqlx::query_as::<_, (String, Vec<u8>)>(SQL)
            .bind(claimed_id.as_uuid().as_bytes().to_vec())
            .bind(queue.map(|queue| queue.as_str().to_owned()));
        let found = super::read("tell a rejected message", query.fetch_optional(&self.readers)).await?;
        let Some((queue, bytes)) = found else { return Ok(None) };
        let history = history::decode(&word("queue", &queue)?, bytes)?;
        Ok(history.events().find(|event| event.claimed_id == Some(claimed_id)).cloned())
    }
}
