//! The attempts that run, so that they can be told to stop.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use windlass_broker::cancel::Mark;
use windlass_core::{JobId, QueueName};

use super::context::{Context, Reason};

/// A mark may be heard before its attempt is registered: so many are remembered.
const EARLY_MARKS: usize = 256;

/// A job with its holder's token, or with its work message: a job may be claimed anew by its own worker, and wait for
/// its next attempt before the last one is dealt with.
type Key = (QueueName, JobId, u64);

/// All of one worker.
#[derive(Debug, Default)]
pub(crate) struct Running {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    by_token: HashMap<Key, Context>,
    /// Work messages of jobs that run, or have run and are being settled.
    had: HashSet<Key>,
    /// Marks of tokens that nobody holds here, with what they ask for; the oldest is forgotten first.
    early: VecDeque<(Key, Reason)>,
}

/// What this worker does with a job that it has.
#[derive(Debug)]
pub(crate) enum Doing {
    /// Its handler runs.
    Running(Context),
    /// Its attempt has ended, and its record is being written.
    Settling,
}

/// This worker has the job until this is dropped.
#[derive(Debug)]
pub(crate) struct Had<'a> {
    running: &'a Running,
    key: Key,
}

/// Registered until dropped.
#[derive(Debug)]
pub(crate) struct Registration<'a> {
    running: &'a Running,
    context: Context,
    /// An attempt that saves checkpoints has one token after the other. A mark may name any of them.
    tokens: Vec<u64>,
}

/// So many tokens of one attempt are known: whoever marks one has just read it.
const TOKENS: usize = 4;

// === impl Running ===

impl Running {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // It is whole between calls, whoever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn register(&self, token: u64, context: &Context) -> Registration<'_> {
        let mut registration =
            Registration { running: self, context: context.clone(), tokens: Vec::with_capacity(1) };
        registration.add(token);
        registration
    }

    /// What this worker does with a job by this work message, if it has it.
    pub(crate) fn doing(&self, queue: &QueueName, job_id: JobId, work: u64) -> Option<Doing> {
        let state = self.lock();
        // Most are not: nothing is searched for them.
        if !state.had.contains(&(queue.clone(), job_id, work)) {
            return None;
        }
        let mut attempts = state.by_token.iter().filter(|((q, id, _), _)| q == queue && *id == job_id);
        Some(attempts.next().map_or(Doing::Settling, |(_, context)| Doing::Running(context.clone())))
    }

    /// From before its handler is called until its record is written.
    pub(crate) fn have(&self, queue: &QueueName, job_id: JobId, work: u64) -> Had<'_> {
        let key = (queue.clone(), job_id, work);
        self.lock().had.insert(key.clone());
        Had { running: self, key }
    }

    /// How many attempts run.
    pub(crate) fn count(&self) -> usize {
        self.contexts().len()
    }

    /// The attempts that run.
    pub(crate) fn contexts(&self) -> Vec<Context> {
        let mut jobs = std::collections::HashSet::new();
        let state = self.lock();
        let first = state.by_token.iter().filter(|((queue, id, _), _)| jobs.insert((queue, *id)));
        first.map(|(_, context)| context.clone()).collect()
    }

    /// The jobs that run, with their tokens.
    pub(crate) fn all(&self) -> Vec<Key> {
        self.lock().by_token.keys().cloned().collect()
    }

    /// Tells the holder of the marked token that its job was cancelled, or is to be handed back.
    pub(crate) fn obey(&self, queue: &QueueName, mark: &Mark) {
        let job_id = mark.job_id;
        let key = (queue.clone(), job_id, mark.token);
        let words = mark.reason.clone();
        let reason = if mark.hand_back { Reason::Recalled(words) } else { Reason::Cancelled(words) };
        let mut state = self.lock();
        if let Some(context) = state.by_token.get(&key) {
            tracing::info!(%job_id, reason = mark.reason, hand_back = mark.hand_back, "stopping the running attempt");
            context.cancel(reason);
            return;
        }
        if state.early.len() >= EARLY_MARKS {
            state.early.pop_front();
        }
        state.early.push_back((key, reason));
    }
}

impl Drop for Had<'_> {
    fn drop(&mut self) {
        self.running.lock().had.remove(&self.key);
    }
}

// === impl Registration ===

impl Registration<'_> {
    fn key(&self, token: u64) -> Key {
        (self.context.queue().clone(), self.context.job_id(), token)
    }

    /// Another token of the same attempt.
    pub(crate) fn add(&mut self, token: u64) {
        let key = self.key(token);
        let mut state = self.running.lock();
        if self.tokens.len() == TOKENS {
            let oldest = self.tokens.remove(0);
            let oldest = self.key(oldest);
            state.by_token.remove(&oldest);
        }
        self.tokens.push(token);
        state.by_token.insert(key.clone(), self.context.clone());
        if let Some(place) = state.early.iter().position(|(early, _)| *early == key)
            && let Some((_, reason)) = state.early.remove(place)
        {
            self.context.cancel(reason);
        }
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        let mut state = self.running.lock();
        for token in &self.tokens {
            state.by_token.remove(&self.key(*token));
        }
    }
}
