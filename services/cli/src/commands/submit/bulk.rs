//! `windlass submit --from`: any number of lines, each accepted by itself, in bounded memory.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use windlass::client::{self, Bulk};
use windlass::{Client, Submission};

use super::line::{After, Line, Wrong};
use super::many::{Lines, Manner, Read};
use crate::commands::Error;
use crate::output::table::printable;
use crate::output::{self, Format};

/// Tasks on their way at one time.
const IN_FLIGHT: usize = 256;
/// Errors that are shown; all are counted.
const SHOWN: usize = 100;
/// Between two pictures of the progress.
const PICTURE: Duration = Duration::from_millis(100);

/// What reading and publishing share.
#[derive(Default)]
struct Progress {
    /// The lines of those that are on their way, oldest first.
    on_their_way: VecDeque<u64>,
    refused: Refused,
    /// Why no more can be read.
    unread: Option<std::io::Error>,
    bytes: u64,
    lines: u64,
    stopped: bool,
}

/// Lines that are no tasks.
#[derive(Default)]
struct Refused {
    count: u64,
    shown: Vec<Wrong>,
}

// === impl Refused ===

impl Refused {
    fn add(&mut self, wrong: Wrong) {
        self.count += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(wrong);
        }
    }
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Publishes line after line. What is no task is counted and told, and the others go on; if the broker does not take one,
/// nothing more is sent, and the line is told with which to begin again.
pub(super) async fn run(
    client: &Client,
    manner: &Manner,
    lines: Lines,
    format: Format,
) -> Result<ExitCode, Error> {
    let begun = Instant::now();
    let bar = bar(lines.total_bytes);
    let progress = Arc::new(Mutex::new(Progress::default()));
    let tasks = tasks(client.clone(), manner, lines, Arc::clone(&progress));
    let bulk = Bulk::new().spread(manner.spread).rate(manner.rate).in_flight(IN_FLIGHT);
    let mut outcomes = std::pin::pin!(bulk.submit(tasks));
    let (mut submitted, mut duplicates, mut pictured) = (0_u64, 0_u64, Instant::now());
    let mut failed: Option<(u64, client::Error)> = None;
    while let Some(outcome) = outcomes.next().await {
        let line = lock(&progress).on_their_way.pop_front().unwrap_or_default();
        match outcome.submitted {
            Ok(job) => {
                submitted += 1;
                duplicates += u64::from(job.duplicate);
            }
            Err(client::Error::Invalid(error)) => {
                lock(&progress).refused.add(Wrong::new(line, error.field, error.reason));
            }
            // What is on its way already goes on.
            Err(error) => {
                lock(&progress).stopped = true;
                failed.get_or_insert((line, error));
            }
        }
        if pictured.elapsed() >= PICTURE {
            pictured = Instant::now();
            let progress = lock(&progress);
            bar.set_position(progress.bytes);
            let rate = u128::from(submitted) * 1000 / begun.elapsed().as_millis().max(1);
            bar.set_message(format!("{submitted} stored, {} refused, {rate}/s", progress.refused.count));
        }
    }
    bar.finish_and_clear();
    let progress = std::mem::take(&mut *lock(&progress));
    let seconds = begun.elapsed().as_secs_f64();
    let next_line = failed.as_ref().map(|(line, _)| *line);
    match format {
        Format::Json => output::json(&json!({
            "run": manner.run,
            "lines": progress.lines,
            "submitted": submitted,
            "duplicates": duplicates,
            "refused": progress.refused.count,
            "errors": progress.refused.shown,
            "seconds": seconds,
            "next_line": next_line,
        }))?,
        Format::Table => {
            let mut text = String::new();
            for wrong in &progress.refused.shown {
                let told = format!("line {}: {}: {}", wrong.line, wrong.field, wrong.reason);
                text.push_str(&printable(&told));
                text.push('\n');
            }
            if progress.refused.count > progress.refused.shown.len() as u64 {
                text.push_str("…\n");
            }
            output::text(&format!(
                "{text}{submitted} stored ({duplicates} of them before), {} refused, of {} lines in {seconds:.1} s; run {}\n",
                progress.refused.count,
                progress.lines,
                printable(&manner.run)
            ))?;
        }
    }
    if let Some((line, source)) = failed {
        return Err(Error::Stopped { line, run: manner.run.clone(), source: Box::new(source) });
    }
    if let Some(source) = progress.unread {
        return Err(Error::File { path: manner.source.clone(), source });
    }
    Ok(if progress.refused.count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The lines that are tasks, as they are asked for.
fn tasks(
    client: Client,
    manner: &Manner,
    lines: Lines,
    progress: Arc<Mutex<Progress>>,
) -> impl futures::Stream<Item = Submission> {
    let (run, queue, start) = (manner.run.clone(), manner.queue.clone(), manner.start_line);
    stream::unfold(lines, move |mut lines| {
        let (client, run, queue, progress) =
            (client.clone(), run.clone(), queue.clone(), Arc::clone(&progress));
        async move {
            loop {
                if lock(&progress).stopped {
                    return None;
                }
                let read = lines.next().await;
                let mut progress = lock(&progress);
                progress.bytes = lines.bytes;
                let text = match read {
                    Ok(Read::End) => return None,
                    Err(error) => {
                        progress.unread = Some(error);
                        return None;
                    }
                    Ok(_) if lines.number < start => continue,
                    Ok(Read::Unfit(reason)) => {
                        progress.lines += 1;
                        progress.refused.add(Wrong::new(lines.number, "line", reason));
                        continue;
                    }
                    Ok(Read::Text(text)) => text,
                };
                progress.lines += 1;
                match Line::read(&client, &run, lines.number, &text, &queue).and_then(alone) {
                    Ok(task) => {
                        progress.on_their_way.push_back(lines.number);
                        drop(progress);
                        return Some((task, lines));
                    }
                    Err(wrong) => progress.refused.add(wrong),
                }
            }
        }
    })
}

/// A line that waits for no other by name: only those of a batch are known together.
fn alone(line: Line) -> Result<Submission, Wrong> {
    let mut task = line.submission;
    for one in line.after {
        match one {
            After::Job(dependency) => task = task.after(&dependency).on_failure(dependency.on_failure),
            After::Name(..) => {
                let reason = "names a line, which only --batch knows: expected the id of a job";
                return Err(Wrong::new(line.number, "after", reason));
            }
        }
    }
    Ok(task)
}

/// Shown to somebody at a terminal, and to nobody else.
fn bar(total_bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match total_bytes {
        Some(bytes) => (ProgressBar::new(bytes), "{wide_bar} {percent}% {msg} {eta}"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}"),
    };
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
