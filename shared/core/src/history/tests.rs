//! What the fold promises.

use jiff::Timestamp;
use proptest::prelude::*;

use super::{History, JobView};
use crate::{Event, JobError, JobState, Kind, Outcome, Transition};

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn event(transition: Transition, attempt: u32, at: i64) -> Event {
    let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    let kind: Kind = "file.digest".parse().unwrap();
    Event::new("mail".parse().unwrap(), id, kind, transition, attempt, second(at))
}

fn error(code: &str) -> JobError {
    JobError { message: format!("{code} happened"), code: code.to_owned(), terminal: false }
}

fn view(events: &[Event]) -> JobView {
    events.iter().cloned().collect::<History>().view().unwrap()
}

fn accepted(due: i64) -> Event {
    Event { due_at: Some(second(due)), accepted_at: Some(second(0)), ..event(Transition::Accepted, 0, 0) }
}

#[test]
fn the_last_transition_decides_the_state() {
    use JobState as S;
    use Transition as T;
    let check = |moves: &[(T, u32)], expected: S| {
        let later: Vec<_> =
            (1..).zip(moves).map(|(at, (transition, attempt))| event(*transition, *attempt, at)).collect();
        let mut events = vec![accepted(0)];
        events.extend(later);
        assert_eq!(view(&events).state, expected, "{moves:?}");
    };
    check(&[], S::Queued);
    check(&[(T::Started, 1)], S::Running);
    check(&[(T::Started, 1), (T::Crashed, 1)], S::Queued);
    check(&[(T::Started, 1), (T::Crashed, 1), (T::Started, 2)], S::Running);
    check(&[(T::Started, 1), (T::HandedBack, 1)], S::Queued);
    check(&[(T::Started, 1), (T::Retried, 1)], S::Retrying);
    check(&[(T::Started, 1), (T::Snoozed, 1)], S::Retrying);
    check(&[(T::Started, 1), (T::Retried, 1), (T::Released, 1)], S::Queued);
    check(&[(T::Started, 1), (T::Refused, 1)], S::Running);
    check(&[(T::Succeeded, 1), (T::Started, 2)], S::Succeeded);
    check(&[(T::Dead, 1)], S::Dead);
    check(&[(T::Cancelled, 0), (T::Started, 1)], S::Cancelled);
    check(&[(T::Expired, 0)], S::Expired);
    check(&[(T::Rejected, 0), (T::Started, 1)], S::Dead);
    check(&[(T::Rejected, 0), (T::Succeeded, 1)], S::Succeeded);
}

#[test]
fn a_timer_that_ended_leaves_the_job_queued() {
    let scheduled = view(&[accepted(60)]);
    assert_eq!(scheduled.state, JobState::Scheduled);
    assert_eq!(scheduled.at(second(59)).state, JobState::Scheduled);
    assert_eq!(scheduled.at(second(60)).state, JobState::Queued);
    let retried = Event { due_at: Some(second(90)), ..event(Transition::Retried, 1, 61) };
    let retrying = view(&[accepted(60), retried]);
    assert_eq!((retrying.state, retrying.due_at), (JobState::Retrying, Some(second(90))));
    assert_eq!(retrying.at(second(90)).state, JobState::Queued);
    let done = view(&[accepted(60), event(Transition::Succeeded, 1, 61)]);
    assert_eq!(done.at(second(900)).state, JobState::Succeeded);
}

/// Two lives of one id: the second acceptance shows, whatever comes first.
#[test]
fn an_id_that_was_accepted_again_says_so() {
    let again = Event {
        at: second(2000),
        accepted_at: Some(second(2000)),
        note: "waited 90 s".to_owned(),
        ..accepted(0)
    };
    let events =
        [accepted(0), event(Transition::Started, 1, 1), event(Transition::Succeeded, 1, 2), again.clone()];
    let mut reversed = events.to_vec();
    reversed.reverse();
    for events in [&events[..], &reversed] {
        let view = view(events);
        assert_eq!(
            (view.state, view.accepted_at, view.attempts.len()),
            (JobState::Succeeded, Some(second(0)), 1)
        );
        let shown: Vec<_> = view.transitions.iter().map(|t| (t.transition, t.attempt, t.at)).collect();
        assert_eq!(shown.last(), Some(&(Transition::Accepted, 0, second(2000))), "{shown:?}");
        let note = view.transitions.last().and_then(|t| t.note.clone()).unwrap_or_default();
        assert!(note.contains("accepted again") && note.contains("waited 90 s"), "{note}");
    }
    // Said twice it is one acceptance.
    let told = Event { note: String::new(), ..again };
    let once = view(&[told.clone(), told.clone()]);
    assert_eq!((once.transitions.len(), &once.transitions[0].note), (1, &None));
    let mut history: History = events.into_iter().collect();
    assert!(!history.record(told), "it tells less than what is known");
}

#[test]
fn attempts_are_merged_by_number() {
    let worker = |mut event: Event, worker: &str| {
        event.worker = worker.to_owned();
        event
    };
    let retried = Event { error: Some(error("handler")), ..event(Transition::Retried, 1, 2) };
    let mut succeeded = worker(event(Transition::Succeeded, 2, 9), "w2");
    succeeded.result = Some(br#"{"bytes":3}"#.to_vec());
    let view = view(&[
        succeeded,
        worker(event(Transition::Started, 1, 1), "w1"),
        retried,
        worker(event(Transition::Started, 2, 8), "w2"),
    ]);
    assert_eq!(view.attempts.len(), 2);
    let [first, second_attempt] = &view.attempts[..] else { panic!("two attempts") };
    assert_eq!(
        (first.number, first.worker.as_deref(), first.outcome),
        (1, Some("w1"), Some(Outcome::Failed))
    );
    assert_eq!((first.started_at, first.ended_at), (Some(second(1)), Some(second(2))));
    assert_eq!(first.error, Some(error("handler")));
    assert_eq!(
        (second_attempt.outcome, second_attempt.ended_at),
        (Some(Outcome::Succeeded), Some(second(9)))
    );
    assert_eq!((view.error, view.ended_at), (None, Some(second(9))));
    assert_eq!(view.result, Some(serde_json::json!({"bytes": 3})));
}

#[test]
fn an_end_between_attempts_makes_no_attempt() {
    let dead = Event { error: Some(error("unknown_kind")), ..event(Transition::Dead, 1, 5) };
    let view = view(&[accepted(0), dead]);
    assert_eq!((view.attempts.len(), view.error), (0, Some(error("unknown_kind"))));
}

#[test]
fn a_cancellation_ends_the_attempt_that_ran() {
    let view = view(&[accepted(0), event(Transition::Started, 1, 1), event(Transition::Cancelled, 0, 4)]);
    let attempt = &view.attempts[0];
    assert_eq!((attempt.outcome, attempt.ended_at), (Some(Outcome::Cancelled), Some(second(4))));
}

#[test]
fn a_rejection_alone_is_a_dead_job() {
    let rejected = Event { kind: None, error: Some(error("malformed")), ..event(Transition::Rejected, 0, 3) };
    let view = view(&[rejected]);
    assert_eq!((view.kind.as_str(), view.state), ("", JobState::Dead));
    assert_eq!((view.error, view.accepted_at), (Some(error("malformed")), None));
}

#[test]
fn refusals_alone_make_no_job() {
    let refused = event(Transition::Refused, 1, 3);
    assert_eq!(History::from_iter([refused.clone()]).view(), None);
    assert_eq!(view(&[accepted(0), refused]).transitions.len(), 2);
}

fn any_event() -> impl Strategy<Value = Event> {
    let transition = proptest::sample::select(Transition::ALL);
    let maybe_at = || proptest::option::of((0i64..40).prop_map(second));
    let words = proptest::sample::select(vec!["", "a", "b"]);
    let times = (0i64..40, maybe_at(), maybe_at(), maybe_at());
    let content = (words, any::<bool>(), proptest::option::of(proptest::sample::select(vec!["1", "x"])));
    (transition, 0u32..4, times, content).prop_map(|(transition, attempt, times, (word, failed, result))| {
        Event {
            due_at: times.1,
            accepted_at: times.2,
            started_at: times.3,
            worker: word.to_owned(),
            note: word.to_owned(),
            error: failed.then(|| error(word)),
            outcome: failed.then_some(Outcome::TimedOut),
            alone: failed,
            result: result.map(|r| r.as_bytes().to_vec()),
            priority: if failed { crate::Priority::High } else { crate::Priority::Normal },
            ..event(transition, attempt, times.0)
        }
    })
}

proptest! {
    // Two tellings of one transition may differ here, as a crash that two claimers tell.
    #[test]
    fn any_order_with_duplicates_folds_to_the_same_view(
        (events, shuffled) in proptest::collection::vec(any_event(), 1..24)
            .prop_flat_map(|events| {
                let twice: Vec<_> = events.iter().chain(&events).cloned().collect();
                (Just(events), Just(twice).prop_shuffle())
            })
    ) {
        let history: History = events.into_iter().collect();
        let again: History = shuffled.into_iter().collect();
        prop_assert_eq!(&again, &history);
        prop_assert_eq!(again.view(), history.view());
    }

    #[test]
    fn nothing_moves_a_job_out_of_its_end(events in proptest::collection::vec(any_event(), 1..24)) {
        let mut history = History::default();
        for event in events {
            let before = history.view();
            history.record(event);
            if before.is_some_and(|view| view.state.is_terminal()) {
                let after = history.view().map(|view| view.state);
                prop_assert!(after.is_some_and(JobState::is_terminal));
            }
        }
    }
}

/// At each instant, what had happened by then.
#[test]
fn a_history_is_what_had_happened_by_then() {
    let retried = Event {
        due_at: Some(second(20)),
        error: Some(error("timeout")),
        ..event(Transition::Retried, 1, 12)
    };
    let events = [
        Event { at: second(11), due_at: Some(second(10)), accepted_at: Some(second(10)), ..accepted(0) },
        event(Transition::Started, 1, 11),
        retried,
        event(Transition::Refused, 1, 13),
        event(Transition::Started, 2, 21),
        event(Transition::Succeeded, 2, 25),
    ];
    let history: History = events.into_iter().collect();
    for (at, state, attempts) in [
        (9, None, 0),
        (10, Some(JobState::Queued), 0),
        (11, Some(JobState::Running), 1),
        (12, Some(JobState::Retrying), 1),
        (19, Some(JobState::Retrying), 1),
        (20, Some(JobState::Queued), 1),
        (21, Some(JobState::Running), 2),
        (24, Some(JobState::Running), 2),
        (25, Some(JobState::Succeeded), 2),
        (99, Some(JobState::Succeeded), 2),
    ] {
        let view = history.as_of(second(at)).view().map(|view| view.at(second(at)));
        assert_eq!(view.as_ref().map(|view| view.state), state, "{at}");
        assert_eq!(view.as_ref().map_or(0, |view| view.attempts.len()), attempts, "{at}");
        assert_eq!(view.and_then(|view| view.ended_at), (at >= 25).then(|| second(25)), "{at}");
    }
    assert_eq!(history.as_of(second(99)), history);
}
