//! What a task may name, and what follows.

use proptest::prelude::*;

use super::*;

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn ended() -> impl Strategy<Value = Standing> {
    prop_oneof![
        Just(Standing::Ended(JobState::Succeeded)),
        Just(Standing::Ended(JobState::Dead)),
        Just(Standing::Ended(JobState::Cancelled)),
        Just(Standing::Ended(JobState::Expired)),
        Just(Standing::Forgotten),
    ]
}

fn edge() -> impl Strategy<Value = (OnFailure, Standing)> {
    let policy = prop_oneof![Just(OnFailure::Fail), Just(OnFailure::Continue), Just(OnFailure::Ignore)];
    (policy, prop_oneof![Just(Standing::Open), ended()])
}

#[test]
fn texts_read_back_or_are_refused() {
    for text in
        [ID, &format!("{ID};queue=mail"), &format!("{ID};queue=mail;on=ignore"), &format!("{ID};on=continue")]
    {
        assert_eq!(text.parse::<Dependency>().unwrap().to_string(), *text);
    }
    assert_eq!(parse_list(&format!("{ID}, {ID};on=fail")).unwrap().len(), 2);
    for bad in [
        "",
        "7",
        ",",
        &format!("{ID};on=never"),
        &format!("{ID};on"),
        &format!("{ID};queue=a.b"),
        &format!("{ID};x=1"),
        &format!("{ID};on=fail;on=ignore"),
        &format!("{ID},"),
    ] {
        assert!(parse_list(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_a_job_may_wait_for_is_bounded() {
    let (queue, id): (QueueName, JobId) = (QueueName::default(), ID.parse().unwrap());
    let other = |n: u64| Dependency {
        queue: None,
        job_id: JobId::of_message(jiff::Timestamp::UNIX_EPOCH, n),
        on_failure: OnFailure::Fail,
    };
    let many: Vec<_> = (0..1001).map(other).collect();
    assert!(check(&queue, id, &many[..1000]).is_ok());
    assert!(check(&queue, id, &many).unwrap_err().reason.contains("1001"));
    let own = Dependency { job_id: id, ..other(1) };
    assert!(check(&queue, id, std::slice::from_ref(&own)).unwrap_err().reason.contains("itself"));
    let elsewhere = Dependency { queue: "mail".parse().ok(), ..own };
    assert!(check(&queue, id, &[elsewhere]).is_ok(), "an id is unique within its queue");
    let named = Dependency { queue: Some(queue.clone()), ..other(1) };
    assert!(check(&queue, id, &[other(1), named]).unwrap_err().reason.contains("twice"));
}

proptest! {
    /// Deciding about each end when it comes gives what deciding about all at once gives, whatever the order, unless
    /// policies disagree.
    #[test]
    fn ends_may_come_in_any_order(edges in prop::collection::vec(edge(), 0..12), order in any::<prop::sample::Index>()) {
        let together = readiness(edges.iter().copied());
        let turned = if edges.is_empty() { 0 } else { order.index(edges.len()) };
        let mut open = 0;
        let mut first = None;
        for (policy, standing) in edges.iter().cycle().skip(turned).take(edges.len()) {
            match policy.effect(*standing) {
                Effect::None => open += 1,
                Effect::Satisfied => {}
                other => first = first.or(Some(other)),
            }
        }
        let by_turns = match first {
            Some(Effect::Die) => Readiness::Dies(0),
            Some(_) => Readiness::Starts,
            None if open == 0 => Readiness::Starts,
            None => Readiness::Waits,
        };
        let effects: Vec<_> = edges.iter().map(|(policy, standing)| policy.effect(*standing)).collect();
        let disagree = effects.contains(&Effect::Die) && effects.contains(&Effect::Start);
        let same = std::mem::discriminant(&together) == std::mem::discriminant(&by_turns);
        prop_assert!(same || disagree, "{together:?} {by_turns:?}");
    }

    /// A job whose dependencies have all ended waits no longer, and one that waits has an open one.
    #[test]
    fn nobody_waits_for_what_has_ended(edges in prop::collection::vec(edge(), 0..12)) {
        let open = edges.iter().any(|(_, standing)| *standing == Standing::Open);
        match readiness(edges.iter().copied()) {
            Readiness::Waits => prop_assert!(open),
            Readiness::Dies(number) => {
                prop_assert_eq!(edges[number].0.effect(edges[number].1), Effect::Die);
            }
            Readiness::Starts => {
                let continued = edges.iter().any(|(policy, standing)| policy.effect(*standing) == Effect::Start);
                prop_assert!(!open || continued);
            }
        }
    }

    /// An order has everybody once and after all that it waits for; or there is a cycle.
    #[test]
    fn jobs_are_put_in_order(count in 1_usize..20, edges in prop::collection::vec((0_usize..20, 0_usize..20), 0..30)) {
        let edges: HashSet<_> = edges.into_iter().filter(|(a, b)| a < &count && b < &count && a != b).collect();
        let of = |n: usize| edges.iter().filter(|(a, _)| *a == n).map(|(_, b)| *b).collect::<Vec<_>>();
        match in_order(count, of) {
            Ok(order) => {
                let place: Vec<_> = (0..count).map(|n| order.iter().position(|o| *o == n).unwrap()).collect();
                prop_assert!(edges.iter().all(|(waits, on)| place[*on] < place[*waits]));
            }
            Err(cycle) => {
                for (n, waits) in cycle.iter().enumerate() {
                    let on = cycle[(n + 1) % cycle.len()];
                    prop_assert!(edges.contains(&(*waits, on)), "{cycle:?} {edges:?}");
                }
            }
        }
    }
}
