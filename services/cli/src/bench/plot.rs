//! Lines over several values, as an SVG.

use std::path::Path;

use plotters::prelude::*;

use super::Error;

/// What is drawn: the values stand side by side at equal distances, in the order in which they were given.
#[derive(Debug)]
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) x: String,
    pub(super) y: String,
    pub(super) values: Vec<String>,
    /// Names, and a figure for each value.
    pub(super) lines: Vec<(&'static str, Vec<f64>)>,
}

const SIZE: (u32, u32) = (900, 540);
const FONT: &str = "sans-serif";
const COLOURS: [RGBColor; 3] = [RGBColor(31, 119, 180), RGBColor(214, 39, 40), RGBColor(127, 127, 127)];

/// Whether it can be written: nobody wants to learn that after an hour.
pub(super) fn check(path: &Path) -> Result<(), Error> {
    std::fs::File::options()
        .create(true)
        .append(true)
        .open(path)
        .map(drop)
        .map_err(|source| Error::Plot { path: path.to_owned(), source: source.into() })
}

// === impl Plot ===

impl Plot {
    /// Draws it into this file.
    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let failed = |source| Error::Plot { path: path.to_owned(), source };
        let svg = self.svg().map_err(failed)?;
        std::fs::write(path, svg).map_err(|error| failed(error.into()))
    }

    fn svg(&self) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            area.fill(&WHITE)?;
            let last = i32::try_from(self.values.len())?.saturating_sub(1);
            let most = self.lines.iter().flat_map(|(_, figures)| figures).copied().fold(1.0, f64::max);
            let mut chart = ChartBuilder::on(&area)
                .caption(&self.title, (FONT, 22))
                .margin(16)
                .x_label_area_size(44)
                .y_label_area_size(72)
                .build_cartesian_2d(0..last, 0.0..most * 1.1)?;
            let name = |number: &i32| {
                let name = usize::try_from(*number).ok().and_then(|number| self.values.get(number));
                name.cloned().unwrap_or_default()
            };
            chart
                .configure_mesh()
                .x_labels(self.values.len())
                .x_label_formatter(&name)
                .y_label_formatter(&|figure| format!("{figure:.0}"))
                .x_desc(&self.x)
                .y_desc(&self.y)
                .label_style((FONT, 14))
                .draw()?;
            for ((name, figures), colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
                let points: Vec<_> = (0..=last).zip(figures.iter().copied()).collect();
                chart
                    .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
                    .label(*name)
                    .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
                chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::LowerRight)
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK.mix(0.3))
                .label_font((FONT, 14))
                .draw()?;
            area.present()?;
        }
        Ok(svg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_lines_are_named() {
        let plot = Plot {
            title: "A title".to_owned(),
            x: "slots".to_owned(),
            y: "jobs/s".to_owned(),
            values: ["10", "100", "7777"].map(str::to_owned).to_vec(),
            lines: vec![("the fleet", vec![1000.0, 2000.0, 3000.0]), ("a floor", vec![4000.0; 3])],
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plot.svg");
        check(&path).unwrap();
        plot.write(&path).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
        for text in ["A title", "slots", "jobs/s", "7777", "the fleet", "a floor"] {
            assert!(svg.contains(&format!("\n{text}\n")), "{text}: {svg}");
        }
        // Each is drawn, and shown beside its name.
        for colour in ["#1F77B4", "#D62728"] {
            let is_line = |line: &&str| line.starts_with("<polyline") && line.contains(colour);
            assert_eq!(svg.lines().filter(is_line).count(), 2, "{colour}: {svg}");
        }
        let nowhere = check(&folder.path().join("none/plot.svg")).unwrap_err();
        assert!(nowhere.to_string().contains("none/plot.svg"), "{nowhere}");
    }
}
