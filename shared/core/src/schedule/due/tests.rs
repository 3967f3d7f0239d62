use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::{Backfill, Interval, Pause, Policy, Request, Rule, Spec, Template};
use super::*;
use crate::Priority;

pub(in crate::schedule) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(in crate::schedule) fn every(seconds: u64, policy: Policy) -> Schedule<()> {
    Schedule {
        id: "a".parse().unwrap(),
        queue: "q".parse().unwrap(),
        task: Template {
            kind: "k".parse().unwrap(),
            payload: (),
            content_type: String::new(),
            priority: Priority::Normal,
            retry: None,
            attempt_timeout: None,
            max_wait: None,
        },
        spec: Spec::from(Rule::Interval(
            Interval::new(Duration::from_secs(seconds), Duration::ZERO).unwrap(),
        )),
        policy,
        pause: None,
        created_at: at(0),
        requests: Vec::new(),
        edits: Vec::new(),
    }
}

fn misfire(misfire: Misfire) -> Policy {
    Policy { misfire, ..Policy::default() }
}

fn overlap(overlap: Overlap) -> Policy {
    Policy { overlap, ..Policy::default() }
}

fn window() -> CatchUp {
    CatchUp::new(Duration::from_mins(1), Duration::from_mins(5)).unwrap()
}

/// Steps at `now` until nothing more is due: what fires, and the cursor then.
fn run(
    schedule: &Schedule<()>,
    cursor: Option<Cursor>,
    fates: Fates<'_>,
    now: i64,
    limit: usize,
) -> (Vec<Fire>, Vec<JobId>, Option<Cursor>) {
    let (mut fired, mut cancelled, mut cursor) = (Vec::new(), Vec::new(), cursor);
    for _ in 0..100_000 {
        let step = schedule.step(cursor.as_ref(), fates, at(now), &window(), limit);
        assert!(step.fire.is_empty() || (step.before.is_some() && step.after.is_some()));
        assert!(!step.more || step.before.is_some() || !step.fire.is_empty(), "goes on without a change");
        cancelled.extend(step.cancel);
        cursor = step.before.or(cursor);
        if !step.fire.is_empty() {
            let doubt = cursor.as_ref().unwrap();
            let begun = doubt.in_doubt.is_some()
                || doubt.waiting.iter().any(|waiting| waiting.since.is_some())
                || doubt.backfill.as_ref().is_some_and(|progress| progress.in_doubt.is_some());
            assert!(begun, "published without an intent");
        }
        fired.extend(step.fire);
        cursor = step.after.or(cursor);
        if !step.more {
            return (fired, cancelled, cursor);
        }
    }
    panic!("it does not come to an end");
}

const LIVE: Fates<'static> = &|_| Fate::Live;
const ENDED: Fates<'static> = &|_| Fate::Ended;

fn instants(fired: &[Fire]) -> Vec<i64> {
    fired.iter().map(|fire| fire.instant.as_second()).collect()
}

/// Of a schedule of every 30 s.
fn check(policy: Policy, after: i64, doubt: Option<(i64, i64)>, now: i64, fire: &[i64], missed: u64) {
    let in_doubt = doubt.map(|(through, since)| InDoubt { through: at(through), since: at(since) });
    for limit in [1, 2, 3, 100] {
        let cursor = Cursor { in_doubt, ..Cursor::at(at(after)) };
        let (fired, _, cursor) = run(&every(30, policy), Some(cursor), LIVE, now, limit);
        let cursor = cursor.unwrap();
        assert_eq!((instants(&fired), cursor.misfires), (fire.to_vec(), missed), "limit {limit}");
        assert_eq!(cursor.in_doubt, None);
        assert_eq!(cursor.fires, fire.len() as u64);
    }
}

#[test]
fn within_the_grace_all_fire() {
    for policy in [Misfire::Skip, Misfire::Latest, Misfire::All].map(misfire) {
        check(policy, 0, None, 29, &[], 0);
        check(policy, 0, None, 30, &[30], 0);
        check(policy, 0, None, 90, &[30, 60, 90], 0);
    }
}

#[test]
fn after_two_hours_each_policy_has_its_count() {
    // 241 instants: of 30 to 7230.
    let all: Vec<i64> = (1..=241).map(|n| n * 30).collect();
    check(misfire(Misfire::Skip), 0, None, 7239, &[], 241);
    check(misfire(Misfire::Latest), 0, None, 7239, &[7230], 240);
    check(misfire(Misfire::All), 0, None, 7239, &all, 0);
    // From 60 s on late ones decide about all that have come.
    check(misfire(Misfire::Latest), 0, None, 91, &[90], 2);
    check(misfire(Misfire::Skip), 0, None, 91, &[], 3);
    // A window of an hour before 7239.
    let policy = Policy { catch_up_window: Duration::from_hours(1), ..misfire(Misfire::All) };
    check(policy, 0, None, 7239, &all[121..], 121);
    // What comes later is on time.
    let (fired, _, cursor) = run(&every(30, misfire(Misfire::Skip)), None, LIVE, 7239, 9);
    assert!(fired.is_empty());
    let (fired, _, _) = run(&every(30, misfire(Misfire::Skip)), cursor, LIVE, 7260, 9);
    assert_eq!(instants(&fired), [7260]);
}

#[test]
fn paced_fires_come_one_at_a_time() {
    let schedule = every(30, Policy { pace: Duration::from_secs(10), ..misfire(Misfire::Paced) });
    let (mut cursor, mut fired, mut now) = (None, Vec::new(), 600);
    let mut times = Vec::new();
    while now < 1000 {
        let (more, _, next) = run(&schedule, cursor, LIVE, now, 100);
        times.extend(more.iter().map(|_| now));
        fired.extend(more);
        cursor = next;
        let wake = schedule.next_wake(cursor.as_ref(), at(now)).unwrap().as_second();
        assert!(wake > now, "{wake} after {now}");
        now = wake;
    }
    assert_eq!(instants(&fired), (1..=33).map(|n| n * 30).collect::<Vec<_>>());
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 10), "{times:?}");
    assert_eq!((times[1], cursor.unwrap().misfires), (610, 0));
}

#[test]
fn in_doubt_fires_again_until_the_limit() {
    let latest = misfire(Misfire::Latest);
    // Begun at 30 for the instant 30; at 330 that is the limit, at 331 it is over.
    check(latest, 0, Some((30, 30)), 330, &[30, 330], 9);
    check(latest, 0, Some((30, 30)), 331, &[330], 10);
    check(latest, 0, Some((30, 30)), 59, &[30], 0);
    // Even the latest instant.
    let doubt = Some(InDoubt { through: at(3600), since: at(3600) });
    let cursor = Cursor { in_doubt: doubt, ..Cursor::at(at(0)) };
    let (fired, _, cursor) = run(&every(3600, latest), Some(cursor), LIVE, 4000, 9);
    assert_eq!((instants(&fired), cursor.unwrap().misfires), (vec![], 1));
}

#[test]
fn what_fires_again_keeps_the_time_since_when() {
    let doubt = InDoubt { through: at(60), since: at(61) };
    let cursor = Cursor { in_doubt: Some(doubt), ..Cursor::at(at(0)) };
    let step = every(30, Policy::default()).step(Some(&cursor), LIVE, at(95), &window(), 9);
    // 90 is a doubt of its own.
    assert_eq!(instants(&step.fire), [30, 60]);
    assert_eq!((step.before.unwrap().in_doubt, step.more), (Some(doubt), true));
}

#[test]
fn the_overlap_policy_decides_while_a_job_is_live() {
    // Instants 30, 60, 90; the job of 30 is live at 90 and has ended at 100.
    let after = |policy, now_live: i64| {
        let schedule = every(30, overlap(policy));
        let (mut cursor, mut fired, mut cancelled) = (None, Vec::new(), Vec::new());
        for now in [30, 60, 90] {
            let (more, cancel, next) = run(&schedule, cursor, LIVE, now, 9);
            fired.extend(instants(&more));
            cancelled.extend(cancel);
            cursor = next;
        }
        let at_once = fired.len();
        for now in [now_live, now_live + 1, now_live + 2] {
            let (more, _, next) = run(&schedule, cursor, ENDED, now, 9);
            fired.extend(instants(&more));
            cursor = next;
        }
        let cursor = cursor.unwrap();
        assert_eq!(cursor.last_instant, at(90));
        (fired, at_once, cancelled.len(), cursor.skipped)
    };
    assert_eq!(after(Overlap::AllowAll, 100), (vec![30, 60, 90], 3, 0, 0));
    assert_eq!(after(Overlap::Skip, 100), (vec![30], 1, 0, 2));
    assert_eq!(after(Overlap::BufferOne, 100), (vec![30, 60], 1, 0, 1));
    assert_eq!(after(Overlap::BufferAll, 100), (vec![30, 60, 90], 1, 0, 0));
    assert_eq!(after(Overlap::CancelOther, 100), (vec![30, 90], 1, 2, 1));
    let (fired, at_once, cancelled, skipped) = after(Overlap::TerminateOther, 100);
    assert_eq!((fired, at_once, skipped), (vec![30, 60, 90], 3, 0));
    assert!(cancelled >= 2);
}

#[test]
fn buffered_ones_fire_one_after_the_other() {
    let schedule = every(30, overlap(Overlap::BufferAll));
    let (_, _, cursor) = run(&schedule, None, LIVE, 30, 9);
    let (_, _, cursor) = run(&schedule, cursor, LIVE, 90, 9);
    // The first job has ended; the one that then fires has not.
    let first = JobId::of_fire(&schedule.id, at(30));
    let fates = |job| if job == first { Fate::Ended } else { Fate::Live };
    let (fired, _, cursor) = run(&schedule, cursor, &fates, 95, 9);
    assert_eq!(instants(&fired), [60]);
    assert_eq!(schedule.next_wake(cursor.as_ref(), at(95)), Some(at(95) + LOOK));
    assert_eq!(cursor.unwrap().waiting.len(), 1);
}

const LOOK: Duration = Duration::from_millis(500);

#[test]
fn a_buffered_fire_in_doubt_for_too_long_is_missed() {
    let schedule = every(30, overlap(Overlap::BufferOne));
    let (_, _, cursor) = run(&schedule, None, LIVE, 30, 9);
    let (_, _, cursor) = run(&schedule, cursor, LIVE, 60, 9);
    let step = schedule.step(cursor.as_ref(), ENDED, at(70), &window(), 9);
    assert_eq!(instants(&step.fire), [60]);
    // It never came back.
    let again = schedule.step(step.before.as_ref(), ENDED, at(80), &window(), 9);
    assert_eq!(again.fire[0].job_id, step.fire[0].job_id);
    let late = schedule.step(step.before.as_ref(), ENDED, at(371), &window(), 9);
    assert_eq!((late.fire, late.before.unwrap().misfires), (vec![], 1));
}

#[test]
fn a_failed_job_pauses_only_where_it_is_asked_for() {
    for pause_on_failure in [false, true] {
        let schedule = every(30, Policy { pause_on_failure, ..overlap(Overlap::Skip) });
        let (fired, _, cursor) = run(&schedule, None, LIVE, 30, 9);
        let job = fired[0].job_id;
        let step = schedule.step(cursor.as_ref(), &|_| Fate::Failed, at(60), &window(), 9);
        assert_eq!(step.failed, pause_on_failure.then_some(job));
        assert_eq!(step.fire.is_empty(), pause_on_failure);
    }
}

#[test]
fn a_trigger_fires_whatever_is_live_or_paused() {
    let mut schedule = every(30, overlap(Overlap::Skip));
    let (_, _, cursor) = run(&schedule, None, LIVE, 30, 9);
    schedule.pause = Some(Pause::default());
    schedule.requests.push(Request { at: at(40), by: String::new(), wish: Wish::Trigger });
    assert_eq!(schedule.next_wake(cursor.as_ref(), at(41)), Some(Timestamp::MIN));
    let (fired, _, cursor) = run(&schedule, cursor, LIVE, 41, 9);
    assert_eq!(
        fired.iter().map(|fire| fire.job_id).collect::<Vec<_>>(),
        [JobId::of_trigger(&schedule.id, at(40))]
    );
    let (fired, _, cursor) = run(&schedule, cursor, LIVE, 200, 9);
    assert!(fired.is_empty());
    assert_eq!((cursor.unwrap().fires, schedule.next_wake(None, at(0))), (1, Some(Timestamp::MIN)));
}

#[test]
fn a_backfill_keeps_to_its_concurrency() {
    let mut schedule = every(30, Policy::default());
    let backfill = Backfill { instants: (1..=5).map(|n| at(n * 30)).collect(), concurrency: 2, again: true };
    schedule.created_at = at(1000);
    let wish = Wish::Backfill(backfill);
    schedule.requests.push(Request { at: at(1001), by: String::new(), wish });
    let (fired, _, cursor) = run(&schedule, None, LIVE, 1002, 9);
    assert_eq!(instants(&fired), [30, 60]);
    assert_eq!(fired[0].job_id, JobId::of_backfill(&schedule.id, at(30), at(1001)));
    let first = fired[0].job_id;
    let fates = |job| if job == first { Fate::Ended } else { Fate::Live };
    let (fired, _, cursor) = run(&schedule, cursor, &fates, 1003, 9);
    assert_eq!(instants(&fired), [90]);
    let (fired, _, cursor) = run(&schedule, cursor, ENDED, 1004, 9);
    assert_eq!(instants(&fired), [120, 150]);
    let cursor = cursor.unwrap();
    assert_eq!((cursor.backfill, cursor.fires), (None, 0));
}

#[test]
fn a_limit_ends_it() {
    let schedule = every(30, Policy { limit: Some(2), ..Policy::default() });
    let (fired, _, cursor) = run(&schedule, None, LIVE, 90, 9);
    assert_eq!(instants(&fired), [30, 60]);
    assert_eq!(schedule.next_wake(cursor.as_ref(), at(90)), None);
}

#[test]
fn a_pause_ends_by_itself_and_nothing_is_made_up_for() {
    let mut schedule = every(30, misfire(Misfire::All));
    schedule.pause = Some(Pause { note: "moving".into(), until: Some(at(100)) });
    assert_eq!(schedule.next_wake(None, at(0)), Some(at(100)));
    let (fired, _, cursor) = run(&schedule, None, LIVE, 99, 9);
    assert!(fired.is_empty());
    let (fired, _, cursor) = run(&schedule, cursor, LIVE, 130, 9);
    assert_eq!((instants(&fired), cursor.unwrap().misfires), (vec![120], 0));
}

#[test]
fn jitter_delays_and_drops_nothing() {
    let mut schedule = every(30, Policy::default());
    schedule.spec = schedule.spec.with_jitter(Duration::from_secs(30), at(0)).unwrap();
    let due_at = schedule.fires_at(at(30));
    assert!(due_at > at(30) && due_at < at(60));
    assert_eq!(schedule.next_wake(None, at(0)), Some(due_at));
    let just_before = due_at - Duration::from_millis(1);
    assert_eq!(schedule.step(None, LIVE, just_before, &window(), 9), Step::default());
    assert_eq!(instants(&schedule.step(None, LIVE, due_at, &window(), 9).fire), [30]);
}

#[test]
fn what_was_done_is_remembered_within_bounds() {
    let schedule = every(30, misfire(Misfire::Latest));
    let (_, _, cursor) = run(&schedule, None, LIVE, 7239, 50);
    let recent = cursor.clone().unwrap().recent;
    assert_eq!(
        recent.iter().map(|past| (past.what, past.count)).collect::<Vec<_>>(),
        [(What::Missed, 240), (What::Fired(Cause::Rule), 1)]
    );
    let mut cursor = cursor;
    for n in 242..400 {
        cursor = run(&schedule, cursor, LIVE, n * 30, 50).2;
    }
    assert_eq!(cursor.unwrap().recent.len(), Cursor::MOST_RECENT);
}

proptest! {
    #[test]
    fn each_instant_fires_or_is_missed_once(
        downtime in 0i64..4000, limit in 1usize..40,
        doubt in proptest::option::of((0i64..4000, 0i64..4000)),
        policy in proptest::sample::select(&[Misfire::Skip, Misfire::Latest, Misfire::All]),
    ) {
        let start = 1_000_000;
        let in_doubt =
            doubt.map(|(through, since)| InDoubt { through: at(start + through), since: at(start + since) });
        let schedule = every(30, misfire(policy));
        let expected = schedule.spec.instants_between(at(start), at(start + downtime), usize::MAX);
        let cursor = Cursor { in_doubt, ..Cursor::at(at(start)) };
        let (fired, _, cursor) = run(&schedule, Some(cursor), LIVE, start + downtime, limit);
        let cursor = cursor.unwrap();
        let fired: Vec<_> = fired.iter().map(|fire| fire.instant).collect();
        prop_assert_eq!(fired.len() + usize::try_from(cursor.misfires).unwrap(), expected.len());
        prop_assert_eq!(cursor.last_instant, expected.last().copied().unwrap_or(at(start)));
        prop_assert!(fired.windows(2).all(|pair| pair[0] < pair[1]));
        let expected: BTreeSet<_> = expected.into_iter().collect();
        prop_assert!(fired.iter().all(|instant| expected.contains(instant)));
    }
}
