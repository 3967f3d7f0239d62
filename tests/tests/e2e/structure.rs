//! The shape of the workspace, held by tests so that it stays true.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use cargo_metadata::{DependencyKind, MetadataCommand};

/// Cargo runs tests in their package's folder.
fn root() -> PathBuf {
    PathBuf::from("..")
}

/// What a service may use.
const SERVICE: &[&str] = &[
    "windlass-core",
    "windlass-proto",
    "windlass-broker",
    "windlass-schedules",
    "windlass",
    "windlass-service",
];

/// core ← proto ← broker ← (sdk, schedules) ← services; services never depend on each other, and only the command line on them, and
/// the fleet for users' tests on the dispatcher.
#[test]
fn dependencies_point_one_way() -> Result<()> {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec()?;
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("windlass-core", &[] as &[&str]),
        ("windlass-proto", &["windlass-core"]),
        ("windlass-broker", &["windlass-core", "windlass-proto"]),
        ("windlass", &["windlass-core", "windlass-proto", "windlass-broker"]),
        ("windlass-service", &["windlass-core", "windlass-broker"]),
        ("windlass-schedules", &["windlass-core", "windlass-proto", "windlass-broker"]),
        ("windlass-testkit", &["windlass-core", "windlass-proto", "windlass-broker", "windlass"]),
        // A fleet in the process of a user's tests: beside the command line, the only one that runs a service.
        (
            "windlass-testing",
            &[
                "windlass-core",
                "windlass-proto",
                "windlass-broker",
                "windlass",
                "windlass-service",
                "windlass-dispatcher",
            ],
        ),
        ("windlass-scheduler", SERVICE),
        ("windlass-dispatcher", SERVICE),
        // Built on the public SDK only, so that a user's own worker is its equal.
        ("windlass-worker", &["windlass", "windlass-service"]),
        ("windlass-monitor", SERVICE),
        (
            "windlass-cli",
            &[
                "windlass-core",
                "windlass-proto",
                "windlass-broker",
                "windlass",
                "windlass-service",
                "windlass-schedules",
                "windlass-scheduler",
                "windlass-dispatcher",
                "windlass-worker",
                "windlass-monitor",
            ],
        ),
        // The fault suite is a program.
        (
            "windlass-tests",
            &[
                "windlass-core",
                "windlass-proto",
                "windlass-broker",
                "windlass",
                "windlass-service",
                "windlass-testkit",
            ],
        ),
    ]);
    assert_eq!(metadata.packages.len(), allowed.len(), "a package is missing from this test");
    for package in &metadata.packages {
        let allowed = allowed[package.name.as_str()];
        for dependency in package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development) {
            let ours = dependency.name.starts_with("windlass");
            assert!(
                !ours || allowed.contains(&dependency.name.as_str()),
                "{} must not depend on {}",
                package.name,
                dependency.name
            );
            let talks_to_nats = ["windlass-broker", "windlass-testkit"].contains(&package.name.as_str());
            assert!(dependency.name != "async-nats" || talks_to_nats, "{} uses async-nats", package.name);
        }
        let core_is_pure = package.name != "windlass-core"
            || package.dependencies.iter().all(|d| {
                d.kind == DependencyKind::Development
                    || ["jiff", "serde", "serde_json", "thiserror", "uuid"].contains(&d.name.as_str())
            });
        assert!(core_is_pure, "windlass-core has a dependency that may do I/O");
    }
    Ok(())
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

fn all_sources() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for part in ["services", "shared", "tests"] {
        sources(&root().join(part), &mut found)?;
    }
    assert!(found.len() > 100, "only {} sources were found", found.len());
    Ok(found)
}

/// A file has one subject, and so is short.
#[test]
fn files_are_short() -> Result<()> {
    const LIMIT: usize = 400;
    for path in all_sources()? {
        let lines = std::fs::read_to_string(&path)?.lines().count();
        assert!(lines <= LIMIT, "{} has {lines} lines: at most {LIMIT}", path.display());
        let name = path.file_stem().and_then(|n| n.to_str()).unwrap_or_default();
        assert!(
            !["utils", "util", "helpers", "common", "misc"].contains(&name),
            "{} is not named after its subject",
            path.display()
        );
    }
    Ok(())
}

/// Of spans: they are no subjects.
const ATTRIBUTES: &[&str] = &[
    "windlass.job.id",
    "windlass.job.kind",
    "windlass.job.queue",
    "windlass.job.attempt",
    "windlass.job.outcome",
    "windlass.job.redriven_from",
    "windlass.job.transition",
    "windlass.task.duplicate",
];

/// Names of streams, subjects and buckets are made in one file. Others may speak of them in comments, documentation
/// and tests.
#[test]
fn names_on_the_broker_are_defined_once() -> Result<()> {
    let names = ["windlass.task", "windlass.job", "windlass.event", "windlass.command", "windlass.dead"];
    let streams = ["\"TASKS\"", "\"JOBS\"", "\"EVENTS\"", "\"COMMANDS\"", "\"DEAD\""];
    let mut looked_at = 0;
    for path in all_sources()? {
        let text = std::fs::read_to_string(&path)?;
        let shown = path.display().to_string();
        if shown.ends_with("shared/broker/src/names.rs")
            || shown.contains("/tests/")
            || shown.ends_with("tests.rs")
            || shown.contains("testkit")
        {
            continue;
        }
        looked_at += 1;
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in code.lines().enumerate() {
            let line = line.split("//").next().unwrap_or_default();
            let line = ATTRIBUTES.iter().fold(line.to_owned(), |line, name| line.replace(name, ""));
            let written = names.iter().chain(&streams).find(|name| line.contains(*name));
            assert!(written.is_none(), "{shown}:{} writes {written:?} out", number + 1);
        }
    }
    assert!(looked_at > 100, "only {looked_at} sources were looked at");
    Ok(())
}

/// Rules and dashboards that watch nothing are worse than none.
#[test]
fn what_is_watched_is_measured() -> Result<()> {
    let mut code = String::new();
    for path in all_sources()? {
        code.push_str(&std::fs::read_to_string(path)?);
    }
    let mut watched = 0;
    for file in ["deploy/prometheus/windlass.rules.yml", "deploy/grafana/windlass.json"] {
        let text = std::fs::read_to_string(root().join(file))?;
        let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
        for metric in words.filter(|word| word.starts_with("windlass_") || word.starts_with("messaging_")) {
            let name =
                ["_bucket", "_count", "_sum"].iter().fold(metric, |name, end| name.trim_end_matches(end));
            assert!(code.contains(&format!("\"{name}\"")), "{file} watches {metric}, which nothing measures");
            watched += 1;
        }
    }
    assert!(watched > 20, "only {watched} metrics are watched");
    Ok(())
}
