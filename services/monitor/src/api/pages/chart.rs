//! Charts, drawn here as SVG: bars on each other, or lines. What they show is told as a table too.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::words;

/// A chart of values over time.
#[derive(Debug, Clone)]
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// What each value of a point is: its name, and the class of its colour.
    pub(super) series: Vec<(&'static str, &'static str)>,
    /// At the beginning of each part; a value that is not known is left out.
    pub(super) points: Vec<(Timestamp, Vec<Option<f64>>)>,
    pub(super) form: Form,
    pub(super) unit: Unit,
    /// How long a part is.
    pub(super) minutes: i64,
}

/// How it is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// On each other.
    Bars,
    /// Beside each other.
    Lines,
}

/// Of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// So many.
    Count,
    /// A time.
    Seconds,
}

/// In units of the drawing, which is stretched to its place.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;
/// Instants under it.
const MARKS: usize = 5;

// === impl Unit ===

impl Unit {
    pub(super) fn text(self, value: f64) -> String {
        match self {
            Self::Seconds => words::duration(&value),
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
            Self::Count => words::count(&(value.round().max(0.0) as u64)),
        }
    }
}

// === impl Chart ===

impl Chart {
    /// Whether there is anything to be seen.
    pub(super) fn is_empty(&self) -> bool {
        self.points.iter().all(|(_, values)| values.iter().flatten().all(|value| *value <= 0.0))
    }

    /// At the top of it.
    pub(super) fn most(&self) -> f64 {
        let of = |values: &Vec<Option<f64>>| match self.form {
            Form::Bars => values.iter().flatten().sum::<f64>(),
            Form::Lines => values.iter().flatten().copied().fold(0.0, f64::max),
        };
        let most = self.points.iter().map(|(_, values)| of(values)).fold(0.0, f64::max);
        round_up(most, self.unit)
    }

    /// Beside it: the top, the middle, the bottom.
    pub(super) fn levels(&self) -> [String; 3] {
        let most = self.most();
        [self.unit.text(most), self.unit.text(most / 2.0), "0".to_owned()]
    }

    /// Under it, from left to right.
    pub(super) fn marks(&self) -> Vec<String> {
        let last = self.points.len().saturating_sub(1);
        let places = (0..MARKS).map(|mark| mark * last / (MARKS - 1));
        let mut marks: Vec<String> =
            places.filter_map(|place| self.points.get(place)).map(|point| self.when(&point.0)).collect();
        marks.dedup();
        marks
    }

    /// What happened in one part, in words.
    pub(super) fn when(&self, at: &Timestamp) -> String {
        let form = match self.minutes {
            ..60 => "%H:%M",
            60..1440 => "%d %b %H:%M",
            _ => "%d %b",
        };
        at.to_zoned(TimeZone::UTC).strftime(form).to_string()
    }

    /// For who hears it: what it is of, and its highest value.
    pub(super) fn label(&self) -> String {
        let names: Vec<_> = self.series.iter().map(|(name, _)| *name).collect();
        format!(
            "{}: {}; at most {} in a part. The table below has all values.",
            self.title,
            names.join(", "),
            self.unit.text(self.highest())
        )
    }

    fn highest(&self) -> f64 {
        self.points.iter().flat_map(|(_, values)| values.iter().flatten()).copied().fold(0.0, f64::max)
    }

    /// The rows of its table that have something in them.
    pub(super) fn rows(&self) -> Vec<(String, Vec<String>)> {
        let some = self.points.iter().filter(|(_, values)| values.iter().flatten().any(|value| *value > 0.0));
        let text =
            |value: &Option<f64>| value.map_or_else(|| "none".to_owned(), |value| self.unit.text(value));
        some.map(|(at, values)| (self.when(at), values.iter().map(text).collect())).collect()
    }

    /// The drawing. It holds numbers and the names above, and nothing that anybody sent.
    pub(super) fn svg(&self) -> String {
        let mut text = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">",
            self.label()
        );
        for level in [0.0, 0.5, 1.0] {
            let y = HEIGHT * level;
            let _ = write!(text, "<line class=\"grid\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{y}\" y2=\"{y}\"/>");
        }
        match self.form {
            Form::Bars => self.bars(&mut text),
            Form::Lines => self.lines(&mut text),
        }
        text.push_str("</svg>");
        text
    }

    fn bars(&self, text: &mut String) {
        let (most, step) = (self.most().max(f64::MIN_POSITIVE), WIDTH / number(self.points.len().max(1)));
        for (place, (at, values)) in self.points.iter().enumerate() {
            let x = step * number(place);
            let _ = write!(text, "<g><title>{}</title>", self.told(at, values));
            let mut top = HEIGHT;
            for ((_, class), value) in self.series.iter().zip(values) {
                let height = value.unwrap_or_default() / most * HEIGHT;
                if height > 0.0 {
                    // The least that can be seen.
                    let height = height.max(0.8);
                    top -= height;
                    let _ = write!(
                        text,
                        "<rect class=\"{class}\" x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{height:.2}\"/>",
                        x + step * 0.1,
                        top.max(0.0),
                        step * 0.8
                    );
                }
            }
            text.push_str("</g>");
        }
    }

    fn lines(&self, text: &mut String) {
        let most = self.most().max(f64::MIN_POSITIVE);
        let step = WIDTH / number(self.points.len().max(1));
        for (which, (_, class)) in self.series.iter().enumerate() {
            let known = self.points.iter().enumerate().filter_map(|(place, (_, values))| {
                let value = values.get(which).copied().flatten()?;
                Some((place, step * (number(place) + 0.5), HEIGHT - value / most * HEIGHT))
            });
            let mut path = String::new();
            let mut before: Option<usize> = None;
            for (place, x, y) in known {
                let follows = before.is_some_and(|before| before + 1 == place);
                let _ = write!(path, "{}{x:.2} {y:.2}", if follows { "L" } else { "M" });
                // One alone is a dot.
                if !follows {
                    let _ = write!(path, "h0.01");
                    let _ = write!(path, "L{x:.2} {y:.2}");
                }
                before = Some(place);
            }
            let _ = write!(text, "<path class=\"line {class}\" d=\"{path}\"/>");
        }
        for (place, (at, values)) in self.points.iter().enumerate() {
            let x = step * number(place);
            let _ = write!(
                text,
                "<rect class=\"hover\" x=\"{x:.2}\" y=\"0\" width=\"{step:.2}\" height=\"{HEIGHT}\"><title>{}</title></rect>",
                self.told(at, values)
            );
        }
    }

    fn told(&self, at: &Timestamp, values: &[Option<f64>]) -> String {
        let parts = self.series.iter().zip(values).map(|((name, _), value)| {
            let value = value.map_or_else(|| "none".to_owned(), |value| self.unit.text(value));
            format!("{name} {value}")
        });
        format!("{}: {}", self.when(at), parts.collect::<Vec<_>>().join(", "))
    }
}

#[allow(clippy::cast_precision_loss, reason = "a drawing")]
fn number(count: usize) -> f64 {
    count as f64
}

/// A number that is easily halved, at or above this one.
fn round_up(value: f64, unit: Unit) -> f64 {
    if value <= 0.0 {
        return if unit == Unit::Count { 2.0 } else { 1.0 };
    }
    if unit == Unit::Count && value <= 2.0 {
        return 2.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|rounded| *rounded >= value).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(form: Form, values: &[&[Option<f64>]]) -> Chart {
        let at = |minute: usize| Timestamp::from_second(i64::try_from(minute).unwrap() * 60).unwrap();
        Chart {
            title: "Jobs",
            series: vec![("succeeded", "good"), ("dead", "bad")],
            points: values.iter().enumerate().map(|(place, values)| (at(place), values.to_vec())).collect(),
            form,
            unit: Unit::Count,
            minutes: 1,
        }
    }

    #[test]
    fn bars_stand_on_each_other_within_the_drawing() {
        let chart = chart(Form::Bars, &[&[Some(30.0), Some(10.0)], &[Some(0.0), None]]);
        assert_eq!(
            (chart.most(), chart.levels()),
            (40.0, ["40".to_owned(), "20".to_owned(), "0".to_owned()])
        );
        let svg = chart.svg();
        assert!(
            svg.contains("<rect class=\"good\" x=\"50.00\" y=\"25.00\" width=\"400.00\" height=\"75.00\"/>"),
            "{svg}"
        );
        assert!(
            svg.contains("<rect class=\"bad\" x=\"50.00\" y=\"0.00\" width=\"400.00\" height=\"25.00\"/>"),
            "{svg}"
        );
        assert_eq!(svg.matches("<rect").count(), 2, "{svg}");
        assert!(svg.contains("<title>00:00: succeeded 30, dead 10</title>"), "{svg}");
        assert_eq!(chart.rows().len(), 1);
    }

    #[test]
    fn a_line_has_gaps_where_nothing_is_known() {
        let svg =
            chart(Form::Lines, &[&[Some(1.0), None], &[None, None], &[Some(2.0), None], &[Some(2.0), None]])
                .svg();
        let good = svg.split("class=\"line good\" d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(good, "M125.00 50.00h0.01L125.00 50.00M625.00 0.00h0.01L625.00 0.00L875.00 0.00");
        assert!(svg.contains("class=\"line bad\" d=\"\""), "{svg}");
    }

    #[test]
    fn nothing_is_no_chart() {
        assert!(chart(Form::Bars, &[&[Some(0.0), None]]).is_empty());
        assert!(!chart(Form::Bars, &[&[Some(0.0), Some(1.0)]]).is_empty());
        assert_eq!(
            (round_up(0.0, Unit::Count), round_up(7.0, Unit::Count), round_up(0.03, Unit::Seconds)),
            (2.0, 8.0, 0.04)
        );
    }
}
