use super::*;
use crate::{Form, JobId};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn unique() -> Unique {
    Unique::key("k".parse().unwrap())
}

fn task(payload: &str) -> Task<Vec<u8>> {
    Task::new(JobId::nil(), "a.b".parse().unwrap(), payload.as_bytes().to_vec())
}

fn standing(state: Option<JobState>) -> Standing {
    Standing { state, since: at(100), due_at: at(110), until: None }
}

/// Of a task that is accepted at 200 and may run at `due`.
fn decided(unique: &Unique, due: i64, standing: Option<Standing>) -> Decision {
    let wish = Wish { unique, accepted_at: at(200), first_at: at(200), due_at: at(due) };
    decide(&wish, standing.as_ref(), at(200))
}

const LIVE: [JobState; 5] =
    [JobState::Scheduled, JobState::Held, JobState::Queued, JobState::Running, JobState::Retrying];

#[test]
fn a_key_that_nobody_holds_is_free() {
    for on_conflict in OnConflict::ALL {
        let unique = Unique { on_conflict, ..unique() };
        let made = Decision::Make { due_at: at(205), since: at(200) };
        assert_eq!(decided(&unique, 205, None), made);
        // A marker whose job has ended, or is gone, refuses nobody.
        assert_eq!(decided(&unique, 205, Some(standing(None))), made);
    }
}

#[test]
fn a_key_is_taken_while_its_job_lives() {
    for state in LIVE {
        assert_eq!(decided(&unique(), 200, Some(standing(Some(state)))), Decision::Refuse, "{state}");
    }
    let waiting = Unique { states: vec![JobState::Scheduled, JobState::Queued], ..unique() };
    for state in LIVE {
        let counts = matches!(state, JobState::Scheduled | JobState::Queued);
        let refused = decided(&waiting, 200, Some(standing(Some(state)))) == Decision::Refuse;
        assert_eq!(refused, counts, "{state}");
    }
    assert!(waiting.tells_running() && !unique().tells_running());
}

#[test]
fn a_job_counts_for_a_time_though_it_has_ended() {
    let until = |until| Some(Standing { until: Some(at(until)), ..standing(None) });
    assert_eq!(decided(&unique(), 200, until(201)), Decision::Refuse);
    assert_eq!(decided(&unique(), 200, until(200)), Decision::Make { due_at: at(200), since: at(200) });
    let keep = Unique { on_conflict: OnConflict::KeepEarlier, ..unique() };
    assert_eq!(decided(&keep, 200, until(201)), Decision::Refuse);
    assert_eq!(Unique { lasts: Some(seconds(60)), ..unique() }.until(at(200)), Some(at(260)));
}

#[test]
fn who_waits_is_replaced_and_who_runs_goes_on() {
    let replace = Unique { on_conflict: OnConflict::Replace, ..unique() };
    for state in LIVE {
        let expected = match state {
            JobState::Running => Decision::Make { due_at: at(230), since: at(200) },
            _ => Decision::Replace { due_at: at(230), since: at(100) },
        };
        assert_eq!(decided(&replace, 230, Some(standing(Some(state)))), expected, "{state}");
    }
}

#[test]
fn a_debounce_is_bounded_by_its_first() {
    let debounce =
        |max| Unique { on_conflict: OnConflict::Replace, max_delay: Some(seconds(max)), ..unique() };
    let waits = Some(standing(Some(JobState::Scheduled)));
    for (max, expected) in [(200, 230), (125, 225), (100, 200), (50, 200)] {
        let replaced = Decision::Replace { due_at: at(expected), since: at(100) };
        assert_eq!(decided(&debounce(max), 230, waits), replaced, "{max}");
    }
    // It begins anew once the last one runs.
    let runs = Some(standing(Some(JobState::Running)));
    assert_eq!(decided(&debounce(50), 230, runs), Decision::Make { due_at: at(230), since: at(200) });
}

#[test]
fn a_delay_before_a_replacement_is_counted_from_its_admission() {
    let replace = Unique { on_conflict: OnConflict::Replace, ..unique() };
    let delay = Start::After(seconds(5));
    assert_eq!(replace.due_at(delay, at(200), at(203)), at(208));
    assert_eq!(unique().due_at(delay, at(200), at(203)), at(205));
    assert_eq!(replace.due_at(Start::Now, at(200), at(203)), at(200));
    // One that stands for others that have no job yet: their first counts.
    let bounded = Unique { max_delay: Some(seconds(12)), ..replace };
    let wish = Wish { unique: &bounded, accepted_at: at(200), first_at: at(190), due_at: at(208) };
    assert_eq!(decide(&wish, None, at(203)), Decision::Make { due_at: at(202), since: at(190) });
}

#[test]
fn a_throttle_starts_one_a_period() {
    let throttle =
        |period| Unique { on_conflict: OnConflict::Replace, period: Some(seconds(period)), ..unique() };
    let of = |state, due| Some(Standing { due_at: at(due), ..standing(state) });
    let made = |due| Decision::Make { due_at: at(due), since: at(200) };
    assert_eq!(decided(&throttle(60), 200, None), made(200));
    // The last one started at 110 or 190.
    for state in [None, Some(JobState::Running)] {
        assert_eq!(decided(&throttle(60), 200, of(state, 110)), made(200));
        assert_eq!(decided(&throttle(60), 200, of(state, 190)), made(250));
    }
    // One that waits is replaced, and its instant stays.
    let waits = of(Some(JobState::Scheduled), 240);
    let replaced = Decision::Replace { due_at: at(240), since: at(100) };
    assert_eq!(decided(&throttle(60), 200, waits), replaced);
    assert_eq!(throttle(60).window_until(at(240)), Some(at(300)));
}

#[test]
fn the_earlier_instant_is_kept() {
    let keep = Unique { on_conflict: OnConflict::KeepEarlier, ..unique() };
    let of = |state, due| Some(Standing { due_at: at(due), ..standing(Some(state)) });
    assert_eq!(decided(&keep, 210, of(JobState::Scheduled, 220)), Decision::Advance { due_at: at(210) });
    assert_eq!(decided(&keep, 230, of(JobState::Scheduled, 220)), Decision::Merge);
    for state in LIVE.into_iter().skip(1) {
        assert_eq!(decided(&keep, 200, of(state, 220)), Decision::Merge, "{state}");
    }
}

#[test]
fn a_marker_is_spent_once_nothing_has_it_count() {
    assert!(is_spent(true, [None, None], at(5)));
    assert!(!is_spent(false, [None, None], at(5)));
    assert!(!is_spent(true, [Some(at(6)), None], at(5)));
    assert!(!is_spent(true, [None, Some(at(6))], at(5)));
    assert!(is_spent(true, [Some(at(5)), Some(at(4))], at(5)));
}

#[test]
fn what_does_not_go_together_is_named() {
    use OnConflict::{KeepEarlier, Replace};
    let max = seconds(1000);
    let field = |unique: Unique, start| unique.check(start, max).map_err(|error| error.field);
    let plain = unique();
    let now = Start::Now;
    let replace = || Unique { on_conflict: Replace, ..unique() };
    assert_eq!(field(plain.clone(), now), Ok(()));
    for (unique, start, expected) in [
        (Unique { lasts: Some(seconds(0)), ..unique() }, now, "unique.for"),
        (Unique { lasts: Some(seconds(1001)), ..unique() }, now, "unique.for"),
        (Unique { lasts: Some(seconds(1)), ..replace() }, now, "unique.for"),
        (Unique { max_delay: Some(seconds(1)), ..unique() }, now, "unique.max_delay"),
        (Unique { max_delay: Some(seconds(0)), ..replace() }, now, "unique.max_delay"),
        (Unique { max_delay: Some(seconds(1)), ..replace() }, Start::After(seconds(2)), "unique.max_delay"),
        (Unique { period: Some(seconds(1)), ..unique() }, now, "unique.period"),
        (Unique { period: Some(seconds(1)), on_conflict: KeepEarlier, ..unique() }, now, "unique.period"),
        (Unique { period: Some(seconds(0)), ..replace() }, now, "unique.period"),
        (Unique { period: Some(seconds(1)), ..replace() }, Start::After(seconds(2)), "delay"),
        (Unique { period: Some(seconds(1)), ..replace() }, Start::At(at(1)), "run_at"),
        (
            Unique { period: Some(seconds(1)), max_delay: Some(seconds(1)), ..replace() },
            now,
            "unique.max_delay",
        ),
        (Unique { states: vec![JobState::Dead], ..unique() }, now, "unique.states"),
        (Unique { states: vec![JobState::Held, JobState::Held], ..unique() }, now, "unique.states"),
        (Unique { of: Of::Fields(Vec::new()), ..unique() }, now, "unique.over"),
    ] {
        assert_eq!(field(unique.clone(), start), Err(expected), "{unique:?}");
    }
    let unknown = states(["queued", "waiting"]).unwrap_err();
    assert_eq!((unknown.field, unknown.reason.contains("waiting")), ("unique.states", true));
}

#[test]
fn a_key_is_made_of_fields() {
    let key = |fields: &[&str], task: &Task<Vec<u8>>| {
        let of = Of::Fields(super::fields(fields.iter().copied())?);
        Unique { of, ..unique() }.resolve(task).map(|key| key.to_string())
    };
    let (one, other) =
        (task(r#"{"user":{"b":1,"a":2},"n":1}"#), task(r#"{ "n": 2, "user": {"a":2, "b":1} }"#));
    let by_user = key(&["kind", "payload.user"], &one).unwrap();
    assert_eq!(key(&["payload.user", "kind", "kind"], &other).unwrap(), by_user);
    assert_ne!(key(&["payload.user"], &one).unwrap(), by_user);
    assert_ne!(key(&["payload.n"], &one), key(&["payload.n"], &other));
    assert_ne!(key(&["payload"], &one), key(&["payload"], &other));
    // As another implementation of UUID version 5 makes it: tasks of two versions must meet.
    assert_eq!(key(&["kind"], &one).unwrap(), "over:88cdc57d1cfc5f56966bf93b5c2b5abe");
    for bad in [&["payload.nobody"][..], &["key"], &["tenant"], &["nothing"], &["payload."], &["payload..a"]]
    {
        assert_eq!(key(bad, &one).map_err(|error| error.field), Err("unique.over"), "{bad:?}");
    }
    assert!(key(&["payload.n"], &task("no json")).is_err() && key(&["payload"], &task("no json")).is_ok());
    let mut sealed = task("{}");
    sealed.form = Form::default();
    sealed.form.encoding.key_id = "k1".parse().ok();
    assert!(key(&["payload"], &sealed).is_err() && key(&["kind"], &sealed).is_ok());
}

#[test]
fn a_group_is_bounded_by_its_first_and_its_last() {
    let aggregate =
        Aggregate { key: "k".parse().unwrap(), grace: seconds(5), max_delay: seconds(20), max_size: 3 };
    let gathered = Gathered { members: 2, first_at: at(100) };
    assert_eq!(aggregate.due_at(&gathered, at(103)), at(108));
    assert_eq!(aggregate.due_at(&gathered, at(118)), at(120));
    let with = |change: &dyn Fn(&mut Task<Vec<u8>>, &mut Aggregate)| {
        let (mut task, mut aggregate) = (task("{}"), aggregate.clone());
        change(&mut task, &mut aggregate);
        task.aggregate = Some(Box::new(aggregate));
        check(&task, seconds(1000)).map_err(|error| error.field)
    };
    assert_eq!(with(&|_, _| {}), Ok(()));
    assert_eq!(with(&|task, _| task.payload.clear()), Ok(()));
    assert_eq!(with(&|_, a| a.grace = seconds(0)), Err("aggregate.grace"));
    assert_eq!(with(&|_, a| a.max_delay = seconds(4)), Err("aggregate.max_delay"));
    assert_eq!(with(&|_, a| a.max_size = 0), Err("aggregate.max_size"));
    assert_eq!(with(&|_, a| a.max_size = 10_001), Err("aggregate.max_size"));
    assert_eq!(with(&|task, _| task.payload = b"{".to_vec()), Err("payload"));
    assert_eq!(with(&|task, _| task.start = Start::After(seconds(1))), Err("delay"));
    assert_eq!(with(&|task, _| task.unique = Some(Box::new(unique()))), Err("aggregate"));
}

#[test]
fn payloads_are_collected_in_a_list() {
    let list = collect(b"", [b"1".as_slice(), b"", b"[2]"]);
    assert_eq!(list, b"[1,null,[2]]");
    assert_eq!(collect(&list, [b"\"]\"".as_slice()]), br#"[1,null,[2],"]"]"#);
    let (a, b) = ("a.b".parse().unwrap(), "a".parse().unwrap());
    assert_ne!(group_token(&a, &"k".parse().unwrap()), group_token(&b, &"k".parse().unwrap()));
}
