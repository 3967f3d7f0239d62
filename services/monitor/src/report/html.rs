//! A report as one HTML file, which needs nothing else.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::part::Part;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width\">\n<meta http-equiv=\"Content-Security-Policy\" \
    content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<style>\n\
    body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; \
    color-scheme: light dark }\n\
    table { border-collapse: collapse; display: block; overflow-x: auto }\n\
    th, td { padding: .25rem .75rem; border-bottom: 1px solid #8884; text-align: left; vertical-align: top }\n\
    .number { text-align: right; font-variant-numeric: tabular-nums }\n\
    svg { max-width: 100%; height: auto }\nsvg text { font-size: 12px; fill: currentColor }\n\
    .first { stroke: #2a6fdb; fill: #2a6fdb }\n.second { stroke: #d9822b; fill: #d9822b }\n\
    polyline { fill: none !important; stroke-width: 2 }\n</style>\n";
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 180.0;
/// Around the lines, for words.
const MARGIN: f64 = 28.0;

/// Writes it.
pub(super) fn write(parts: &[Part]) -> String {
    let title = parts.iter().find_map(|part| match part {
        Part::Title(title) => Some(format!("<title>{}</title>\n", escaped(title))),
        _ => None,
    });
    format!("{HEAD}{}{}</html>\n", title.unwrap_or_default(), body(parts))
}

/// What stands within the file, or within another page.
pub(super) fn body(parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        // Writing to a string does not fail.
        let _ = match part {
            Part::Title(title) => writeln!(text, "<h1>{}</h1>", escaped(title)),
            Part::Heading(heading) => writeln!(text, "<h2>{}</h2>", escaped(heading)),
            Part::Text(words) => writeln!(text, "<p>{}</p>", escaped(words)),
            Part::Table { columns, rows } => {
                let class = |right: bool| if right { " class=\"number\"" } else { "" };
                let mut table = "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr>".to_owned();
                for (name, right) in columns {
                    let _ = write!(table, "<th scope=\"col\"{}>{}</th>", class(*right), escaped(name));
                }
                table.push_str("</tr></thead><tbody>\n");
                for row in rows {
                    table.push_str("<tr>");
                    for (cell, (_, right)) in row.iter().zip(columns) {
                        let _ = write!(table, "<td{}>{}</td>", class(*right), escaped(cell));
                    }
                    table.push_str("</tr>\n");
                }
                writeln!(text, "{table}</tbody></table></div>")
            }
            Part::Chart { title, names, points } => writeln!(text, "{}", chart(title, names, points)),
        };
    }
    text
}

/// Lines from left to right, with the largest value at the top.
#[allow(clippy::cast_precision_loss, reason = "a drawing")]
fn chart(title: &str, names: &[&str; 2], points: &[(Timestamp, [u64; 2])]) -> String {
    let most = points.iter().flat_map(|(_, values)| values).copied().max().unwrap_or_default().max(1);
    let (first, last) = (points.first().map(|p| p.0), points.last().map(|p| p.0));
    let (Some(first), Some(last)) = (first, last) else { return String::new() };
    let spans = (last.as_second() - first.as_second()).max(1) as f64;
    let line = |which: usize| {
        let place = |(at, values): &(Timestamp, [u64; 2])| {
            let x = MARGIN + (at.as_second() - first.as_second()) as f64 / spans * (WIDTH - 2.0 * MARGIN);
            let y = HEIGHT - MARGIN - values[which] as f64 / most as f64 * (HEIGHT - 2.0 * MARGIN);
            format!("{x:.1},{y:.1}")
        };
        points.iter().map(place).collect::<Vec<_>>().join(" ")
    };
    let (bottom, right) = (HEIGHT - 8.0, WIDTH - MARGIN);
    let [one, other] = names;
    format!(
        "<h2>{title}</h2>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}: {one} and {other}, at \
         most {most}\">\n<polyline class=\"first\" points=\"{}\"/>\n<polyline class=\"second\" points=\"{}\"/>\n\
         <text x=\"{MARGIN}\" y=\"16\">at most {most}</text>\n\
         <text class=\"first\" x=\"200\" y=\"16\" stroke=\"none\">{one}</text>\n\
         <text class=\"second\" x=\"340\" y=\"16\" stroke=\"none\">{other}</text>\n\
         <text x=\"{MARGIN}\" y=\"{bottom}\">{}</text>\n\
         <text x=\"{right}\" y=\"{bottom}\" text-anchor=\"end\">{}</text>\n</svg>",
        line(0),
        line(1),
        first.strftime("%Y-%m-%d %H:%M"),
        last.strftime("%Y-%m-%d %H:%M"),
    )
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_jobs_bring_stays_text_and_lines_stay_within() {
        let rows = vec![vec!["<script>\"&'".to_owned()]];
        let at = |hour: i64| Timestamp::from_second(hour * 3600).unwrap();
        let points = vec![(at(0), [0, 5]), (at(1), [10, 0])];
        let chart = Part::Chart { title: "Jobs", names: ["a", "b"], points };
        let text = write(&[Part::Table { columns: vec![("Message", false)], rows }, chart]);
        assert!(
            text.contains("<td>&lt;script&gt;&quot;&amp;&#39;</td>") && !text.contains("<script"),
            "{text}"
        );
        assert!(text.contains("points=\"28.0,152.0 692.0,28.0\""), "{text}");
    }
}
