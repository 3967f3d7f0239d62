//! `windlass submit --batch`: all or none.

use std::collections::HashMap;
use std::process::ExitCode;

use serde_json::json;
use windlass::client::{BatchError, MAX_BATCH};
use windlass::{Client, Dependency, JobId, QueueName};

use super::line::{After, Line, Wrong};
use super::many::{Lines, Manner, Read};
use crate::commands::Error;
use crate::output::{self, Format};

/// Reads all lines, and submits them if every one of them is a task.
pub(super) async fn run(
    client: &Client,
    manner: &Manner,
    mut lines: Lines,
    format: Format,
) -> Result<ExitCode, Error> {
    let unread = |source| Error::File { path: manner.source.clone(), source };
    let mut tasks = Vec::new();
    loop {
        match lines.next().await.map_err(unread)? {
            Read::End => break,
            Read::Unfit(reason) => return Err(Wrong::new(lines.number, "line", reason).into()),
            Read::Text(_) if tasks.len() >= MAX_BATCH => {
                let reason = format!("has more than {MAX_BATCH} tasks: expected at most that, or --from");
                return Err(Error::input("batch", reason));
            }
            Read::Text(text) => {
                tasks.push(Line::read(client, &manner.run, lines.number, &text, &manner.queue)?);
            }
        }
    }
    let told: Vec<_> = tasks
        .iter()
        .map(|line| json!({ "line": line.number, "id": line.id, "queue": line.queue, "name": line.name }))
        .collect();
    let numbers: Vec<u64> = tasks.iter().map(|line| line.number).collect();
    let mut batch = client.batch();
    for task in resolved(tasks)? {
        batch.add(task);
    }
    batch.submit().await.map_err(|error| named(error, &numbers))?;
    match format {
        Format::Json => output::json(&json!({ "run": manner.run, "submitted": told.len(), "jobs": told }))?,
        Format::Table => {
            let mut text = String::new();
            for one in &told {
                let name = one["name"].as_str().map(|name| format!("  {name}")).unwrap_or_default();
                text.push_str(one["id"].as_str().unwrap_or_default());
                text.push_str(&output::table::printable(&name));
                text.push('\n');
            }
            output::text(&format!("{text}{} tasks are stored\n", told.len()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The tasks, with what they wait for by name put in by its id.
fn resolved(lines: Vec<Line>) -> Result<Vec<windlass::Submission>, Wrong> {
    let mut names: HashMap<String, (QueueName, JobId)> = HashMap::new();
    for line in &lines {
        if let Some(name) = &line.name
            && names.insert(name.clone(), (line.queue.clone(), line.id)).is_some()
        {
            return Err(Wrong::new(
                line.number,
                "name",
                format!("`{name}` is that of an earlier line as well"),
            ));
        }
    }
    let mut tasks = Vec::with_capacity(lines.len());
    for line in lines {
        let mut task = line.submission;
        for one in line.after {
            task = match one {
                After::Job(dependency) => task.after(&dependency).on_failure(dependency.on_failure),
                After::Name(name, policy) => {
                    let (queue, id) = names.get(&name).cloned().ok_or_else(|| {
                        Wrong::new(line.number, "after", format!("`{name}` is the name of no line"))
                    })?;
                    task.after(&Dependency::new(queue, id)).on_failure(policy)
                }
            };
        }
        tasks.push(task);
    }
    Ok(tasks)
}

/// With lines in the place of the batch's own numbers.
fn named(error: BatchError, numbers: &[u64]) -> Error {
    let line = |index: usize| numbers.get(index).copied().unwrap_or_default();
    match error {
        BatchError::Invalid { index, source } => Wrong::new(line(index), source.field, source.reason).into(),
        BatchError::SameId { first, index, id, .. } => {
            Wrong::new(line(index), "id", format!("{id} is that of line {} as well", line(first))).into()
        }
        BatchError::Cycle(indices) => {
            let lines: Vec<_> = indices.iter().map(|index| line(*index).to_string()).collect();
            Error::input("after", format!("the lines {} wait for each other", lines.join(", ")))
        }
        BatchError::TooLarge { index, bytes, limit } => Wrong::new(
            line(index),
            "batch",
            format!("has {bytes} bytes up to here: expected at most {limit}"),
        )
        .into(),
        other => Error::Batch(other),
    }
}
