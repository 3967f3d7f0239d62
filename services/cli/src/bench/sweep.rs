//! `windlass bench throughput --sweep`: the same with several values of one option.

use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;

use super::plot::Plot;
use super::report::show;
use super::scene::Scene;
use super::settings::Settings;
use super::throughput::{self, Report};
use super::{Error, plot};

/// As `concurrency=10,100,1000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sweep {
    option: Swept,
    values: Vec<usize>,
}

/// What differs from one measurement to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Swept {
    Concurrency,
    Payload,
    Queues,
}

#[derive(Debug, Serialize)]
struct Swung {
    sweep: Swept,
    points: Vec<Point>,
}

#[derive(Debug, Serialize)]
struct Point {
    value: usize,
    #[serde(flatten)]
    report: Report,
}

/// A line takes two points; and each takes a while.
const VALUES: std::ops::RangeInclusive<usize> = 2..=20;

/// Measures each in turn.
pub(super) async fn run(
    Sweep { option, values }: Sweep,
    plot: Option<PathBuf>,
    settings: &Settings,
    jobs: u64,
    runs: u8,
    scene: &Scene,
) -> Result<(), Error> {
    let each = |value| scene.complete(option.set(settings.clone(), value)).map(|settings| (value, settings));
    // All are checked, and the file too, before the first takes its time.
    let all = values.into_iter().map(each).collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = &plot {
        plot::check(path)?;
    }
    let mut points = Vec::new();
    for (value, settings) in all {
        let report = throughput::report(settings, jobs, runs, scene).await?;
        points.push(Point { value, report });
    }
    let swung = Swung { sweep: option, points };
    if let Some(path) = &plot {
        swung.plot().write(path)?;
    }
    show(&swung, scene.format, Swung::for_people)
}

// === impl Swept ===

impl Swept {
    const ALL: [Self; 3] = [Self::Concurrency, Self::Payload, Self::Queues];

    fn name(self) -> &'static str {
        match self {
            Self::Concurrency => "concurrency",
            Self::Payload => "payload",
            Self::Queues => "queues",
        }
    }

    fn set(self, mut settings: Settings, value: usize) -> Settings {
        match self {
            Self::Concurrency => settings.concurrency = value,
            Self::Payload => settings.payload = value,
            Self::Queues => settings.queues = value,
        }
        settings
    }
}

// === impl Swung ===

impl Swung {
    fn for_people(&self) -> String {
        let name = self.sweep.name();
        let mut text = format!("{name:>11}  jobs/s  floor/s  ratio  CPU s/1000  wait p50 ms  wait p99 ms\n");
        for Point { value, report } in &self.points {
            text = format!(
                "{text}{value:>11}{:>8.0}{:>9.0}{:>7.2}{:>12.3}{:>13.2}{:>13.2}\n",
                report.jobs_per_second,
                report.protocol_floor_per_second,
                report.ratio_to_protocol_floor,
                report.cpu_seconds_per_1000_jobs,
                report.wait.p50,
                report.wait.p99,
            );
        }
        text
    }

    fn plot(&self) -> Plot {
        let line = |of: fn(&Report) -> f64| self.points.iter().map(|point| of(&point.report)).collect();
        Plot {
            title: "Jobs a second, submitted and run at once".to_owned(),
            x: self.sweep.name().to_owned(),
            y: "jobs/s".to_owned(),
            values: self.points.iter().map(|point| point.value.to_string()).collect(),
            lines: vec![
                ("the fleet", line(|report| report.jobs_per_second)),
                ("the protocol floor", line(|report| report.protocol_floor_per_second)),
                ("three plain publishes", line(|report| report.three_publish_floor_per_second)),
            ],
        }
    }
}

// === impl Sweep ===

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Swept::ALL.map(Swept::name).join(", ");
        let expected = || format!("expected one of {names}, and values, as in concurrency=10,100,1000");
        let (name, values) = text.split_once('=').ok_or_else(expected)?;
        let option = Swept::ALL.into_iter().find(|option| option.name() == name).ok_or_else(expected)?;
        let values = values.split(',').map(str::parse).collect::<Result<Vec<_>, _>>();
        let values = values.map_err(|error| format!("{error}: {}", expected()))?;
        if !VALUES.contains(&values.len()) {
            return Err(format!(
                "has {} values: expected {} to {}",
                values.len(),
                VALUES.start(),
                VALUES.end()
            ));
        }
        Ok(Self { option, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_swept_is_named() {
        let sweep = "payload=0,200".parse::<Sweep>().unwrap();
        assert_eq!(sweep, Sweep { option: Swept::Payload, values: vec![0, 200] });
        let names = Swept::ALL.map(|option| serde_json::to_value(option).unwrap());
        assert_eq!(names, Swept::ALL.map(Swept::name), "as the option is written");
        for wrong in ["payload", "jobs=1,2", "queues=1", "queues=1,x", "queues=", "=1,2"] {
            let error = wrong.parse::<Sweep>().unwrap_err();
            assert!(error.contains("expected"), "{wrong}: {error}");
        }
    }
}
