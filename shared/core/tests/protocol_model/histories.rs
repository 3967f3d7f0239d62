//! Histories in words.

use std::fmt::Write as _;

use stateright::Path;

use crate::state::State;
use crate::step::Move;

/// A history that the checker found.
pub(crate) fn of_path(path: Path<State, Move>) -> String {
    let steps = path.into_vec();
    let start = steps[0].0.clone();
    let moves: Vec<_> = steps.into_iter().filter_map(|(_, step)| step).collect();
    of_moves(&start, &moves)
}

/// One line for each step, with what JOBS holds after it.
pub(crate) fn of_moves(start: &State, moves: &[Move]) -> String {
    let mut text = format!("   the task asks for `{}`\n", start.creates.record_kind());
    let (mut faults, mut jobs) = (start.faults, start.jobs.clone());
    for (number, Move { step, next }) in (1..).zip(moves) {
        let fault = if next.faults > faults { " [fault]" } else { "" };
        let _ = write!(text, "{number:2}. {step}{fault}");
        if next.jobs != jobs {
            let now: Vec<_> = next.jobs.iter().map(ToString::to_string).collect();
            let same = next.jobs.iter().map(|m| m.record).eq(jobs.iter().map(|m| m.record));
            if !same {
                let _ = write!(text, " => [{}]", now.join(", "));
            }
        }
        text.push('\n');
        (faults, jobs) = (next.faults, next.jobs.clone());
    }
    text
}
