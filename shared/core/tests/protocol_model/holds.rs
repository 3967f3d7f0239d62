//! With every defence, every scenario keeps every guarantee.

use stateright::{Checker, Model};

use crate::defences::Defences;
use crate::model::{GUARANTEES, NO_LATE_FIRE, NO_LATE_START, ONE_HOLDER_ALWAYS, Protocol};
use crate::scenario::{self, Fault, Scenario};
use crate::{histories, progress};

fn check(scenario: Scenario) {
    let model = Protocol::new(scenario, Defences::ALL, GUARANTEES);
    let checker = model.clone().checker().spawn_bfs().join();
    if let Some((name, path)) = checker.discoveries().into_iter().next() {
        panic!("{}: not so: {name}\n{}", scenario.name, histories::of_path(path));
    }
    let states = checker.unique_state_count();
    assert!(states >= scenario.floor, "{}: only {states} states", scenario.name);
    let progress = progress::check(&model, |_| true);
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
    everything => EVERYTHING, from_task => FROM_TASK, flow_control => FLOW_CONTROL, leases => LEASES, forgetful => FORGETFUL,
    timers => TIMERS, due_timers => DUE_TIMERS, creates => CREATES, silence => SILENCE, hand_back => HAND_BACK,
    operators => OPERATORS, reconciled => RECONCILED, cancel => CANCEL, checkpoints => CHECKPOINTS,
    checkpoints_stopped => CHECKPOINTS_STOPPED, forgotten_ends => FORGOTTEN_ENDS,
}

/// The exception of guarantee 2 is real, and is the only one.
#[test]
fn a_forgotten_delivery_may_have_two_holders_and_one_end() {
    let strict = Protocol::new(scenario::FORGETFUL, Defences::ALL, &[ONE_HOLDER_ALWAYS]);
    let found = strict.checker().spawn_bfs().join().discovery(ONE_HOLDER_ALWAYS.name);
    assert!(found.is_some_and(|path| path.last_state().seen.forgot_unnoticed));
}

/// The second step of a cancel may be lost with its carrier: the next one looks for what is left.
#[test]
fn a_cancel_whose_carrier_dies_is_tidied() {
    let scenario = Scenario { faults: &[Fault::Cancel, Fault::OperatorCrash], bound: 2, ..scenario::CANCEL };
    let checker = Protocol::new(scenario, Defences::ALL, &[NO_LATE_START]).checker().spawn_bfs().join();
    assert!(checker.unique_state_count() > scenario::CANCEL.floor);
    assert!(checker.discoveries().is_empty());
}

#[test]
fn a_cancel_without_faults_is_tidy() {
    let model = Protocol::new(scenario::CANCEL, Defences::ALL, &[NO_LATE_FIRE, NO_LATE_START]);
    let checker = model.clone().checker().spawn_bfs().join();
    assert!(checker.unique_state_count() >= scenario::CANCEL.floor);
    assert!(checker.discoveries().is_empty());
}
