//! A report as Markdown.

use std::fmt::Write as _;

use super::part::Part;

/// Writes it.
pub(super) fn write(parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        // Writing to a string does not fail.
        let _ = match part {
            Part::Title(title) => write!(text, "# {title}\n\n"),
            Part::Heading(heading) => write!(text, "## {heading}\n\n"),
            Part::Text(words) => write!(text, "{}\n\n", escaped(words)),
            Part::Table { columns, rows } => {
                let names: Vec<String> = columns.iter().map(|(name, _)| escaped(name)).collect();
                let rules: Vec<&str> =
                    columns.iter().map(|(_, right)| if *right { "--:" } else { "---" }).collect();
                let mut table = format!("| {} |\n| {} |\n", names.join(" | "), rules.join(" | "));
                for row in rows {
                    let cells: Vec<String> = row.iter().map(|cell| escaped(cell)).collect();
                    let _ = writeln!(table, "| {} |", cells.join(" | "));
                }
                writeln!(text, "{table}")
            }
            // Its figures stand in the tables; only HTML draws.
            Part::Chart { .. } => Ok(()),
        };
    }
    text
}

/// What jobs bring cannot become a table, a link or HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '<' | '>' | '[' | ']' | '`' | '*' | '_' | '\\' | '#' => escaped.extend(['\\', c]),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_jobs_bring_stays_text() {
        let rows = vec![vec!["a|b\n<script>".to_owned(), "7".to_owned()]];
        let columns = vec![("Message", false), ("Jobs", true)];
        let text = write(&[Part::Title("Daily report".to_owned()), Part::Table { columns, rows }]);
        assert_eq!(
            text,
            "# Daily report\n\n| Message | Jobs |\n| --- | --: |\n| a\\|b \\<script\\> | 7 |\n\n"
        );
    }
}
