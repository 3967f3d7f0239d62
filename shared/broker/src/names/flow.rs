//! Subjects of flow control, in the stream of jobs beside the jobs' messages: with another number of tokens than those.
//!
//! | subject after `windlass.job.<queue>` | what stands there |
//! |---|---|
//! | `owner` | who decides; its sequence is the owner's epoch |
//! | `applied` | which settings the owner goes by, and whether all that waited before goes by them |
//! | `wait.key.<key>.<priority>.<job id>` | a held job's place in the line of its key |
//! | `wait.turn.<priority>.<tenant>.<job id>` | a held job's place in the line of the queue |
//! | `wait.kind.<kind>.<priority>.<job id>` | a held job's place among those of a kind that is paused |
//! | `lane.turn.<priority>.<tenant>` | that such a line may have somebody in it |
//! | `slot.key.<key>.<job id>` | a slot of a key that is taken |
//! | `slot.turn.all.<job id>` | a slot of the queue that is taken |
//! | `meter.key.<key>.rate`, `meter.turn.all.rate` | what was let go under a rate |
//! | `due.notice.<key, or all>.<job id>` | a slot was given back, or a time has come: the owner is to look |
//!
//! Each but the last is a timer set far away, because a write can remove a timer in the same step.

use windlass_core::{JobId, Kind, PoolName, Priority, QueueName, RecordKind};

use super::Names;

/// Stands where a key or a tenant would, for the queue as a whole and for jobs that name none.
pub const ALL: &str = "all";

/// A place in line, as its subject says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Line {
    /// Of a key, by its token.
    Key(String),
    /// Of the queue, by the token of a tenant.
    Turn(String),
    /// Of a kind that is paused, by a token that stands for it; or of a key that is, for jobs that have its slot.
    Kind(String),
}

/// What a subject of flow control says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlowSubject {
    /// A place in line.
    Wait(Line, Priority, JobId),
    /// A line of the queue that may have somebody in it: its priority, and the token of its tenant.
    Lane(Priority, String),
    /// A slot of a key, by its token; none: of the queue.
    Slot(Option<String>, JobId),
    /// What was let go under the rate of a key, by its token; none: of the queue.
    Meter(Option<String>),
    /// The owner is to look at this key, by its token; none: at the queue.
    Notice(Option<String>, JobId),
}

// === impl Line ===

impl Line {
    /// Of a kind that is paused. In its token a dot would end a word.
    pub fn of_kind(kind: &Kind) -> Self {
        Self::Kind(kind.as_str().replace('.', "/"))
    }

    /// Of the jobs that have a slot of a key, by its token, while the key is paused: no kind has this letter.
    pub fn of_stopped_key(key: &str) -> Self {
        Self::Kind(format!("~{key}"))
    }

    /// Whether it is one of those that [`Line::of_stopped_key`] names.
    pub fn is_of_stopped_key(&self) -> bool {
        matches!(self, Self::Kind(token) if token.starts_with('~'))
    }
}

// === impl Names ===

impl Names {
    fn of_flow(&self, pool: &PoolName, queue: &QueueName, rest: &str) -> String {
        format!("{}.{}.{queue}.{rest}", self.namespace, Self::job_token(pool))
    }

    /// Who decides what a queue lets through.
    pub fn flow_owner(&self, pool: &PoolName, queue: &QueueName) -> String {
        self.of_flow(pool, queue, "owner")
    }

    /// How far a queue's owner has come with its settings.
    pub fn flow_applied(&self, pool: &PoolName, queue: &QueueName) -> String {
        self.of_flow(pool, queue, "applied")
    }

    /// One sort of all jobs' messages of a queue, and nothing beside them.
    pub fn records_filter(&self, pool: &PoolName, queue: &QueueName, record: RecordKind) -> String {
        self.of_flow(pool, queue, &format!("{record}.*.*"))
    }

    /// Everybody in any line.
    pub fn all_lines_filter(&self, pool: &PoolName, queue: &QueueName) -> String {
        self.of_flow(pool, queue, "wait.>")
    }

    /// The slots of all keys that are taken.
    pub fn key_slots_filter(&self, pool: &PoolName, queue: &QueueName) -> String {
        self.of_flow(pool, queue, "slot.key.>")
    }

    /// One place in line, slot, lane or notice.
    pub fn flow_subject(&self, pool: &PoolName, queue: &QueueName, subject: &FlowSubject) -> String {
        let rest = match subject {
            FlowSubject::Wait(Line::Key(key), priority, job) => format!("wait.key.{key}.{priority}.{job}"),
            FlowSubject::Wait(Line::Turn(tenant), priority, job) => {
                format!("wait.turn.{priority}.{tenant}.{job}")
            }
            FlowSubject::Wait(Line::Kind(kind), priority, job) => {
                format!("wait.kind.{kind}.{priority}.{job}")
            }
            FlowSubject::Meter(Some(key)) => format!("meter.key.{key}.rate"),
            FlowSubject::Meter(None) => format!("meter.turn.{ALL}.rate"),
            FlowSubject::Lane(priority, tenant) => format!("lane.turn.{priority}.{tenant}"),
            FlowSubject::Slot(Some(key), job) => format!("slot.key.{key}.{job}"),
            FlowSubject::Slot(None, job) => format!("slot.turn.{ALL}.{job}"),
            FlowSubject::Notice(key, job) => {
                format!("due.notice.{}.{job}", key.as_deref().unwrap_or(ALL))
            }
        };
        self.of_flow(pool, queue, &rest)
    }

    /// Everybody of a kind that is, or was, paused.
    pub fn kind_line_filter(&self, pool: &PoolName, queue: &QueueName, kind: &str) -> String {
        self.of_flow(pool, queue, &format!("wait.kind.{kind}.>"))
    }

    /// Everybody in line for a key; at this priority, if one is named.
    pub fn key_line_filter(
        &self,
        pool: &PoolName,
        queue: &QueueName,
        key: &str,
        priority: Option<Priority>,
    ) -> String {
        let priority = priority.map_or("*", Priority::as_str);
        self.of_flow(pool, queue, &format!("wait.key.{key}.{priority}.*"))
    }

    /// Everybody in line for a turn of the queue, of this priority and tenant.
    pub fn turn_line_filter(
        &self,
        pool: &PoolName,
        queue: &QueueName,
        priority: Priority,
        tenant: &str,
    ) -> String {
        self.of_flow(pool, queue, &format!("wait.turn.{priority}.{tenant}.*"))
    }

    /// Everybody in a line of this sort: `key`, `turn` or `kind`.
    pub fn lines_filter(&self, pool: &PoolName, queue: &QueueName, sort: &str) -> String {
        self.of_flow(pool, queue, &format!("wait.{sort}.>"))
    }

    /// The lines of the queue that may have somebody in them.
    pub fn lanes_filter(&self, pool: &PoolName, queue: &QueueName) -> String {
        self.of_flow(pool, queue, "lane.turn.>")
    }

    /// The slots of a key that are taken; none: of the queue.
    pub fn slots_filter(&self, pool: &PoolName, queue: &QueueName, key: Option<&str>) -> String {
        match key {
            Some(key) => self.of_flow(pool, queue, &format!("slot.key.{key}.*")),
            None => self.of_flow(pool, queue, &format!("slot.turn.{ALL}.*")),
        }
    }

    /// All slots that are taken.
    pub fn all_slots_filter(&self, pool: &PoolName, queue: &QueueName) -> String {
        self.of_flow(pool, queue, "slot.>")
    }

    /// What is for a queue's owner: jobs that are due, and notices.
    pub fn due_filter(&self, pool: &PoolName, queue: &QueueName) -> String {
        self.queue_filter(pool, queue, RecordKind::Due)
    }

    /// What tells a queue's owner to look.
    pub fn notices_filter(&self, pool: &PoolName, queue: &QueueName) -> String {
        self.of_flow(pool, queue, "due.notice.>")
    }

    /// Reads the subject of a place in line, a lane, a slot or a notice.
    pub fn parse_flow_subject(&self, subject: &str) -> Option<FlowSubject> {
        let mut tokens = subject.strip_prefix(&self.namespace)?.strip_prefix('.')?.split('.').skip(1);
        let _queue: QueueName = tokens.next()?.parse().ok()?;
        let (a, b, c) = (tokens.next()?, tokens.next()?, tokens.next()?);
        let d = tokens.next()?;
        let last = tokens.next();
        let of = |token: &str| (token != ALL).then(|| token.to_owned());
        let parsed = match (a, b, last) {
            ("wait", "key", Some(id)) => {
                FlowSubject::Wait(Line::Key(c.to_owned()), d.parse().ok()?, id.parse().ok()?)
            }
            ("wait", "turn", Some(id)) => {
                FlowSubject::Wait(Line::Turn(d.to_owned()), c.parse().ok()?, id.parse().ok()?)
            }
            ("wait", "kind", Some(id)) => {
                FlowSubject::Wait(Line::Kind(c.to_owned()), d.parse().ok()?, id.parse().ok()?)
            }
            ("meter", "key" | "turn", None) if d == "rate" => FlowSubject::Meter(of(c)),
            ("lane", "turn", None) => FlowSubject::Lane(c.parse().ok()?, d.to_owned()),
            ("slot", "key" | "turn", None) => FlowSubject::Slot(of(c), d.parse().ok()?),
            ("due", "notice", None) => FlowSubject::Notice(of(c), d.parse().ok()?),
            _ => return None,
        };
        tokens.next().is_none().then_some(parsed)
    }

    /// The dispatchers' consumer of what is for a queue's owner.
    pub fn flow_consumer(&self, queue: &QueueName) -> String {
        format!("flow-{queue}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beside_the_jobs_reads_back_and_is_none_of_their_messages() {
        let names = Names::default();
        let job: JobId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let queue: QueueName = "mail".parse().unwrap();
        let subjects = [
            FlowSubject::Wait(Line::Key("0a".to_owned()), Priority::Low, job),
            FlowSubject::Wait(Line::Turn("0b".to_owned()), Priority::High, job),
            FlowSubject::Wait(Line::of_kind(&"a.b-c".parse().unwrap()), Priority::Low, job),
            FlowSubject::Wait(Line::of_stopped_key("0a"), Priority::Low, job),
            FlowSubject::Meter(Some("0a".to_owned())),
            FlowSubject::Meter(None),
            FlowSubject::Lane(Priority::High, "0b".to_owned()),
            FlowSubject::Slot(Some("0a".to_owned()), job),
            FlowSubject::Slot(None, job),
            FlowSubject::Notice(Some("0a".to_owned()), job),
            FlowSubject::Notice(None, job),
        ];
        for pool in [PoolName::default(), "b-2".parse().unwrap()] {
            let due = names.due_filter(&pool, &queue);
            for flow in &subjects {
                let subject = names.flow_subject(&pool, &queue, flow);
                assert_eq!(names.parse_flow_subject(&subject).as_ref(), Some(flow), "{subject}");
                assert_ne!(subject.split('.').count(), 6, "{subject} would be one of the job's messages");
                assert!(
                    names.parse_child_subject(&subject).is_none()
                        && names.parse_expired_subject(&subject).is_none()
                );
                let for_owner = subject.starts_with(due.trim_end_matches('>'));
                assert_eq!(for_owner, matches!(flow, FlowSubject::Notice(..)), "{subject}");
            }
        }
    }
}
