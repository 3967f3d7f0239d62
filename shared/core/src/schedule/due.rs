//! What to do now: from a schedule, its cursor, what became of its jobs and the time, what to store and to publish.
//!
//! A step first stores `before`, then publishes, then stores `after`. So whoever comes to the cursor after a crash
//! finds either what is still to be decided, or what may have been published, and since when.

mod asked;

use std::time::Duration;

use jiff::Timestamp;

use super::cursor::{Cause, Cursor, Fate, InDoubt, Progress, Waiting, What};
use super::{Error, Misfire, Overlap, Schedule, Wish};
use crate::JobId;

/// What every schedule of a fleet does about time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatchUp {
    grace: Duration,
    in_doubt_limit: Duration,
}

/// A job to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fire {
    /// Of which instant.
    pub instant: Timestamp,
    /// When that was to be: the instant with its jitter.
    pub due_at: Timestamp,
    /// Why.
    pub cause: Cause,
    /// The job, the same each time.
    pub job_id: JobId,
}

/// What to do now, in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// A job has failed: pause the schedule for it.
    pub failed: Option<JobId>,
    /// Cancel these jobs.
    pub cancel: Vec<JobId>,
    /// Store this cursor.
    pub before: Option<Cursor>,
    /// Publish these.
    pub fire: Vec<Fire>,
    /// Store this cursor.
    pub after: Option<Cursor>,
    /// Then ask again at once.
    pub more: bool,
}

/// What is known of jobs.
pub type Fates<'a> = &'a dyn Fn(JobId) -> Fate;

/// What becomes of an instant that has come.
enum Verdict {
    Miss,
    Fire(Timestamp),
    /// Not yet.
    Later,
}

/// A step in the making.
struct Planner<'s, P> {
    schedule: &'s Schedule<P>,
    catch_up: &'s CatchUp,
    now: Timestamp,
    original: Option<&'s Cursor>,
    cursor: Cursor,
    cancel: Vec<JobId>,
    fires: Vec<Fire>,
    since: Option<InDoubt>,
    more: bool,
}

// === impl CatchUp ===

impl CatchUp {
    /// `grace`: how late an instant may be and still count as on time, at most an hour.
    ///
    /// `in_doubt_limit`: for how long a fire in doubt is tried again. It must be well under the time for which the
    /// broker remembers a job that has ended.
    pub fn new(grace: Duration, in_doubt_limit: Duration) -> Result<Self, Error> {
        if grace > Duration::from_hours(1) {
            return Err(Error::new("grace", &format!("{grace:?}"), "at most 1h"));
        }
        if in_doubt_limit.is_zero() {
            return Err(Error::new("in_doubt_limit", &format!("{in_doubt_limit:?}"), "more than 0s"));
        }
        Ok(Self { grace, in_doubt_limit })
    }
}

impl Default for CatchUp {
    fn default() -> Self {
        Self { grace: Duration::from_mins(1), in_doubt_limit: Duration::from_mins(5) }
    }
}

fn age(now: Timestamp, instant: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(instant)).unwrap_or_default()
}

/// Looks at no more than `limit` instants (at least one), so that the work of one step is bounded after any downtime.
pub(super) fn decide<P>(
    schedule: &Schedule<P>,
    cursor: Option<&Cursor>,
    fates: Fates<'_>,
    now: Timestamp,
    catch_up: &CatchUp,
    limit: usize,
) -> Step {
    let mut planner = Planner {
        schedule,
        catch_up,
        now,
        original: cursor,
        cursor: cursor.cloned().unwrap_or_else(|| Cursor::at(schedule.created_at)),
        cancel: Vec::new(),
        fires: Vec::new(),
        since: None,
        more: false,
    };
    if let Some(failed) = planner.look_at_jobs(fates) {
        return Step { failed: Some(failed), ..planner.only_before() };
    }
    planner.take_up_requests();
    if let Some(step) = planner.waiting_fires().or_else(|| planner.backfill_fires()) {
        return step;
    }
    if !schedule.is_paused(now) {
        planner.instants(limit.max(1));
    }
    planner.finish()
}

// === impl Planner ===

impl<P> Planner<'_, P> {
    /// Jobs that have ended are followed no more. Gives the one for which the schedule is to be paused.
    fn look_at_jobs(&mut self, fates: Fates<'_>) -> Option<JobId> {
        let mut failed = None;
        self.cursor.followed.retain(|job| {
            let fate = fates(job.job_id);
            if fate == Fate::Failed {
                failed = Some(job.job_id);
            }
            fate == Fate::Live
        });
        if let Some(progress) = &mut self.cursor.backfill {
            progress.live.retain(|job| fates(job.job_id) == Fate::Live);
        }
        failed.filter(|_| self.schedule.policy.pause_on_failure)
    }

    fn take_up_requests(&mut self) {
        for request in &self.schedule.requests {
            if self.cursor.requests_through.is_some_and(|through| request.at <= through) {
                continue;
            }
            match &request.wish {
                Wish::Trigger => {
                    self.cursor.waiting.push(Waiting {
                        instant: request.at,
                        cause: Cause::Trigger,
                        since: None,
                    });
                }
                // One at a time.
                Wish::Backfill(_) if self.cursor.backfill.is_some() => break,
                Wish::Backfill(_) => {
                    let (requested_at, live) = (request.at, Vec::new());
                    self.cursor.backfill = Some(Progress { requested_at, done: 0, in_doubt: None, live });
                }
            }
            self.cursor.requests_through = Some(request.at);
        }
    }

    fn fire(&self, instant: Timestamp, due_at: Timestamp, cause: Cause) -> Fire {
        let job_id = cause.job_id(&self.schedule.id, instant);
        Fire { instant, due_at, cause, job_id }
    }

    fn fired(&mut self, fire: &Fire) {
        self.cursor.remember(fire.instant, self.now, What::Fired(fire.cause));
        if self.schedule.policy.follows_jobs() {
            self.cursor.follow(fire.job_id);
        }
        if fire.cause == Cause::Rule {
            self.cursor.fires = self.cursor.fires.saturating_add(1);
        }
    }

    /// The instants that have come.
    fn instants(&mut self, limit: usize) {
        let schedule = self.schedule;
        let mut pending = schedule.spec.next_after(schedule.start(self.original, self.now));
        let mut looked = 0;
        while let Some(instant) = pending {
            let due_at = schedule.fires_at(instant);
            if due_at > self.now || self.is_exhausted() {
                self.cursor.late_through = None;
                return;
            }
            if looked == limit {
                break;
            }
            looked += 1;
            pending = schedule.spec.next_after(instant);
            let goes_on = match self.verdict(instant, due_at, pending) {
                Verdict::Later => return,
                Verdict::Miss if self.fires.is_empty() => {
                    self.cursor.last_instant = instant;
                    self.cursor.miss(instant, self.now);
                    true
                }
                Verdict::Fire(since) => self.comes(instant, due_at, since),
                // A step of its own.
                Verdict::Miss => false,
            };
            if !goes_on {
                break;
            }
        }
        self.more = pending.is_some() || looked == limit || !self.fires.is_empty();
    }

    fn is_exhausted(&self) -> bool {
        let planned = self.cursor.fires.saturating_add(self.fires.len() as u64);
        self.schedule.policy.limit.is_some_and(|limit| planned >= limit)
    }

    fn verdict(&mut self, instant: Timestamp, due_at: Timestamp, next: Option<Timestamp>) -> Verdict {
        let policy = &self.schedule.policy;
        if let Some(doubt) = self.cursor.in_doubt.filter(|doubt| instant <= doubt.through) {
            let is_over = age(self.now, doubt.since) > self.catch_up.in_doubt_limit;
            return if is_over { Verdict::Miss } else { Verdict::Fire(doubt.since) };
        }
        let was_late = |through: Option<Timestamp>| through.is_some_and(|through| due_at <= through);
        if !was_late(self.cursor.late_through) && age(self.now, due_at) > self.catch_up.grace {
            self.cursor.late_through = Some(self.now);
        }
        // Of all, because those that come meanwhile wait behind the late ones.
        let too_soon = self.cursor.paced_at.is_some_and(|at| age(self.now, at) < policy.pace);
        let must_wait = policy.misfire == Misfire::Paced && (too_soon || !self.fires.is_empty());
        let fire = if must_wait { Verdict::Later } else { Verdict::Fire(self.now) };
        let Some(through) = self.cursor.late_through.filter(|through| due_at <= *through) else {
            return fire;
        };
        let too_old = age(through, due_at) > policy.catch_up_window;
        let is_last = next.is_none_or(|next| self.schedule.fires_at(next) > through);
        match policy.misfire {
            _ if too_old => Verdict::Miss,
            Misfire::Skip => Verdict::Miss,
            Misfire::Latest if !is_last => Verdict::Miss,
            Misfire::Latest | Misfire::All | Misfire::Paced => fire,
        }
    }

    /// An instant is to fire, as far as its time is concerned. False: it needs a step of its own.
    fn comes(&mut self, instant: Timestamp, due_at: Timestamp, since: Timestamp) -> bool {
        let overlap = self.schedule.policy.overlap;
        let is_in_doubt = self.cursor.in_doubt.is_some_and(|doubt| instant <= doubt.through);
        if overlap != Overlap::AllowAll && !self.fires.is_empty() {
            return false;
        }
        let is_alone = self.cursor.followed.is_empty() && self.cursor.waiting.is_empty();
        let is_live = !is_in_doubt && !is_alone;
        match overlap {
            Overlap::AllowAll => {}
            _ if !is_live => {}
            Overlap::TerminateOther => self.cancel_live(),
            Overlap::Skip => {
                self.cursor.last_instant = instant;
                self.cursor.skip(instant, self.now);
                return true;
            }
            Overlap::BufferOne | Overlap::BufferAll | Overlap::CancelOther => {
                self.cursor.last_instant = instant;
                self.buffer(instant);
                return true;
            }
        }
        if self.since.is_some_and(|doubt| doubt.since != since) {
            return false;
        }
        let old = self.cursor.in_doubt.filter(|_| is_in_doubt);
        let through = old.map_or(instant, |doubt| doubt.through.max(instant));
        self.since = Some(InDoubt { through, since });
        self.fires.push(self.fire(instant, due_at, Cause::Rule));
        true
    }

    fn cancel_live(&mut self) {
        for job in &self.cursor.followed {
            if !self.cancel.contains(&job.job_id) {
                self.cancel.push(job.job_id);
            }
        }
    }

    fn buffer(&mut self, instant: Timestamp) {
        let waiting = Waiting { instant, cause: Cause::Rule, since: None };
        let of_rule = self.cursor.waiting.iter().filter(|waiting| waiting.cause == Cause::Rule).count();
        match self.schedule.policy.overlap {
            Overlap::CancelOther => {
                self.cancel_live();
                let is_replaced = |w: &Waiting| w.cause == Cause::Rule && w.since.is_none();
                let replaced: Vec<_> = self.cursor.waiting.iter().copied().filter(is_replaced).collect();
                self.cursor.waiting.retain(|waiting| !is_replaced(waiting));
                for waiting in replaced {
                    self.cursor.skip(waiting.instant, self.now);
                }
                self.cursor.waiting.push(waiting);
            }
            Overlap::BufferAll if of_rule < Cursor::MOST_WAITING => self.cursor.waiting.push(waiting),
            _ if of_rule == 0 => self.cursor.waiting.push(waiting),
            _ => self.cursor.skip(instant, self.now),
        }
    }

    fn changed(&self) -> Option<Cursor> {
        // That nothing is late any more needs no write of its own.
        let same = self.original.is_some_and(|original| {
            *original == Cursor { late_through: original.late_through, ..self.cursor.clone() }
        });
        let nothing = Cursor::at(self.schedule.created_at);
        let new = self.original.is_none() && self.cursor != nothing;
        (new || (self.original.is_some() && !same)).then(|| self.cursor.clone())
    }

    fn only_before(&mut self) -> Step {
        let done = self.cursor.last_instant;
        self.cursor.in_doubt = self.cursor.in_doubt.filter(|doubt| doubt.through > done);
        let cancel = std::mem::take(&mut self.cancel);
        Step { before: self.changed(), cancel, more: self.more, ..Step::default() }
    }

    fn finish(mut self) -> Step {
        let Some(last) = self.fires.last().copied() else { return self.only_before() };
        self.cursor.in_doubt = self.since.or(self.cursor.in_doubt);
        let before = self.cursor.clone();
        for fire in std::mem::take(&mut self.fires) {
            self.fired(&fire);
            self.fires.push(fire);
        }
        self.cursor.last_instant = last.instant;
        self.cursor.in_doubt = before.in_doubt.filter(|doubt| doubt.through > last.instant);
        if self.schedule.policy.misfire == Misfire::Paced {
            self.cursor.paced_at = Some(self.now);
        }
        let after = Some(self.cursor);
        Step {
            failed: None,
            cancel: self.cancel,
            before: Some(before),
            fire: self.fires,
            after,
            more: self.more,
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
