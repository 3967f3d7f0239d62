use proptest::prelude::*;
use std::sync::Mutex;
use windlass_core::schedule::{Interval, Policy, Rule, Spec, Template};
use windlass_core::{Priority, QueueName};

use super::*;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(crate) fn schedule(id: &str, period_seconds: u64, created_at: i64) -> Schedule<Bytes> {
    Schedule {
        id: id.parse().unwrap(),
        queue: QueueName::default(),
        task: Template {
            kind: "report.make".parse().unwrap(),
            payload: Bytes::from_static(b"{}"),
            content_type: "application/json".to_owned(),
            priority: Priority::Normal,
            retry: None,
            attempt_timeout: None,
            max_wait: None,
        },
        spec: Spec::from(Rule::Interval(
            Interval::new(Duration::from_secs(period_seconds), Duration::ZERO).unwrap(),
        )),
        policy: Policy::default(),
        pause: None,
        created_at: at(created_at),
        requests: Vec::new(),
        edits: Vec::new(),
    }
}

/// A broker in memory that can be told to fail.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    pub(crate) inner: Mutex<Inner>,
    pub(crate) changed: tokio::sync::Notify,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) now: Timestamp,
    pub(crate) cursors: HashMap<ScheduleId, (Cursor, u64)>,
    /// What was published, each time.
    pub(crate) published: Vec<(JobId, Timestamp)>,
    /// The call, counted from 1, that fails; and whether it takes effect all the same.
    pub(crate) fault: Option<(usize, bool)>,
    pub(crate) missed: u64,
    /// Of every job that is asked for.
    pub(crate) fate: Fate,
    pub(crate) cancelled: Vec<JobId>,
    pub(crate) paused_for: Vec<JobId>,
    calls: usize,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            now: Timestamp::UNIX_EPOCH,
            cursors: HashMap::new(),
            published: Vec::new(),
            fault: None,
            missed: 0,
            fate: Fate::Live,
            cancelled: Vec::new(),
            paused_for: Vec::new(),
            calls: 0,
        }
    }
}

impl Fake {
    pub(crate) fn at(second: i64) -> Self {
        let fake = Self::default();
        fake.set_now(second);
        fake
    }

    pub(crate) fn set_now(&self, second: i64) {
        self.inner.lock().unwrap().now = at(second);
    }

    /// True if this call is to fail; the second if it takes effect.
    fn call(inner: &mut Inner) -> (bool, bool) {
        inner.calls += 1;
        match inner.fault {
            Some((call, takes_effect)) if call == inner.calls => (true, takes_effect),
            _ => (false, true),
        }
    }

    pub(crate) fn instants(&self) -> Vec<Timestamp> {
        self.inner.lock().unwrap().published.iter().map(|(_, instant)| *instant).collect()
    }

    pub(crate) fn cursor(&self, id: &str) -> Option<Cursor> {
        self.inner.lock().unwrap().cursors.get(&id.parse().unwrap()).map(|(cursor, _)| cursor.clone())
    }
}

impl World for Fake {
    fn now(&self) -> Timestamp {
        self.inner.lock().unwrap().now
    }

    async fn until(&self, _: Timestamp) {}

    async fn load(&self, id: &ScheduleId) -> Result<Option<(Cursor, u64)>, Failure> {
        let mut inner = self.inner.lock().unwrap();
        if Self::call(&mut inner).0 {
            return Err(Failure::NotLeading);
        }
        Ok(inner.cursors.get(id).cloned())
    }

    async fn save(&self, id: &ScheduleId, cursor: &Cursor, revision: Option<u64>) -> Result<u64, Failure> {
        let mut inner = self.inner.lock().unwrap();
        let (fails, takes_effect) = Self::call(&mut inner);
        let stored = inner.cursors.get(id).map(|(_, revision)| *revision);
        if stored != revision {
            return Err(Failure::Conflict);
        }
        let next = stored.unwrap_or(0) + 1;
        if takes_effect {
            inner.cursors.insert(id.clone(), (cursor.clone(), next));
        }
        self.changed.notify_one();
        if fails { Err(Failure::NotLeading) } else { Ok(next) }
    }

    async fn publish(&self, _: &Schedule<Bytes>, fire: &Fire) -> Result<u64, Failure> {
        let mut inner = self.inner.lock().unwrap();
        let (fails, takes_effect) = Self::call(&mut inner);
        if takes_effect {
            inner.published.push((fire.job_id, fire.instant));
        }
        let sequence = inner.published.len() as u64;
        self.changed.notify_one();
        if fails { Err(Failure::NotLeading) } else { Ok(sequence) }
    }

    async fn fates(&self, _: &Schedule<Bytes>, cursor: &Cursor) -> Result<HashMap<JobId, Fate>, Failure> {
        let inner = self.inner.lock().unwrap();
        Ok(cursor.unknown().map(|followed| (followed.job_id, inner.fate)).collect())
    }

    async fn cancel(&self, _: &Schedule<Bytes>, job: JobId) -> Result<(), Failure> {
        self.inner.lock().unwrap().cancelled.push(job);
        Ok(())
    }

    async fn pause(&self, _: &Schedule<Bytes>, failed: JobId) -> Result<(), Failure> {
        self.inner.lock().unwrap().paused_for.push(failed);
        Ok(())
    }

    fn forget(&self, _: &ScheduleId) {}

    fn missed(&self, _: &Schedule<Bytes>, missed: u64, _: u64) {
        self.inner.lock().unwrap().missed += missed;
    }
}

fn catch_up() -> CatchUp {
    CatchUp::new(Duration::from_mins(1), Duration::from_mins(5)).unwrap()
}

/// A whole step.
async fn step(
    world: &Fake,
    schedule: &Schedule<Bytes>,
    place: Place,
    catch_up: &CatchUp,
) -> Result<Outcome, Failure> {
    match begin(world, schedule, place, Timestamp::MIN, catch_up).await? {
        Begun::Ended(outcome) => Ok(outcome),
        Begun::Published(published) => end(world, &schedule.id, *published).await,
    }
}

/// Steps until nothing more is due.
async fn steps(world: &Fake, schedule: &Schedule<Bytes>, mut place: Place) -> Result<Place, Failure> {
    loop {
        match step(world, schedule, place, &catch_up()).await? {
            Outcome::More(next) => place = next,
            Outcome::Done(place) => return Ok(place),
            Outcome::Retry(_) => unreachable!("a step does not say that"),
        }
    }
}

#[tokio::test]
async fn publishes_then_moves_the_cursor() {
    let (world, schedule) = (Fake::at(125), schedule("a", 60, 0));
    let done = steps(&world, &schedule, Place::Unknown).await.unwrap();
    // 60 is 65 s late: the latest fires.
    assert_eq!(world.inner.lock().unwrap().missed, 1);
    assert_eq!(world.instants(), [at(120)]);
    let cursor = world.cursor("a").unwrap();
    assert_eq!((cursor.last_instant, cursor.misfires, cursor.fires, cursor.in_doubt), (at(120), 1, 1, None));
    let Place::At(kept, revision) = &done else { panic!("{done:?}") };
    assert_eq!((&**kept, *revision), (&cursor, 2));
    // Nothing is due: nothing is written.
    assert_eq!(steps(&world, &schedule, done.clone()).await.unwrap(), done);
    assert_eq!(world.inner.lock().unwrap().cursors[&schedule.id].1, 2);
}

#[tokio::test]
async fn who_lost_the_cursor_publishes_nothing() {
    let (world, schedule) = (Fake::at(65), schedule("a", 60, 0));
    let Place::At(cursor, _) = steps(&world, &schedule, Place::Unknown).await.unwrap() else {
        panic!("the first step fails");
    };
    world.set_now(125);
    for stale in [Place::None, Place::At(cursor, 1)] {
        let lost = step(&world, &schedule, stale, &catch_up()).await;
        assert!(matches!(lost, Err(Failure::Conflict)), "{lost:?}");
    }
    assert_eq!(world.instants(), [at(60)]);
}

#[tokio::test]
async fn a_long_downtime_is_made_up_in_steps() {
    let (world, mut schedule) = (Fake::at(3000), schedule("a", 1, 0));
    steps(&world, &schedule, Place::Unknown).await.unwrap();
    assert_eq!(world.instants(), [at(3000)]);
    assert_eq!(world.cursor("a").unwrap().misfires, 2999);
    // The write before each of three steps, and the one after the fire.
    assert_eq!(world.inner.lock().unwrap().cursors[&schedule.id].1, 4);

    let world = Fake::at(3000);
    schedule.policy.misfire = windlass_core::schedule::Misfire::All;
    steps(&world, &schedule, Place::Unknown).await.unwrap();
    assert_eq!(world.instants(), (1..=3000).map(at).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_policy_is_carried_out() {
    let (world, mut schedule) = (Fake::at(65), schedule("a", 60, 0));
    schedule.policy.overlap = windlass_core::schedule::Overlap::CancelOther;
    schedule.policy.pause_on_failure = true;
    steps(&world, &schedule, Place::Unknown).await.unwrap();
    world.set_now(125);
    steps(&world, &schedule, Place::Unknown).await.unwrap();
    let first = JobId::of_fire(&schedule.id, at(60));
    assert_eq!(world.inner.lock().unwrap().cancelled, [first]);
    assert_eq!(world.instants(), [at(60)]);
    world.inner.lock().unwrap().fate = Fate::Ended;
    steps(&world, &schedule, Place::Unknown).await.unwrap();
    assert_eq!(world.instants(), [at(60), at(120)]);
    assert_eq!(world.inner.lock().unwrap().paused_for, []);

    let world = Fake::at(65);
    steps(&world, &schedule, Place::Unknown).await.unwrap();
    world.inner.lock().unwrap().fate = Fate::Failed;
    steps(&world, &schedule, Place::Unknown).await.unwrap();
    assert_eq!(world.inner.lock().unwrap().paused_for, [first]);
}

/// A step that fails at its n-th call, with or without effect; then another scheduler goes on `later` seconds after.
async fn crash(call: usize, takes_effect: bool, later: i64) -> (Vec<Timestamp>, Cursor) {
    let (world, schedule) = (Fake::at(125), schedule("a", 60, 30));
    world.inner.lock().unwrap().fault = Some((call, takes_effect));
    let _ = steps(&world, &schedule, Place::Unknown).await;
    world.set_now(125 + later);
    steps(&world, &schedule, Place::Unknown).await.unwrap();
    (world.instants(), world.cursor("a").unwrap())
}

#[tokio::test]
async fn a_crash_at_any_call_loses_nothing() {
    for call in 1..=4 {
        for takes_effect in [false, true] {
            let (published, cursor) = crash(call, takes_effect, 10).await;
            let mut jobs = published.clone();
            jobs.dedup();
            assert_eq!(jobs, [at(120)], "call {call}, {takes_effect}: {published:?}");
            // Only a step that had stored its intent can have published before.
            assert!(published.len() <= 2);
            assert_eq!((cursor.last_instant, cursor.in_doubt), (at(120), None));
        }
    }
}

#[tokio::test]
async fn what_was_in_doubt_too_long_is_missed() {
    // The call that publishes takes effect and is not answered; the jobs of 120 may be forgotten at 485.
    let (published, cursor) = crash(3, true, 360).await;
    assert_eq!(published, [at(120), at(480)]);
    // 60, then 120 in doubt, 180 to 420.
    assert_eq!(cursor.misfires, 7);
    // It had not begun to publish: the latest fires, as after any downtime.
    let (published, cursor) = crash(2, false, 360).await;
    assert_eq!((published, cursor.misfires), (vec![at(480)], 7));
}

proptest! {
    /// Two schedulers, crashes, late answers, and a clock that is set by up to five minutes either way: each instant is
    /// published or recorded as missed, none before it has come, and the cursor never goes backwards.
    #[test]
    fn every_instant_is_accounted_for(
        faults in proptest::collection::vec((0usize..8, any::<bool>(), any::<bool>(), -300i64..300), 1..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (world, schedule) = (Fake::at(0), schedule("a", 30, 0));
        let mut places = [Place::Unknown, Place::Unknown];
        let (mut now, mut latest) = (0, 0);
        let mut last = at(0);
        // At the end nothing fails: a stale cursor, then one step for each doubt.
        let count = faults.len();
        let faults = faults.into_iter().chain([(0, false, false, 1); 6]);
        for (number, (call, takes_effect, who, pause)) in faults.enumerate() {
            now = (now + pause).max(0);
            // At the end the clock is right.
            now = if number >= count { latest + 1 } else { now };
            latest = latest.max(now);
            world.set_now(now);
            {
                let mut inner = world.inner.lock().unwrap();
                inner.calls = 0;
                inner.fault = (call > 0).then_some((call, takes_effect));
            }
            let who = usize::from(who);
            let place = std::mem::replace(&mut places[who], Place::Unknown);
            places[who] = match runtime.block_on(step(&world, &schedule, place, &catch_up())) {
                Ok(Outcome::Done(place) | Outcome::More(place)) => place,
                _ => Place::Unknown,
            };
            let cursor = world.cursor("a").map_or(last, |cursor| cursor.last_instant);
            prop_assert!(cursor >= last);
            last = cursor;
            prop_assert!(world.instants().iter().all(|instant| *instant <= at(latest)));
        }
        let all = schedule.spec.instants_between(at(0), at(latest), usize::MAX);
        let mut published = world.instants();
        published.sort();
        published.dedup();
        let missed = usize::try_from(world.cursor("a").map_or(0, |c| c.misfires)).unwrap();
        prop_assert_eq!(world.cursor("a").map_or(at(0), |c| c.last_instant), all.last().copied().unwrap_or(at(0)));
        // An instant in doubt for too long may have been published and is missed as well.
        prop_assert!(published.len() + missed >= all.len(), "{} {} {}", published.len(), missed, all.len());
        prop_assert!(missed <= all.len());
    }
}
