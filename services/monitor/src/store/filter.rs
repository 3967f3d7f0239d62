//! Which jobs a list is of, as conditions of a statement.

use jiff::Timestamp;
use windlass_core::labels::Label;
use windlass_core::relations::JobPath;
use windlass_core::{JobState, Kind, QueueName, ScheduleId};

use super::list::Cursor;
use super::rows::to_ns;
use super::sql::Sql;

/// What a list shows of a job.
const SHOWN: &str = "seq, queue, id, kind, state, priority, attempt_count, accepted_at_ns, due_at_ns, ended_at_ns, \
     ready_at_ns, attempt_started_ns, attempt_ended_ns, error_code, error_message, error_terminal, trace_id";

/// Which jobs: all that is named holds of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In this state.
    pub state: Option<JobState>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Of this queue.
    pub queue: Option<QueueName>,
    /// With this key.
    pub key: Option<String>,
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Whose error has this fingerprint.
    pub fingerprint: Option<String>,
    /// That this schedule published.
    pub schedule_id: Option<ScheduleId>,
    /// Whose parent is this one.
    pub parent: Option<JobPath>,
    /// With this label.
    pub label: Option<Label>,
    /// Accepted at this instant or later.
    pub since: Option<Timestamp>,
    /// Accepted before this instant.
    pub until: Option<Timestamp>,
}

/// A state as it is stored: the fold's `scheduled` and `retrying` end with their timer, see `core::history::state_at`.
#[derive(Clone, Copy)]
pub(super) enum Arm {
    Any,
    Stored(JobState),
    /// In this one, its timer ended by then.
    Due(JobState, Timestamp),
    /// In this one, its timer running still.
    NotDue(JobState, Timestamp),
}

// === impl Filter ===

impl Filter {
    /// Lists within a time go by the time of acceptance, others by when the monitor first heard of the jobs.
    pub(super) fn goes_by_time(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    /// One statement: the jobs of this state as it is stored, newest first.
    /// `aside` keeps a condition from choosing the index; `few` have the label, if any.
    pub(super) fn push_arm(
        &self,
        sql: &mut Sql,
        arm: Arm,
        cursor: Option<Cursor>,
        limit: i64,
        aside: &'static str,
        few: bool,
    ) {
        let timed = self.goes_by_time();
        sql.push("SELECT ").push(SHOWN);
        // Of the jobs with a label the newest are found by it; within a time, by the time, unless few have it.
        let mut place = "seq";
        match &self.label {
            Some(label) if few || !timed => {
                place = "job_seq";
                // In this order.
                let join = if aside.is_empty() { " JOIN" } else { " CROSS JOIN" };
                sql.push(" FROM job_labels").push(join).push(" jobs ON jobs.seq = job_seq WHERE label = ");
                sql.push_bind(label.to_string());
            }
            Some(label) => {
                sql.push(
                    " FROM jobs WHERE EXISTS (SELECT 1 FROM job_labels WHERE job_seq = jobs.seq AND label = ",
                );
                sql.push_bind(label.to_string()).push(")");
            }
            None => {
                sql.push(" FROM jobs WHERE TRUE");
            }
        }
        match (cursor, timed) {
            (Some(Cursor { accepted_at_ns: Some(nanos), seq }), true) => {
                sql.push(" AND (accepted_at_ns, seq) < (").push_bind(nanos).push(", ");
                sql.push_bind(seq).push(")");
            }
            (Some(Cursor { seq, .. }), _) => {
                sql.push(" AND ").push(place).push(" < ").push_bind(seq);
            }
            (None, _) => {}
        }
        if let Some(since) = self.since {
            sql.push(" AND accepted_at_ns >= ").push_bind(to_ns(since));
        }
        if let Some(until) = self.until {
            sql.push(" AND accepted_at_ns < ").push_bind(to_ns(until));
        }
        // Within a time its index is walked, not the one of a queue or a kind, whose jobs would have to be sorted.
        let by_time = if timed { aside } else { "" };
        // A state's own index is walked, as there are many more jobs of a kind than jobs that stand in it.
        let of_kind =
            if timed || self.state.is_some_and(|state| state != JobState::Succeeded) { aside } else { "" };
        let parent = self.parent.as_ref().map(ToString::to_string);
        let equal = [
            (by_time, "queue", self.queue.as_ref().map(QueueName::as_str)),
            (of_kind, "kind", self.kind.as_ref().map(Kind::as_str)),
            ("", "key", self.key.as_deref()),
            ("", "tenant", self.tenant.as_deref()),
            ("", "fingerprint", self.fingerprint.as_deref()),
            ("", "schedule_id", self.schedule_id.as_ref().map(ScheduleId::as_str)),
            ("", "parent", parent.as_deref()),
        ];
        for (aside, column, value) in equal {
            if let Some(value) = value {
                sql.push(" AND ").push(aside).push(column).push(" = ").push_bind(value.to_owned());
            }
        }
        arm.push(sql);
        if timed {
            sql.push(" ORDER BY accepted_at_ns DESC, seq DESC");
        } else {
            sql.push(" ORDER BY ").push(place).push(" DESC");
        }
        sql.push(" LIMIT ").push_bind(limit);
    }
}

// === impl Arm ===

impl Arm {
    pub(super) fn of(state: Option<JobState>, now: Timestamp) -> Vec<Self> {
        match state {
            None => vec![Self::Any],
            Some(JobState::Queued) => vec![
                Self::Stored(JobState::Queued),
                Self::Due(JobState::Scheduled, now),
                Self::Due(JobState::Retrying, now),
            ],
            Some(state @ (JobState::Scheduled | JobState::Retrying)) => vec![Self::NotDue(state, now)],
            Some(state) => vec![Self::Stored(state)],
        }
    }

    fn push(self, sql: &mut Sql) {
        let (Self::Stored(state) | Self::Due(state, _) | Self::NotDue(state, _)) = self else { return };
        sql.push(" AND state = ").push_bind(state.as_str());
        if state != JobState::Succeeded {
            // As its index says.
            sql.push(" AND state <> 'succeeded'");
        }
        match self {
            Self::Due(_, now) => sql.push(" AND due_at_ns <= ").push_bind(to_ns(now)),
            Self::NotDue(_, now) => {
                sql.push(" AND (due_at_ns IS NULL OR due_at_ns > ").push_bind(to_ns(now)).push(")")
            }
            Self::Any | Self::Stored(_) => sql,
        };
    }
}
