//! How far a schedule has come.

use windlass_core::schedule::{Cause, Cursor, Followed, InDoubt, Past, Progress, Waiting, What};

use crate::{Error, time, v1};

impl From<&Cursor> for v1::Cursor {
    fn from(cursor: &Cursor) -> Self {
        Self {
            last_instant: Some(time::to_wire(cursor.last_instant)),
            misfires: cursor.misfires,
            in_doubt_through: cursor.in_doubt.map(|doubt| time::to_wire(doubt.through)),
            in_doubt_since: cursor.in_doubt.map(|doubt| time::to_wire(doubt.since)),
            fires: cursor.fires,
            skipped: cursor.skipped,
            late_through: cursor.late_through.map(time::to_wire),
            paced_at: cursor.paced_at.map(time::to_wire),
            waiting: cursor
                .waiting
                .iter()
                .map(|waiting| v1::WaitingFire {
                    instant: Some(time::to_wire(waiting.instant)),
                    trigger: waiting.cause == Cause::Trigger,
                    since: waiting.since.map(time::to_wire),
                })
                .collect(),
            followed: cursor.followed.iter().map(followed_to_wire).collect(),
            requests_through: cursor.requests_through.map(time::to_wire),
            backfill: cursor.backfill.as_ref().map(|progress| v1::BackfillProgress {
                requested_at: Some(time::to_wire(progress.requested_at)),
                done: progress.done as u64,
                in_doubt_until: progress.in_doubt.map_or(0, |(until, _)| until as u64),
                in_doubt_since: progress.in_doubt.map(|(_, since)| time::to_wire(since)),
                live: progress.live.iter().map(followed_to_wire).collect(),
            }),
            recent: cursor.recent.iter().map(past_to_wire).collect(),
        }
    }
}

fn followed_to_wire(followed: &Followed) -> v1::FollowedJob {
    v1::FollowedJob { job_id: followed.job_id.to_string(), task_sequence: followed.task_sequence }
}

fn past_to_wire(past: &Past) -> v1::PastFire {
    let (what, requested_at, again) = match past.what {
        What::Fired(Cause::Rule) => (v1::past_fire::What::Fired, None, false),
        What::Fired(Cause::Trigger) => (v1::past_fire::What::Triggered, None, false),
        What::Fired(Cause::Backfill { requested_at, again }) => {
            (v1::past_fire::What::Backfilled, Some(requested_at), again)
        }
        What::Missed => (v1::past_fire::What::Missed, None, false),
        What::Skipped => (v1::past_fire::What::Skipped, None, false),
    };
    v1::PastFire {
        instant: Some(time::to_wire(past.instant)),
        at: Some(time::to_wire(past.at)),
        what: what.into(),
        count: past.count,
        requested_at: requested_at.map(time::to_wire),
        again,
    }
}

impl TryFrom<v1::Cursor> for Cursor {
    type Error = Error;

    fn try_from(wire: v1::Cursor) -> Result<Self, Error> {
        let through = time::optional("in_doubt_through", wire.in_doubt_through)?;
        Ok(Self {
            last_instant: time::required("last_instant", wire.last_instant)?,
            misfires: wire.misfires,
            in_doubt: match through {
                None => None,
                Some(through) => {
                    Some(InDoubt { through, since: time::required("in_doubt_since", wire.in_doubt_since)? })
                }
            },
            fires: wire.fires,
            skipped: wire.skipped,
            late_through: time::optional("late_through", wire.late_through)?,
            paced_at: time::optional("paced_at", wire.paced_at)?,
            waiting: wire.waiting.into_iter().map(waiting).collect::<Result<_, _>>()?,
            followed: wire.followed.iter().map(followed).collect::<Result<_, _>>()?,
            requests_through: time::optional("requests_through", wire.requests_through)?,
            backfill: wire.backfill.as_ref().map(progress).transpose()?,
            recent: wire
                .recent
                .into_iter()
                .filter_map(|wire| past(&wire).transpose())
                .collect::<Result<_, _>>()?,
        })
    }
}

fn waiting(wire: v1::WaitingFire) -> Result<Waiting, Error> {
    Ok(Waiting {
        instant: time::required("waiting.instant", wire.instant)?,
        cause: if wire.trigger { Cause::Trigger } else { Cause::Rule },
        since: time::optional("waiting.since", wire.since)?,
    })
}

fn followed(wire: &v1::FollowedJob) -> Result<Followed, Error> {
    let job_id = wire.job_id.parse().map_err(|e| Error::new("job_id", e))?;
    Ok(Followed { job_id, task_sequence: wire.task_sequence })
}

fn progress(wire: &v1::BackfillProgress) -> Result<Progress, Error> {
    let number = |number: u64| {
        usize::try_from(number).map_err(|_| Error::new("backfill", "has a number that is too large"))
    };
    let since = time::optional("backfill.in_doubt_since", wire.in_doubt_since)?;
    Ok(Progress {
        requested_at: time::required("backfill.requested_at", wire.requested_at)?,
        done: number(wire.done)?,
        in_doubt: match since {
            Some(since) => Some((number(wire.in_doubt_until)?, since)),
            None => None,
        },
        live: wire.live.iter().map(followed).collect::<Result<_, _>>()?,
    })
}

/// None: a version that is not known wrote it. It is for people.
fn past(wire: &v1::PastFire) -> Result<Option<Past>, Error> {
    let what = match wire.what() {
        v1::past_fire::What::Unspecified => return Ok(None),
        v1::past_fire::What::Fired => What::Fired(Cause::Rule),
        v1::past_fire::What::Triggered => What::Fired(Cause::Trigger),
        v1::past_fire::What::Backfilled => {
            let requested_at = time::required("recent.requested_at", wire.requested_at)?;
            What::Fired(Cause::Backfill { requested_at, again: wire.again })
        }
        v1::past_fire::What::Missed => What::Missed,
        v1::past_fire::What::Skipped => What::Skipped,
    };
    let instant = time::required("recent.instant", wire.instant)?;
    Ok(Some(Past { instant, at: time::required("recent.at", wire.at)?, what, count: wire.count }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use windlass_core::JobId;

    #[test]
    fn reads_what_it_writes() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let job_id = JobId::of_trigger(&"a".parse().unwrap(), at(1));
        let followed = vec![Followed { job_id, task_sequence: 7 }];
        let backfill = Cause::Backfill { requested_at: at(3), again: true };
        let pasts = [Cause::Rule, Cause::Trigger, backfill].map(What::Fired).into_iter();
        let pasts = pasts.chain([What::Missed, What::Skipped]);
        let full = Cursor {
            misfires: 3,
            fires: 9,
            skipped: 2,
            in_doubt: Some(InDoubt { through: at(9), since: at(10) }),
            late_through: Some(at(11)),
            paced_at: Some(at(12)),
            waiting: vec![
                Waiting { instant: at(13), cause: Cause::Rule, since: None },
                Waiting { instant: at(14), cause: Cause::Trigger, since: Some(at(15)) },
            ],
            followed: followed.clone(),
            requests_through: Some(at(16)),
            backfill: Some(Progress {
                requested_at: at(3),
                done: 4,
                in_doubt: Some((6, at(17))),
                live: followed,
            }),
            recent: pasts.map(|what| Past { instant: at(18), at: at(19), what, count: 2 }).collect(),
            ..Cursor::at(at(7))
        };
        for cursor in [Cursor::at(at(7)), full] {
            assert_eq!(Cursor::try_from(v1::Cursor::from(&cursor)), Ok(cursor));
        }
        assert_eq!(Cursor::try_from(v1::Cursor::default()).unwrap_err().field, "last_instant");
    }
}
