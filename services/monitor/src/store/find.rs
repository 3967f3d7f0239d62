//! One job.

use windlass_core::history::{History, JobView};
use windlass_core::{Event, JobId, QueueName};

use super::rows::event_of;
use super::{Error, Store};

// === impl Store ===

impl Store {
    /// The jobs of this id, in this queue or in every one that has it, by the queue's name. The state is as folded, see
    /// [`JobView::at`].
    pub async fn find(&self, id: JobId, queue: Option<&QueueName>) -> Result<Vec<JobView>, Error> {
        const WHAT: &str = "tell a job";
        // A list of all tells which queues have the id; its index leads to the events of each.
        const SQL: &str = "SELECT events.* FROM jobs CROSS JOIN events ON events.queue = jobs.queue AND \
             events.job_id = jobs.id WHERE jobs.id = ?1 AND (?2 IS NULL OR jobs.queue = ?2) ORDER BY jobs.queue";
        let query = sqlx::query(SQL).bind(id.to_string()).bind(queue.map(QueueName::as_str));
        let rows = super::read(WHAT, query.fetch_all(&self.readers)).await?;
        let mut histories: Vec<(QueueName, History)> = Vec::new();
        for row in &rows {
            let event = event_of(row)?;
            match histories.last_mut() {
                Some((queue, history)) if *queue == event.queue => {
                    history.record(event);
                }
                _ => histories.push((event.queue.clone(), History::from_iter([event]))),
            }
        }
        let mut views: Vec<JobView> = histories.iter().filter_map(|(_, history)| history.view()).collect();
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
        const SQL: &str = "SELECT * FROM events WHERE claimed_id = ?1 AND (?2 IS NULL OR queue = ?2) \
             ORDER BY at_ns DESC LIMIT 1";
        let query = sqlx::query(SQL).bind(claimed_id.to_string()).bind(queue.map(QueueName::as_str));
        let row = super::read("tell a rejected message", query.fetch_optional(&self.readers)).await?;
        row.as_ref().map(event_of).transpose()
    }
}
