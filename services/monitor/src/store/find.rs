//! One job.

use windlass_core::history::{History, JobView};
use windlass_core::{Event, JobId, QueueName};

use super::rows::word;
use super::sql::Sql;
use super::{Error, Store, history};

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
