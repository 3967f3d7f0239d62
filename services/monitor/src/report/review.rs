//! What a report tells of schedules.

use windlass_schedules::review::{Collision, Review, Reviewed, Shift};

use super::part::{Part, instant, seconds, table};

/// Schedules of a collision that are named.
const NAMED: usize = 8;

/// What they did, and which fire together.
pub(super) fn review(review: &Review, parts: &mut Vec<Part>) {
    parts.push(Part::Heading("What schedules did"));
    let columns = [
        ("Schedule", false),
        ("Fired", true),
        ("Missed", true),
        ("Skipped", true),
        ("Late (median)", true),
        ("Late (most)", true),
        ("Last jobs failed", true),
        ("", false),
    ];
    let late = |late: Option<f64>| late.map(seconds).unwrap_or_default();
    let row = |one: &Reviewed| {
        vec![
            one.id.to_string(),
            one.fires.to_string(),
            one.misfires.to_string(),
            one.skipped.to_string(),
            late(one.lateness_median_seconds),
            late(one.lateness_max_seconds),
            if one.ended == 0 { String::new() } else { format!("{} of {}", one.failed, one.ended) },
            if one.never_succeeded { "never succeeds".to_owned() } else { String::new() },
        ]
    };
    table(parts, &columns, review.schedules.iter().map(row).collect(), "There is none.");
    let left = review.count.saturating_sub(review.schedules.len());
    if left > 0 {
        parts.push(Part::Text(format!("And {left} more.")));
    }
    parts.push(Part::Heading("Schedules that fire at the same instants"));
    let columns = [("Schedules", false), ("Instants", true), ("First", false), ("Shift by", false)];
    let row = |collision: &Collision| {
        let of = |what: &dyn Fn(&Shift) -> String| {
            let shown: Vec<_> = collision.schedules.iter().take(NAMED).map(what).collect();
            let more = collision.schedules.len().saturating_sub(NAMED);
            if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
        };
        vec![
            of(&|shift| shift.id.to_string()),
            collision.instants.to_string(),
            instant(collision.first_at),
            of(&|shift| format!("{}s", shift.shift_seconds)),
        ]
    };
    table(parts, &columns, review.collisions.iter().map(row).collect(), "None do.");
    parts.push(Part::Text(
        "A `phase`, another second or minute, or a `jitter` spreads those that fire together.".to_owned(),
    ));
}
