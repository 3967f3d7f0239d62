//! Text for people: aligned columns, times, and nothing that would steer a terminal.

use std::fmt::Write as _;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Rows under headings.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
}

/// What stands where nothing is known.
const NOTHING: &str = "-";
/// Between two columns.
const GAP: &str = "  ";

// === impl Table ===

impl Table {
    /// With these headings.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(ToString::to_string).collect()], right: Vec::new() }
    }

    /// Puts columns of numbers to the right.
    pub(crate) fn right(mut self, columns: impl IntoIterator<Item = usize>) -> Self {
        self.right.extend(columns);
        self
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cell = |text: String| if text.is_empty() { NOTHING.to_owned() } else { printable(&text) };
        self.rows.push(cells.into_iter().map(cell).collect());
    }

    /// As text; every line ends with a line feed.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                if column > 0 {
                    line.push_str(GAP);
                }
                // Writing into a string does not fail.
                let _ = if self.right.contains(&column) {
                    write!(line, "{cell:>width$}")
                } else {
                    write!(line, "{cell:<width$}")
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// The text without control characters: what jobs say must not move the cursor or colour the screen.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// At most this many characters.
pub(crate) fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// An instant in this machine's zone, as RFC 3339 with milliseconds.
pub(crate) fn instant(at: Timestamp) -> String {
    instant_in(at, TimeZone::system())
}

fn instant_in(at: Timestamp, zone: TimeZone) -> String {
    at.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
}

/// How far away an instant is, as `3m ago` or `in 2h`.
pub(crate) fn relative(at: Timestamp, now: Timestamp) -> String {
    let distance = at.duration_since(now);
    let text = seconds(distance.abs().as_secs_f64());
    if distance > SignedDuration::ZERO { format!("in {text}") } else { format!("{text} ago") }
}

/// A length of time, in the unit that says it best.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 0.001 => "0ms".to_owned(),
        s if s < 1.0 => format!("{:.0}ms", s * 1000.0),
        s if s < 10.0 => format!("{s:.1}s"),
        s if s < 120.0 => format!("{s:.0}s"),
        s if s < 7200.0 => format!("{:.0}m", s / 60.0),
        s if s < 172_800.0 => format!("{:.0}h", s / 3600.0),
        s => format!("{:.0}d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["ID", "COUNT", "NOTE"]).right([1]);
        table.row(["a".into(), "7".into(), "grün".into()]);
        table.row(["longer".into(), "123".into(), String::new()]);
        table.row(["b".into(), "1".into(), "two\nlines\x1b[31m".into()]);
        let expected = "\
ID      COUNT  NOTE
a           7  grün
longer    123  -
b           1  two lines [31m
";
        assert_eq!(table.render(), expected);
    }

    #[test]
    fn times() {
        let at: Timestamp = "2026-01-31T08:00:00.1234Z".parse().unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(instant_in(at, zone), "2026-01-31T10:00:00.123+02:00");
        let after = |seconds| at + SignedDuration::from_secs(seconds);
        assert_eq!(relative(at, after(90)), "90s ago");
        assert_eq!(relative(after(7200), at), "in 2h");
        for (length, expected) in [
            (0.0, "0ms"),
            (0.0125, "12ms"),
            (1.25, "1.2s"),
            (119.0, "119s"),
            (120.0, "2m"),
            (172_799.0, "48h"),
            (172_800.0, "2d"),
        ] {
            assert_eq!(seconds(length), expected, "{length}");
        }
    }

    #[test]
    fn a_cut_keeps_whole_characters() {
        assert_eq!(cut("grün", 4), "grün");
        assert_eq!(cut("grüne", 3), "grü…");
    }
}
