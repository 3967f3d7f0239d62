//! After a change of a queue's settings, and where an owner begins: what waits already is looked at, a part at a time,
//! until all of it goes by the settings.
//!
//! Each part is looked at on its own and changes only what does not go by the settings, so a sweep may stop anywhere
//! and begin again. What enters meanwhile goes by them: but other dispatchers may hear of a change a moment later, so
//! where a queue was not controlled before, it is swept once more after that moment.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use windlass_broker::flow::{Flow, Reading};
use windlass_broker::names::Line;
use windlass_core::flow::Applied;

use super::Failure;
use super::decide::belongs;
use super::decision::Decision;
use super::owner::Owner;

/// Places that are looked at together.
const PLACES: usize = 256;
/// Between two parts, at least.
const PACE: Duration = Duration::from_millis(5);
/// As often as a part takes, so long nothing is looked at: what is let go goes on meanwhile.
const REST: u32 = 2;
/// Every dispatcher has heard of a change by then.
const HEARD_AFTER: Duration = Duration::from_millis(1500);
/// Between two words about how far it is.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// What is still to be looked at.
#[derive(Debug, Clone)]
pub(super) struct Sweep {
    revision: u64,
    part: Part,
    /// How far its messages have been read.
    reading: Reading,
    began: Instant,
    /// Before the next part.
    resume_at: Instant,
    /// Whether it is told how far it is: of a change, and not of an owner that goes on where another stopped.
    told: Option<Instant>,
    /// The queue was not controlled before.
    anew: bool,
    seen: u64,
    moved: u64,
}

/// What is looked at, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// What workers are to be given.
    Ready,
    /// What they have.
    Running,
    /// What waits for its time.
    Delayed,
    /// Lines of keys.
    Keys,
    /// Lines of the queue.
    Turns,
    /// Lines of what is paused.
    Kinds,
    /// Until every dispatcher has heard of the change.
    Wait,
}

// === impl Sweep ===

impl Sweep {
    /// For settings of this revision, as far as is left of it.
    pub(super) async fn begin(flow: &Flow, revision: u64) -> Result<Self, Failure> {
        let applied = flow.applied().await?;
        if applied.as_ref().is_some_and(|applied| applied.done && applied.revision == revision) {
            return Ok(Self::of_lines(revision));
        }
        let anew = !applied.is_some_and(|applied| applied.done && applied.controlled);
        let told = Instant::now().checked_sub(TELL_EVERY);
        Ok(Self { part: Part::Ready, told, anew, ..Self::of_lines(revision) })
    }

    /// Of lines of which nobody may tell, as their time has come while nobody looked. Whoever is first in a line of the
    /// queue is looked at anyway.
    pub(super) fn of_lines(revision: u64) -> Self {
        Self {
            revision,
            part: Part::Keys,
            reading: Reading::default(),
            began: Instant::now(),
            resume_at: Instant::now(),
            told: None,
            anew: false,
            seen: 0,
            moved: 0,
        }
    }

    /// Before the next part.
    pub(super) fn pause(&self) -> Duration {
        match self.part {
            Part::Wait => HEARD_AFTER.saturating_sub(self.began.elapsed()),
            _ => self.resume_at.saturating_duration_since(Instant::now()),
        }
    }

    /// What was looked at has no more: on to the next part; false after the last.
    fn advance(&mut self) -> bool {
        self.reading = Reading::default();
        self.part = match self.part {
            Part::Ready => Part::Running,
            Part::Running => Part::Delayed,
            Part::Delayed => Part::Keys,
            Part::Keys if self.told.is_some() => Part::Turns,
            Part::Keys | Part::Turns => Part::Kinds,
            Part::Kinds if self.anew => Part::Wait,
            Part::Kinds => return false,
            Part::Wait => {
                self.anew = false;
                Part::Ready
            }
        };
        true
    }
}

/// Looks at the next part: which keys are to be looked at is added to `look`; what is returned is to be written.
pub(super) async fn step(owner: &mut Owner, look: &mut BTreeSet<String>) -> Result<Vec<Decision>, Failure> {
    let begun = Instant::now();
    let Some(mut sweep) = owner.sweep.take_if(|sweep| sweep.resume_at <= begun) else {
        return Ok(Vec::new());
    };
    let mut returned = Vec::new();
    let controlled = owner.settings.is_controlled();
    let more = match sweep.part {
        Part::Ready if controlled => {
            let done = owner.recall_ready(&mut sweep.reading).await?;
            sweep.seen += done.seen;
            sweep.moved += done.moved;
            done.more
        }
        Part::Running if owner.settings.pauses().any(|pause| pause.hand_back) => {
            let done = owner.hand_back(&mut sweep.reading).await?;
            sweep.seen += done.seen;
            sweep.moved += done.moved;
            done.more
        }
        Part::Delayed if controlled && sweep.told.is_some() => {
            let done = owner.recall_delayed(&mut sweep.reading).await?;
            sweep.seen += done.seen;
            sweep.moved += done.moved;
            done.more
        }
        Part::Keys => lines(owner, &mut sweep, "key", look, &mut returned).await?,
        Part::Turns => lines(owner, &mut sweep, "turn", look, &mut returned).await?,
        Part::Kinds => lines(owner, &mut sweep, "kind", look, &mut returned).await?,
        Part::Wait => sweep.began.elapsed() < HEARD_AFTER,
        Part::Ready | Part::Running | Part::Delayed => false,
    };
    let goes_on = more || sweep.advance();
    tell(owner, &mut sweep, !goes_on, controlled).await?;
    sweep.resume_at = Instant::now() + PACE.max(begun.elapsed() * REST);
    owner.sweep = goes_on.then_some(sweep);
    Ok(returned)
}

/// Looks at a page of the lines of this sort; whether there are more.
async fn lines(
    owner: &Owner,
    sweep: &mut Sweep,
    sort: &'static str,
    look: &mut BTreeSet<String>,
    returned: &mut Vec<Decision>,
) -> Result<bool, Failure> {
    let (places, more) = owner.flow.all_in_line(sort, &mut sweep.reading, PLACES).await?;
    sweep.seen += places.len() as u64;
    for place in places {
        let stays = match &place.line {
            line if line.is_of_stopped_key() => {
                let key = place.key.as_ref().map(ToString::to_string).unwrap_or_default();
                owner.settings.paused_keys.contains_key(&key)
            }
            Line::Kind(_) => owner.settings.paused_kinds.contains_key(&place.kind),
            Line::Key(_) | Line::Turn(_) => belongs(&owner.settings, &place),
        };
        if !stays {
            sweep.moved += 1;
            returned.extend(Decision::returned(owner, place).await?);
        } else if let Line::Key(key) = place.line {
            look.insert(key);
        }
    }
    Ok(more)
}

/// Says how far it is, now and then and at the end.
async fn tell(owner: &Owner, sweep: &mut Sweep, done: bool, controlled: bool) -> Result<(), Failure> {
    let Some(last) = sweep.told.filter(|last| done || last.elapsed() >= TELL_EVERY) else { return Ok(()) };
    let looking_at = match sweep.part {
        _ if done => "",
        Part::Ready => "ready",
        Part::Running => "running",
        Part::Delayed => "delayed",
        Part::Keys => "keys",
        Part::Turns => "turns",
        Part::Kinds => "kinds",
        Part::Wait => "dispatchers",
    };
    let applied = Applied {
        revision: sweep.revision,
        done,
        controlled,
        looking_at: looking_at.to_owned(),
        seen: sweep.seen,
        moved: sweep.moved,
        dispatcher: owner.instance.clone(),
        at: owner.shared.broker.now(),
    };
    if !owner.flow.say_applied(owner.epoch, &applied).await? {
        return Err(Failure::Lost);
    }
    if done {
        let (queue, revision, seen, moved) = (owner.flow.queue(), sweep.revision, sweep.seen, sweep.moved);
        tracing::info!(%queue, revision, seen, moved, took = ?sweep.began.elapsed(), "settings are in force for all that waits");
    }
    sweep.told = Some(if last.elapsed() >= TELL_EVERY { Instant::now() } else { last });
    Ok(())
}
