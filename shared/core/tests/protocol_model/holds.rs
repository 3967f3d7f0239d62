//! With every defence, every scenario keeps every guarantee.

use stateright::{Checker, Model};

use crate::defences::Defences;
use crate::model::{GUARANTEES, NO_LATE_FIRE, NO_LATE_START, Protocol};
use crate::scenario::{self, Scenario};
use crate::{histories, progress};

fn check(scenario: Scenario) {
    let model = Protocol::new(scenario, Defences::ALL, GUARANTEES);
    let checker = model.checker().spawn_bfs().join();
    for (name, path) in checker.discoveries() {
        panic!("{}: not so: {name}\n{}", scenario.name, histories::of_path(path));
    }
    let states = checker.unique_state_count();
    println!("{}: {states} states, {} steps deep", scenario.name, checker.max_depth());
    assert!(states >= scenario.floor, "{}: only {states} states", scenario.name);
    let progress = progress::check(&model);
    assert_eq!(progress.states, states, "{}: two explorations differ", scenario.name);
    assert!(progress.good_ends > 0, "{}: no end", scenario.name);
    if let Some((start, path)) = progress.stuck {
        panic!("{}: stuck\n{}", scenario.name, histories::of_moves(&start, &path));
    }
}

macro_rules! scenarios {
    ($($test:ident => $scenario:ident),+ $(,)?) => {
        $(#[test]
        fn $test() {
            check(scenario::$scenario);
        })+

        #[test]
        fn every_scenario_is_checked() {
            assert_eq!([$(scenario::$scenario.name),+].as_slice(), scenario::ALL.iter().map(|s| s.name).collect::<Vec<_>>());
        }
    };
}

scenarios! {
    everything => EVERYTHING, flow_control => FLOW_CONTROL, leases => LEASES, forgetful => FORGETFUL,
    timers => TIMERS, due_timers => DUE_TIMERS, creates => CREATES, silence => SILENCE, hand_back => HAND_BACK,
    operators => OPERATORS, reconciled => RECONCILED, cancel => CANCEL,
}

#[test]
fn a_cancel_without_faults_is_tidy() {
    let model = Protocol::new(scenario::CANCEL, Defences::ALL, &[NO_LATE_FIRE, NO_LATE_START]);
    assert!(model.checker().spawn_bfs().join().discoveries().is_empty());
}

#[test]
#[ignore]
fn sizes() {
    for scenario in scenario::ALL {
        for bound in 1..=scenario.bound.min(2) {
            let model = Protocol::new(Scenario { bound, ..*scenario }, Defences::ALL, &[]);
            let t = std::time::Instant::now();
            let checker = Protocol { properties: &[crate::model::ONE_END], ..model }.checker().target_state_count(6_000_000).spawn_bfs().join();
            let n = checker.unique_state_count();
            println!("{} {bound}: {n} {} {:?} {:?}", scenario.name, checker.max_depth(), t.elapsed(), std::mem::size_of::<crate::state::State>());
        }
    }
}
