use std::collections::HashMap;

use super::*;
use proptest::prelude::*;

/// Takes the next turn; the lane keeps its waiters.
fn take(turns: &mut Turns) -> Option<Lane> {
    let lane = turns.next().cloned()?;
    turns.took(&lane);
    Some(lane)
}

/// The tenants of the next so many turns.
fn tenants(turns: &mut Turns, count: usize) -> String {
    (0..count).filter_map(|_| take(turns)).map(|lane| lane.tenant.to_string()).collect()
}

fn lane(tenant: &str) -> Lane {
    Lane::new(Priority::Normal, tenant)
}

#[test]
fn nobody_waits_at_first_and_in_the_end() {
    let mut turns = Turns::new(Priorities::Weighted);
    assert_eq!((turns.next(), turns.len(), turns.is_empty()), (None, 0, true));
    turns.join(lane("a"), 1);
    turns.join(lane("a"), 1);
    assert_eq!((turns.next(), turns.len()), (Some(&lane("a")), 1));
    turns.took(&lane("b"));
    turns.leave(&lane("b"));
    turns.leave(&lane("a"));
    turns.leave(&lane("a"));
    assert_eq!((turns.next(), turns.len()), (None, 0));
    // Nothing is kept of it.
    assert!(turns.levels.iter().all(|level| level.tenants.is_empty() && level.order.is_empty()));
    assert!(turns.levels.iter().all(|level| level.away.is_empty() && level.away_order.is_empty()));
}

#[test]
fn tenants_take_turns_by_weight() {
    let mut turns = Turns::new(Priorities::Ignored);
    turns.join(lane("a"), 1);
    turns.join(lane("b"), 1);
    assert_eq!(tenants(&mut turns, 6), "ababab");
    turns.join(lane("b"), 3);
    assert_eq!(tenants(&mut turns, 9), "abbbabbba");
    turns.join(lane("c"), 0);
    assert_eq!(turns.len(), 3);
    assert!(tenants(&mut turns, 10).contains('c'));
}

/// Who had nothing lately goes first for a few jobs, once: leaving and joining again gains nothing.
#[test]
fn a_tenant_that_was_away_has_its_credit_once() {
    const CREDIT: usize = super::CREDIT as usize;
    let mut turns = Turns::new(Priorities::Ignored);
    turns.join(lane("a"), 1);
    assert_eq!(tenants(&mut turns, 1000), "a".repeat(1000));
    turns.join(lane("b"), 1);
    assert_eq!(tenants(&mut turns, CREDIT), "b".repeat(CREDIT));
    assert_eq!(tenants(&mut turns, 6), "ababab");
    turns.leave(&lane("b"));
    turns.join(lane("b"), 1);
    assert_eq!(tenants(&mut turns, 6), "ababab");
    turns.leave(&lane("b"));
    // It comes back as others have their turns.
    assert_eq!(tenants(&mut turns, 4), "aaaa");
    turns.join(lane("b"), 1);
    assert_eq!(tenants(&mut turns, 8), "bbbbabab");
    turns.leave(&lane("b"));
    assert_eq!(tenants(&mut turns, 1000), "a".repeat(1000));
    turns.join(lane("b"), 3);
    assert_eq!(tenants(&mut turns, 3 * CREDIT), "b".repeat(3 * CREDIT), "by its weight");
}

#[test]
fn little_is_kept_of_those_who_left() {
    let mut turns = Turns::new(Priorities::Ignored);
    turns.join(lane("a"), 1);
    assert_eq!(tenants(&mut turns, 40), "a".repeat(40));
    for number in 0..MOST_AWAY + 100 {
        let one = lane(&format!("b{number}"));
        turns.join(one.clone(), 1);
        assert_eq!(take(&mut turns), Some(one.clone()));
        turns.leave(&one);
    }
    let level = &turns.levels[0];
    assert_eq!((level.away.len(), level.away_order.len()), (MOST_AWAY, MOST_AWAY));
    // A few rounds on, none of them has had much lately.
    assert_eq!(tenants(&mut turns, 40), "a".repeat(40));
    turns.join(lane("c"), 1);
    turns.took(&lane("c"));
    turns.leave(&lane("c"));
    let level = &turns.levels[0];
    assert_eq!((level.away.len(), level.away_order.len()), (1, 1));
}

#[test]
fn a_priority_that_was_away_gets_no_credit() {
    let mut turns = Turns::new(Priorities::Weighted);
    turns.join(Lane::new(Priority::Low, "l"), 1);
    assert_eq!(tenants(&mut turns, 1000), "l".repeat(1000));
    turns.join(Lane::new(Priority::Critical, "c"), 1);
    assert_eq!(tenants(&mut turns, 18), "ccccccclcccccccclc");
}

#[test]
fn where_priorities_are_ignored_a_tenant_has_one_share() {
    let mut turns = Turns::new(Priorities::Ignored);
    turns.join(Lane::new(Priority::Critical, "a"), 1);
    turns.join(Lane::new(Priority::Low, "a"), 1);
    turns.join(Lane::new(Priority::Low, "b"), 1);
    let taken: Vec<_> = (0..6).filter_map(|_| take(&mut turns)).collect();
    assert_eq!(taken.iter().filter(|lane| &*lane.tenant == "a").count(), 3);
    assert!(
        taken.contains(&Lane::new(Priority::Critical, "a")) && taken.contains(&Lane::new(Priority::Low, "a"))
    );
    turns.leave(&Lane::new(Priority::Critical, "a"));
    assert_eq!((turns.len(), tenants(&mut turns, 4).matches('a').count()), (2, 2));
}

/// A turn out of order is counted too, and gives nobody else credit.
#[test]
fn who_goes_out_of_turn_waits_longer() {
    let mut turns = Turns::new(Priorities::Ignored);
    turns.join(lane("a"), 1);
    turns.join(lane("b"), 1);
    turns.took(&lane("b"));
    assert_eq!(tenants(&mut turns, 4), "aabab"[..4]);
}

#[test]
fn priorities_share_every_15_turns() {
    let mut turns = Turns::new(Priorities::Weighted);
    for priority in Priority::ALL {
        turns.join(Lane::new(priority, priority.as_str()), 1);
    }
    for _ in 0..100 {
        let mut counts = HashMap::new();
        for _ in 0..15 {
            *counts.entry(take(&mut turns).unwrap().priority).or_insert(0) += 1;
        }
        assert_eq!(Priority::ALL.map(|p| counts[&p]), [8, 4, 2, 1]);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Join(Lane),
    Leave(Lane),
    Take,
}

fn steps(
    priorities: &'static [Priority],
    tenants: &'static [&'static str],
) -> impl Strategy<Value = Vec<Step>> {
    let lane = || {
        (prop::sample::select(priorities), prop::sample::select(tenants)).prop_map(|(p, t)| Lane::new(p, t))
    };
    let step = prop_oneof![
        2 => lane().prop_map(Step::Join),
        1 => lane().prop_map(Step::Leave),
        5 => Just(Step::Take),
    ];
    prop::collection::vec(step, 0..400)
}

/// Of the tenant with this name: a digit.
fn weight(tenant: &str) -> u32 {
    tenant.parse().unwrap()
}

/// Does the step, and tells whose turn it was.
fn apply(turns: &mut Turns, step: Step) -> Option<Lane> {
    match step {
        Step::Join(lane) => {
            let weight = weight(&lane.tenant);
            turns.join(lane, weight);
        }
        Step::Leave(lane) => turns.leave(&lane),
        Step::Take => return take(turns),
    }
    None
}

const TENANTS: &[&str] = &["1", "2", "3", "5", "9"];

proptest! {
    /// Whatever the others do, a priority that always has waiters has its turn within the bound.
    #[test]
    fn no_priority_waits_longer_than_the_bound(
        before in steps(&Priority::ALL, &["1", "2"]), after in steps(&Priority::ALL, &["1", "2"]),
        watched in prop::sample::select(&Priority::ALL[..]),
    ) {
        let mut turns = Turns::new(Priorities::Weighted);
        for step in before {
            apply(&mut turns, step);
        }
        // A tenant that no step names: it never leaves.
        turns.join(Lane::new(watched, "3"), 3);
        let mut others = 0;
        for step in after {
            match apply(&mut turns, step) {
                Some(lane) if lane.priority == watched => others = 0,
                Some(_) => others += 1,
                None => {}
            }
            prop_assert!(others <= MAX_TURNS_BETWEEN);
        }
    }

    /// Whatever the others do, a tenant that always has waiters lets each of them go ahead by its share, and once by its
    /// credit: neither many jobs nor leaving and joining again gives more.
    #[test]
    fn no_tenant_gets_more_than_its_share_and_its_credit(
        before in steps(&[Priority::Normal], TENANTS), after in steps(&[Priority::Normal], TENANTS),
        watched in 1u32..10, name in "[a-z0-9]",
    ) {
        let mut turns = Turns::new(Priorities::Ignored);
        for step in before {
            apply(&mut turns, step);
        }
        // A name of two characters is none of the others', and may stand before or after them.
        let mine = lane(&format!("{name}w"));
        turns.join(mine.clone(), watched);
        let (mut others, mut had): (HashMap<Arc<str>, u32>, u32) = Default::default();
        for step in after {
            match apply(&mut turns, step) {
                Some(lane) if lane == mine => had += 1,
                Some(lane) => {
                    let count = others.entry(lane.tenant.clone()).or_default();
                    *count += 1;
                    let weight = weight(&lane.tenant);
                    // Its own credit comes first: who begins with all of it is at one place with others that do.
                    let own = (watched * CREDIT).saturating_sub(1);
                    let bound = weight * CREDIT + (had.saturating_sub(own) * weight).div_ceil(watched);
                    prop_assert!(*count <= bound, "{lane:?} {count}");
                }
                None => {}
            }
        }
    }

    /// In each round of as many turns as all weights together, each tenant has as many as its weight.
    #[test]
    fn shares_are_the_weights_in_each_round(weights in prop::collection::vec(1u32..=100, 1..8)) {
        let mut turns = Turns::new(Priorities::Ignored);
        for (index, weight) in weights.iter().enumerate() {
            turns.join(lane(&index.to_string()), *weight);
        }
        for _ in 0..3 {
            let mut counts = vec![0; weights.len()];
            for _ in 0..weights.iter().sum() {
                counts[take(&mut turns).unwrap().tenant.parse::<usize>().unwrap()] += 1;
            }
            prop_assert_eq!(&counts, &weights);
        }
    }

    /// Only lanes that wait have turns, somebody does while any waits, and a strict order is one.
    #[test]
    fn turns_are_had_by_those_who_wait(
        steps in steps(&Priority::ALL, TENANTS),
        priorities in prop::sample::select(&[Priorities::Ignored, Priorities::Weighted, Priorities::Strict][..]),
    ) {
        let mut turns = Turns::new(priorities);
        let mut waiting = BTreeSet::new();
        for step in steps {
            match &step {
                Step::Join(lane) => drop(waiting.insert(lane.clone())),
                Step::Leave(lane) => drop(waiting.remove(lane)),
                Step::Take => {}
            }
            apply(&mut turns, step);
            prop_assert_eq!((turns.len(), turns.is_empty()), (waiting.len(), waiting.is_empty()));
            prop_assert_eq!(turns.next().is_some(), !waiting.is_empty());
            if let Some(lane) = turns.next() {
                prop_assert!(waiting.contains(lane));
                let first = waiting.first().map(|lane| lane.priority);
                prop_assert!(priorities != Priorities::Strict || Some(lane.priority) == first);
            }
        }
    }
}
