//! What fires beside the rule's instants: what waits for a job to end, and what was asked for by hand.

use super::super::Wish;
use super::super::cursor::{Cause, Followed, Progress, What};
use super::{Planner, Step, age};

/// Of a backfill, in one step.
const BACKFILL_STEP: usize = 64;

impl<P> Planner<'_, P> {
    /// The first that waits and may fire: whoever was asked for by hand, or the next of its rule if nothing is live.
    pub(super) fn waiting_fires(&mut self) -> Option<Step> {
        let may_fire = self.cursor.followed.is_empty() && !self.schedule.is_paused(self.now);
        let place = self
            .cursor
            .waiting
            .iter()
            .position(|waiting| waiting.cause == Cause::Trigger || waiting.since.is_some() || may_fire)?;
        let waiting = self.cursor.waiting[place];
        let since = waiting.since.unwrap_or(self.now);
        if age(self.now, since) > self.catch_up.in_doubt_limit {
            self.cursor.waiting.remove(place);
            self.cursor.miss(waiting.instant, self.now);
            self.more = true;
            return Some(self.only_before());
        }
        self.cursor.waiting[place].since = Some(since);
        let before = self.cursor.clone();
        let due_at = if waiting.cause == Cause::Trigger { waiting.instant } else { self.now };
        let fire = self.fire(waiting.instant, due_at, waiting.cause);
        self.cursor.waiting.remove(place);
        self.fired(&fire);
        let after = Some(self.cursor.clone());
        Some(Step { before: Some(before), fire: vec![fire], after, more: true, ..Step::default() })
    }

    /// The next instants of a backfill, as many as may be live at one time.
    pub(super) fn backfill_fires(&mut self) -> Option<Step> {
        let progress = self.cursor.backfill.clone()?;
        let request = self.schedule.requests.iter().find_map(|request| match &request.wish {
            Wish::Backfill(wish) if request.at == progress.requested_at => Some(wish),
            _ => None,
        });
        // It was withdrawn, or all of it is done.
        let Some(wish) = request.filter(|wish| progress.done < wish.instants.len()) else {
            if request.is_none() || progress.live.is_empty() {
                self.cursor.backfill = None;
                self.more = true;
                return Some(self.only_before());
            }
            return None;
        };
        let room = wish.concurrency.saturating_sub(progress.live.len()).min(BACKFILL_STEP);
        let until =
            progress.in_doubt.map_or(progress.done + room, |(until, _)| until).min(wish.instants.len());
        if until == progress.done {
            return None;
        }
        let since = progress.in_doubt.map_or(self.now, |(_, since)| since);
        let part = wish.instants.get(progress.done..until).unwrap_or_default();
        let mut next = Progress { done: until, in_doubt: None, ..progress.clone() };
        if age(self.now, since) > self.catch_up.in_doubt_limit {
            for instant in part {
                self.cursor.miss(*instant, self.now);
            }
            self.cursor.backfill = Some(next);
            self.more = true;
            return Some(self.only_before());
        }
        let cause = Cause::Backfill { requested_at: progress.requested_at, again: wish.again };
        let fire: Vec<_> = part.iter().map(|instant| self.fire(*instant, self.now, cause)).collect();
        self.cursor.backfill = Some(Progress { in_doubt: Some((until, since)), ..progress });
        let before = Some(self.cursor.clone());
        for fire in &fire {
            next.live.push(Followed { job_id: fire.job_id, task_sequence: 0 });
            self.cursor.remember(fire.instant, self.now, What::Fired(cause));
        }
        self.cursor.backfill = Some(next);
        Some(Step { before, fire, after: Some(self.cursor.clone()), more: true, ..Step::default() })
    }
}
