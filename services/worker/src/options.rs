//! The section `[worker]` of the configuration.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass::QueueName;
use windlass::RetryPolicy;
use windlass::core::PoolName;
use windlass::core::retry::{InvalidPolicy, Parts};
use windlass_service::config::check_duration;
use windlass_service::{Layout, Problems, Validate};

use crate::kinds::{command_run, http_request};

/// What a worker can be told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The pool whose stream it reads; the layout says which queues belong to it.
    pub pool: PoolName,
    /// The queues that it serves. All workers of a queue serve the same kinds.
    pub queues: Vec<QueueName>,
    /// How many attempts run at a time, for each queue: 1 to 10000.
    pub slots: usize,
    /// The time allowed for one attempt, where the task brings none: 1s to 1d.
    #[serde(with = "humantime_serde")]
    pub attempt_timeout: Duration,
    /// How long an attempt may go on once it was told to stop, before it is aborted: 100ms to 1h. In a drain at most a
    /// third of `drain.timeout`.
    #[serde(with = "humantime_serde")]
    pub cancel_grace: Duration,
    /// For tasks that bring no policy.
    pub retry: Parts,
    /// How long a job of a kind that this worker does not know is handed on, before it is dead: 1s to 1d.
    #[serde(with = "humantime_serde")]
    pub unknown_kind_patience: Duration,
    /// Threads that handlers run on, apart from those that keep leases: 1 to 1024; as many as there are cores, if absent.
    pub handler_threads: Option<usize>,
    /// How long a job that is to run alone in the process waits for its neighbours, before it is handed on: 1s to 1d.
    #[serde(with = "humantime_serde")]
    pub isolation_wait: Duration,
    /// The largest payload that an attempt takes into memory, in bytes: 1 to 1 GiB.
    pub max_payload_bytes: usize,
    /// The largest result, in bytes: 1 to 1 GiB. What is larger than 64 KiB goes to Object Store.
    pub max_result_bytes: usize,
    /// Of the kind `command.run`.
    pub command: command_run::Settings,
    /// Of the kind `http.request`.
    pub http: http_request::Settings,
}

// === impl Options ===

impl Options {
    /// The policy of tasks that bring none.
    pub(crate) fn retry_policy(&self) -> Result<RetryPolicy, InvalidPolicy> {
        self.retry.clone().try_into()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pool: PoolName::default(),
            queues: vec![QueueName::default()],
            slots: 16,
            attempt_timeout: Duration::from_mins(5),
            cancel_grace: Duration::from_secs(5),
            retry: Parts::default(),
            unknown_kind_patience: Duration::from_mins(10),
            handler_threads: None,
            isolation_wait: Duration::from_mins(1),
            max_payload_bytes: 64 << 20,
            max_result_bytes: 16 << 20,
            command: command_run::Settings::default(),
            http: http_request::Settings::default(),
        }
    }
}

impl Validate for Options {
    /// A queue of another pool has no consumer on this one's stream, and never will.
    fn validate_in(&self, layout: &Layout, problems: &mut Problems) {
        for queue in self.queues.iter().filter(|queue| layout.pool_of(queue) != self.pool) {
            let (owner, own) = (layout.pool_of(queue), &self.pool);
            problems.add(
                "queues",
                format!("`{queue}` belongs to the pool `{owner}` by the layout, not to `{own}`"),
            );
        }
    }

    fn validate(&self, problems: &mut Problems) {
        if self.queues.is_empty() {
            problems.add("queues", "is empty: expected at least one queue");
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.queues.iter().find(|queue| !seen.insert(*queue)) {
            problems.add("queues", format!("has `{twice}` twice"));
        }
        if !(1..=10_000).contains(&self.slots) {
            problems.add("slots", format!("{} is out of range: expected 1 to 10000", self.slots));
        }
        for (key, bytes) in
            [("max_payload_bytes", self.max_payload_bytes), ("max_result_bytes", self.max_result_bytes)]
        {
            if !(1..=1 << 30).contains(&bytes) {
                problems.add(key, format!("{bytes} is out of range: expected 1 to {}", 1 << 30));
            }
        }
        let (second, day) = (Duration::from_secs(1), Duration::from_hours(24));
        check_duration(problems, "attempt_timeout", self.attempt_timeout, second, day);
        let (least, most) = (Duration::from_millis(100), Duration::from_hours(1));
        check_duration(problems, "cancel_grace", self.cancel_grace, least, most);
        check_duration(problems, "unknown_kind_patience", self.unknown_kind_patience, second, day);
        check_duration(problems, "isolation_wait", self.isolation_wait, second, day);
        if let Some(threads) = self.handler_threads.filter(|threads| !(1..=1024).contains(threads)) {
            problems.add("handler_threads", format!("{threads} is out of range: expected 1 to 1024"));
        }
        if let Err(error) = self.retry_policy() {
            problems.add("retry", error);
        }
        problems.within("command", |problems| {
            self.command.validate(problems);
            if self.command.kill_grace >= self.cancel_grace {
                problems.add("kill_grace", "is too long: expected less than worker.cancel_grace");
            }
        });
        problems.within("http", |problems| self.http.validate(problems));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(change: impl FnOnce(&mut Options)) -> Vec<String> {
        let mut options = Options::default();
        change(&mut options);
        let mut problems = Problems::default();
        options.validate(&mut problems);
        problems.iter().map(|problem| problem.key.clone()).collect()
    }

    #[test]
    fn each_rule_names_its_key() {
        let check = |change: fn(&mut Options), key: &str| assert_eq!(problems_of(change), [key]);
        assert_eq!(problems_of(|_| {}), [""; 0]);
        check(|o| o.queues.clear(), "queues");
        check(|o| o.queues.push(QueueName::default()), "queues");
        check(|o| o.slots = 0, "slots");
        check(|o| o.slots = 10_001, "slots");
        check(|o| o.max_payload_bytes = 0, "max_payload_bytes");
        check(|o| o.max_result_bytes = (1 << 30) + 1, "max_result_bytes");
        check(|o| o.attempt_timeout = Duration::from_millis(999), "attempt_timeout");
        check(|o| o.unknown_kind_patience = Duration::ZERO, "unknown_kind_patience");
        check(|o| o.retry.max_attempts = 0, "retry");
        check(|o| o.command.kill_grace = Duration::from_secs(5), "command.kill_grace");
        check(|o| o.command.output_limit_bytes = 30 * 1024 + 1, "command.output_limit_bytes");
        check(|o| o.command.environment.push("A=B".to_owned()), "command.environment");
        check(|o| o.command.task_environment.push(String::new()), "command.task_environment");
        check(|o| o.command.allow.push(String::new()), "command.allow");
        check(|o| o.http.timeout = Duration::ZERO, "http.timeout");
        check(|o| o.http.body_limit_bytes = 30 * 1024 + 1, "http.body_limit_bytes");
        check(|o| o.http.max_redirects = 21, "http.max_redirects");
        check(|o| o.http.retry_after_limit = Duration::MAX, "http.retry_after_limit");
        check(|o| o.http.allow_hosts.push("a b".to_owned()), "http.allow_hosts");
        let both = problems_of(|o| o.cancel_grace = Duration::ZERO);
        assert_eq!(both, ["cancel_grace", "command.kill_grace"]);
    }

    #[test]
    fn reads_back_and_knows_its_keys() {
        let text = serde_json::to_string(&Options::default()).unwrap();
        assert_eq!(serde_json::from_str::<Options>(&text).unwrap(), Options::default());
        for bad in [r#"{"slot": 1}"#, r#"{"command": {"alow": []}}"#, r#"{"http": {"hosts": []}}"#] {
            assert!(serde_json::from_str::<Options>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn queues_of_other_pools_are_refused() {
        let mut layout = Layout::default();
        layout.pools.insert("billing".parse().unwrap(), vec!["invoices".parse().unwrap()]);
        let check = |pool: &str, queue: &str, good: bool| {
            let options = Options {
                pool: pool.parse().unwrap(),
                queues: vec![queue.parse().unwrap()],
                ..Options::default()
            };
            let mut problems = Problems::default();
            options.validate_in(&layout, &mut problems);
            assert_eq!(problems.is_empty(), good, "{pool} {queue}");
        };
        check("default", "anything", true);
        check("billing", "invoices", true);
        check("default", "invoices", false);
        check("billing", "default", false);
    }
}
