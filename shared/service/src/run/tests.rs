use serde::{Deserialize, Serialize};
use windlass_broker::provision::{Layout, Part};

use super::*;
use crate::problem::Validate;

struct Tester;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    batch: u32,
    token: Option<crate::Secret>,
}

impl Validate for Options {}

impl Service for Tester {
    const NAME: &'static str = "worker";
    const ABOUT: &'static str = "Is tested";
    const HTTP_PORT: u16 = 7999;
    type Options = Options;

    fn parts(_: &Options, _: &Layout) -> Vec<Part> {
        Vec::new()
    }

    async fn run(_: Options, _: Context) -> anyhow::Result<()> {
        Ok(())
    }
}

fn check(arguments: &[&str], environment: &[(&str, &str)]) -> (Exit, String) {
    let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
    match plan::<Tester>(arguments.iter().map(Into::into), environment) {
        Plan::Print { exit, text } => (exit, text),
        Plan::Run { .. } => panic!("it would run"),
    }
}

#[test]
fn a_configuration_is_checked() {
    let (exit, text) = check(&["--check-config"], &[]);
    assert_eq!((exit.code(), text.as_str()), (0, "the configuration is valid\n"));
    let (exit, text) =
        check(&["--check-config", "--http-listen", "here"], &[("WINDLASS__WORKER__BATCHES", "1")]);
    assert_eq!(exit.code(), 2);
    assert!(text.starts_with("windlass-worker: 2 problems in the configuration\n"), "{text}");
    assert!(
        text.contains("(set by --http-listen)") && text.contains("worker.batches: unknown field"),
        "{text}"
    );
    let (exit, text) = check(&["--check-config"], &[("WINDLASS_CONFIG", "/nowhere.toml")]);
    assert_eq!(exit.code(), 2);
    assert!(text.contains("/nowhere.toml"), "{text}");
    // What cannot be run is refused without the flag too.
    assert_eq!(check(&["--set", "worker.batch=many"], &[]).0, Exit::Usage);
    assert_eq!(check(&["--set", "worker.batch"], &[]).0, Exit::Usage);
    assert_eq!(check(&["--no-such-flag"], &[]).0, Exit::Usage);
}

#[test]
fn the_effective_configuration_is_printed_without_secrets() {
    let arguments = ["--dump-config", "--nats-url", "nats://u:hunter2@h", "--set", "worker.token=hunter3"];
    let (exit, text) = check(&arguments, &[("WINDLASS__WORKER__BATCH", "7")]);
    assert_eq!(exit, Exit::Stopped);
    let table: toml::Table = text.parse().unwrap();
    assert_eq!(table["worker"]["batch"].as_integer(), Some(7));
    assert_eq!(table["worker"]["token"].as_str(), Some("***"));
    assert_eq!(table["nats"]["url"].as_str(), Some("nats://***@h"));
    assert_eq!(table["http"]["listen"].as_str(), Some("127.0.0.1:7999"));
    let (_, text) = check(&["--dump-config", "-o", "json"], &[]);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["drain"]["timeout"], "30s");
    assert_eq!(json["layout"]["horizon"], "15m");
}

#[test]
fn what_is_printed_without_secrets_loads_again() {
    let (_, text) = check(&["--dump-config"], &[("WINDLASS__LAYOUT__POOLS__BULK", "a,b")]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &text).unwrap();
    let path = file.path().to_str().unwrap();
    assert_eq!(check(&["--dump-config", "--config", path], &[]).1, text);
}

#[test]
fn help_has_an_example() {
    let (exit, text) = check(&["--help"], &[]);
    assert_eq!(exit, Exit::Stopped);
    assert!(text.contains("windlass-worker --config /etc/windlass/worker.toml"), "{text}");
    assert!(text.contains("Exit codes") && !text.contains("exit-with-stdin"), "{text}");
    assert!(check(&["--version"], &[]).1.starts_with("windlass-worker "));
}

#[test]
fn an_instance_is_a_key_on_the_broker() {
    let (one, other) = (instance("worker"), instance("worker"));
    assert_ne!(one, other);
    assert!(one.starts_with("worker-"), "{one}");
    assert!(one.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{one}");
}

#[tokio::test]
async fn how_a_service_ended_decides_the_exit_code() {
    let ended = |task: tokio::task::JoinHandle<anyhow::Result<()>>| async { outcome(task.await) };
    assert_eq!(ended(tokio::spawn(async { Ok(()) })).await, Exit::Stopped);
    assert_eq!(ended(tokio::spawn(async { anyhow::bail!("lost its way") })).await, Exit::Failed);
    assert_eq!(ended(tokio::spawn(async { panic!("a bug") })).await, Exit::Failed);
}
