//! Without a defence, a guarantee breaks: the shortest history with the fewest faults is found, and `histories.md`
//! holds it, so that a test on a real broker can play it.

use stateright::{Checker, Model};

use crate::defences::Defences;
use crate::histories;
use crate::model::{
    CRASH_RECORDED, Claim, FEW_EXTRA, GUARANTEES, NO_CRASH_INVENTED, NO_LATE_FIRE, NO_LATE_START,
    NOTHING_LOST, ONE_END, ONE_HOLDER, Protocol, WITHIN_POLICY,
};
use crate::progress;
use crate::scenario::{self, Fault, Scenario};
use crate::state::State;

/// What goes wrong.
#[derive(Clone, Copy)]
enum Wrong {
    /// A property fails.
    Not(&'static [Claim]),
    /// A good end cannot be reached any more, as this state shows.
    Stuck(fn(&State) -> bool),
}

/// A defence, and what happens without it.
struct Break {
    /// Heads its section.
    name: &'static str,
    /// The rule that is left out, in words.
    rule: &'static str,
    without: fn(&mut Defences),
    scenario: Scenario,
    wrong: Wrong,
}

const HELD_CANCELS: Scenario =
    Scenario { creates: &[windlass_core::protocol::Kind::Held], reconciler: false, ..scenario::RECONCILED };

const fn only(scenario: Scenario, faults: &'static [Fault]) -> Scenario {
    Scenario { faults, ..scenario }
}

/// Workers that die or are slow: a broker that forgets would give shorter histories, and rarer ones.
const SLOW_OR_DEAD: Scenario = only(scenario::LEASES, &[Fault::WorkerCrash, Fault::LeaseEnds]);

/// Everybody has gone, and the message was delivered this often.
fn delivered(state: &State, times: u8) -> bool {
    state.holders.is_empty() && state.jobs.iter().any(|m| m.count >= times)
}

macro_rules! breaks {
    ($($test:ident, $rule:literal, $field:ident, $scenario:expr, $wrong:expr;)+) => {
        const BREAKS: &[Break] = &[$(Break {
            name: stringify!($test),
            rule: $rule,
            without: |d| d.$field = false,
            scenario: $scenario,
            wrong: $wrong,
        }),+];

        $(#[test]
        fn $test() {
            check(stringify!($test));
        })+
    };
}

breaks! {
    condition, "A transition is written on the condition of the token.",
        condition, SLOW_OR_DEAD, Wrong::Not(&[ONE_END]);
    claim, "A redelivered message is claimed before it runs.",
        claim, SLOW_OR_DEAD, Wrong::Not(&[ONE_HOLDER]);
    suspect, "A first delivery after a reconnection is claimed like a redelivery.",
        suspect, scenario::LEASES, Wrong::Not(&[ONE_HOLDER]);
    claim_over_claim, "A claim may be written on an earlier claim of the same message.",
        claim_over_claim, SLOW_OR_DEAD, Wrong::Stuck(|s| delivered(s, 3));
    abandon, "A refused holder leaves its message to the new holder and does not acknowledge it.",
        abandon, SLOW_OR_DEAD, Wrong::Not(&[NOTHING_LOST]);
    acknowledge_stale, "A refused holder acknowledges a message that nobody needs any more.",
        acknowledge_stale, SLOW_OR_DEAD, Wrong::Stuck(|s| delivered(s, 2));
    drop_overdue_claim, "A claim is not written once the message was held for `ack_wait`, or the connection was lost.",
        drop_overdue_claim, SLOW_OR_DEAD, Wrong::Not(&[FEW_EXTRA]);
    drop_overdue_nak, "A holder whose lease may have ended hands back without a nak.",
        drop_overdue_nak, scenario::HAND_BACK, Wrong::Not(&[FEW_EXTRA]);
    record_crash, "A claim records the crash that led to it.",
        record_crash, scenario::LEASES, Wrong::Not(&[CRASH_RECORDED]);
    hand_back_marker, "The claim of a hand-back says that it is one.",
        hand_back_marker, scenario::HAND_BACK, Wrong::Not(&[NO_CRASH_INVENTED]);
    only_failures_count, "Crashes and hand-backs use no attempt of the policy.",
        only_failures_count, scenario::LEASES, Wrong::Not(&[WITHIN_POLICY]);
    fired_check, "A fired message is checked before it runs.",
        fired_check, scenario::TIMERS, Wrong::Not(&[ONE_END]);
    fired_check_of_due, "A fired message is checked before the dispatcher lets it through.",
        fired_check, scenario::DUE_TIMERS, Wrong::Not(&[ONE_END]);
    done_check, "A check asks for a `done`, last or not.",
        done_check, scenario::TIMERS, Wrong::Not(&[ONE_END]);
    read_order, "The last message is read first, the `done` second.",
        read_order, scenario::TIMERS, Wrong::Not(&[ONE_END]);
    leader_reads, "Reads come from the stream's leader.",
        leader_reads, scenario::TIMERS, Wrong::Not(&[ONE_END]);
    settled_first, "An end is forgotten before its horizon only once all work of before is settled.",
        settled_first, scenario::FORGOTTEN_ENDS, Wrong::Not(&[ONE_END]);
    undecided_again, "10164 is tried again and not taken for a refusal.",
        undecided_again, scenario::CREATES, Wrong::Not(&[NOTHING_LOST]);
    unacknowledged_at_deadline, "What is not decided by its deadline is left unacknowledged.",
        unacknowledged_at_deadline, scenario::CREATES, Wrong::Not(&[NOTHING_LOST]);
    drop_overdue_create, "A create is dropped once its task was held for `ack_wait`.",
        drop_overdue_create, scenario::CREATES, Wrong::Not(&[ONE_END]);
    compare, "A refusal that follows silence is compared before it is believed.",
        compare, scenario::HAND_BACK, Wrong::Not(&[NO_CRASH_INVENTED]);
    purge_in_release, "A release removes the timer in the same write.",
        purge_in_release, scenario::OPERATORS,
        Wrong::Stuck(|s| s.seen.ends > 0 && s.holders.is_empty() && s.commands.is_empty());
    purge_in_cancel, "A cancel removes the timer in the same write. Tidiness: the end is right without it.",
        purge_in_cancel, scenario::CANCEL, Wrong::Not(&[NO_LATE_FIRE]);
    purge_in_cancel_of_held, "A cancel removes the far timer of a hold. Tidiness, where a reconciler runs.",
        purge_in_cancel, HELD_CANCELS, Wrong::Stuck(|s| s.seen.cancelled);
    delete_in_cancel, "A cancel deletes the waiting message afterwards. Tidiness: the end is right without it.",
        delete_in_cancel, scenario::CANCEL, Wrong::Not(&[NO_LATE_START]);
}

/// Without what is only tidiness, the guarantees hold.
#[test]
fn tidiness_is_no_defence() {
    let mut defences = Defences::ALL;
    defences.purge_in_cancel = false;
    defences.delete_in_cancel = false;
    for scenario in [scenario::CANCEL, scenario::RECONCILED] {
        let model = Protocol::new(scenario, defences, GUARANTEES);
        let checker = model.clone().checker().spawn_bfs().join();
        assert!(checker.discoveries().is_empty(), "{}", scenario.name);
        assert!(checker.unique_state_count() >= scenario.floor / 2);
        assert!(progress::check(&model, |_| true).stuck.is_none(), "{}", scenario.name);
    }
}

/// The file has a section for each, in this order, and no other. `WINDLASS_BLESS=1` writes it anew.
#[test]
fn histories_are_complete() {
    if std::env::var_os("WINDLASS_BLESS").is_some() {
        let path = "tests/protocol_model/histories.md";
        let sections: Vec<_> = BREAKS.iter().map(section).collect();
        std::fs::write(path, format!("{HEADER}\n{}", sections.join("\n"))).unwrap();
        return;
    }
    let known: Vec<_> = FILE.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(known, BREAKS.iter().map(|b| b.name).collect::<Vec<_>>());
    assert!(FILE.starts_with(HEADER));
}

const FILE: &str = include_str!("histories.md");

const HEADER: &str = "\
# What happens without each defence

Found by the model in this folder: for each rule of the protocol, the history with the fewest faults, and among those
the shortest, that breaks a guarantee when the rule is left out. Each step is one operation of the broker; `=> [...]`
is what the stream JOBS then holds of the job, by sequence; `[fault]` counts against the bound. A holder is named by
its message and the broker's delivery count. With the rule, no history of the same scenario breaks any guarantee.

Written by the tests (`WINDLASS_BLESS=1 cargo test -p windlass-core --test protocol_model`); do not edit.
";

#[allow(clippy::print_stdout, reason = "the history is what the test is for")]
fn check(name: &str) {
    if std::env::var_os("WINDLASS_BLESS").is_some() {
        return;
    }
    let this = BREAKS.iter().find(|b| b.name == name).expect("in the table");
    let found = section(this);
    println!("{found}");
    let heading = format!("## {name}\n");
    let start = FILE.find(&heading).unwrap_or_else(|| panic!("histories.md has no section {name}"));
    let rest = &FILE[start + heading.len()..];
    let known = &FILE[start..start + heading.len() + rest.find("\n## ").unwrap_or(rest.len())];
    assert_eq!(known.trim_end(), found.trim_end(), "histories.md is out of date");
}

/// The break in words; there must be one.
fn section(this: &Break) -> String {
    let mut defences = Defences::ALL;
    (this.without)(&mut defences);
    for bound in 0..=this.scenario.bound {
        let scenario = Scenario { bound, ..this.scenario };
        let found = match this.wrong {
            Wrong::Not(claims) => {
                // One property only, so that the first discovery, which is the shortest, ends the search.
                let checker = Protocol::new(scenario, defences, claims).checker().spawn_bfs().join();
                checker.discoveries().remove(claims[0].name).map(|p| (claims[0].name, histories::of_path(p)))
            }
            Wrong::Stuck(shows) => progress::check(&Protocol::new(scenario, defences, GUARANTEES), shows)
                .stuck
                .map(|(start, moves)| {
                    ("the job can still end, with nothing left", histories::of_moves(&start, &moves))
                }),
        };
        if let Some((name, history)) = found {
            let Break { name: heading, rule, .. } = this;
            return format!(
                "## {heading}\n\n{rule}\n\nWithout it, not so: {name}.\n\n```text\n{history}```\n"
            );
        }
    }
    panic!("{}: nothing breaks without it", this.name);
}
