//! The kind against real programs.

use std::future::{pending, ready};
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use tokio::sync::oneshot;

use super::*;

const ATTEMPT: Duration = Duration::from_mins(1);

fn job(argv: &[&str]) -> CommandRun {
    CommandRun {
        argv: argv.iter().map(ToString::to_string).collect(),
        timeout_seconds: None,
        env: BTreeMap::new(),
        cwd: None,
        fail_on_nonzero: false,
    }
}

fn shell(script: &str) -> CommandRun {
    job(&["sh", "-c", script])
}

async fn run_with(settings: Settings, job: CommandRun) -> Result<Ran, Error> {
    Commands::new(settings).run(job, ATTEMPT, pending()).await
}

async fn run(job: CommandRun) -> Result<Ran, Error> {
    run_with(Settings::default(), job).await
}

async fn fails_for_good(settings: Settings, job: CommandRun, code: &str) -> String {
    let error = run_with(settings, job).await.unwrap_err();
    assert_eq!((error.code().as_str(), error.is_terminal()), (code, true), "{error}");
    error.to_string()
}

/// Somebody who writes into a pipe: `up` comes with the first line, `gone` when nobody holds the pipe any more.
struct Writer {
    up: oneshot::Receiver<()>,
    gone: oneshot::Receiver<()>,
}

fn make_pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn listen(pipe: &Path) -> Writer {
    make_pipe(pipe);
    let ((up, is_up), (gone, is_gone)) = (oneshot::channel(), oneshot::channel());
    let pipe = pipe.to_owned();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(std::fs::File::open(pipe).unwrap());
        reader.read_line(&mut String::new()).unwrap();
        up.send(()).unwrap();
        reader.read_to_end(&mut Vec::new()).unwrap();
        gone.send(()).unwrap();
    });
    Writer { up: is_up, gone: is_gone }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(ATTEMPT, future).await.expect("in time")
}

#[tokio::test]
async fn any_exit_code_is_a_result() {
    let ran = run(shell("echo out; echo err >&2; exit 3")).await.unwrap();
    let expected =
        Ran { exit_code: 3, stdout: "out\n".to_owned(), stderr: "err\n".to_owned(), truncated: false };
    assert_eq!(ran, expected);
    assert_eq!(run(job(&["true"])).await.unwrap().exit_code, 0);
}

#[tokio::test]
async fn a_task_can_make_an_exit_code_a_failure() {
    let strict = |script| CommandRun { fail_on_nonzero: true, ..shell(script) };
    let error = run(strict("echo why >&2; exit 3")).await.unwrap_err();
    assert_eq!((error.code().as_str(), error.is_terminal()), ("exit_code", false));
    assert_eq!(error.to_string(), "exited with code 3: why");
    assert_eq!(run(strict("exit 0")).await.unwrap().exit_code, 0);
}

#[tokio::test]
async fn there_is_no_shell_and_no_input() {
    let ran = run(job(&["echo", "$HOME;", "*"])).await.unwrap();
    assert_eq!(ran.stdout, "$HOME; *\n");
    assert_eq!(run(job(&["cat"])).await.unwrap().stdout, "");
}

#[tokio::test]
async fn only_allowed_variables_are_seen() {
    let settings = Settings {
        environment: vec!["PATH".to_owned(), "SURELY_NOT_SET".to_owned()],
        task_environment: vec!["GREETING".to_owned()],
        ..Settings::default()
    };
    let env = |name: &str| BTreeMap::from([(name.to_owned(), "hello".to_owned())]);
    let task = CommandRun { env: env("GREETING"), ..job(&["env"]) };
    let stdout = run_with(settings.clone(), task).await.unwrap().stdout;
    let mut names: Vec<_> = stdout.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["GREETING", "PATH"]);
    let task = CommandRun { env: env("LD_PRELOAD"), ..job(&["env"]) };
    assert!(fails_for_good(settings, task, "invalid_payload").await.contains("`LD_PRELOAD`"));
}

#[tokio::test]
async fn what_cannot_start_fails_for_good() {
    let default = Settings::default;
    fails_for_good(default(), job(&["surely-no-such-program"]), "start").await;
    fails_for_good(default(), job(&["/etc"]), "start").await;
    fails_for_good(default(), job(&["echo", "a\0b"]), "start").await;
    assert!(fails_for_good(default(), job(&[]), "invalid_payload").await.contains("argv"));
    let nowhere = CommandRun { cwd: Some("/surely/nowhere".into()), ..job(&["true"]) };
    assert!(fails_for_good(default(), nowhere, "invalid_payload").await.contains("cwd"));
    let long = CommandRun { timeout_seconds: Some(60.5), ..job(&["true"]) };
    assert!(fails_for_good(default(), long, "invalid_payload").await.contains("timeout_seconds"));
    let settings = Settings { allow: vec!["true".to_owned()], ..default() };
    fails_for_good(settings.clone(), job(&["/bin/true"]), "not_allowed").await;
    assert_eq!(run_with(settings, job(&["true"])).await.unwrap().exit_code, 0);
}

#[tokio::test]
async fn starts_where_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    let ran = run(CommandRun { cwd: Some(path.clone()), ..job(&["pwd"]) }).await.unwrap();
    assert_eq!(Path::new(ran.stdout.trim_end()), path);
}

#[tokio::test]
async fn the_beginning_of_much_output_is_kept() {
    let settings = Settings { output_limit_bytes: 10, ..Settings::default() };
    let script = "head -c 1000000 /dev/zero | tr '\\0' x; echo end >&2";
    let ran = run_with(settings, shell(script)).await.unwrap();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str(), ran.truncated), ("xxxxxxxxxx", "end\n", true));
}

#[tokio::test]
async fn the_most_output_fits_into_a_result() {
    let settings = Settings { output_limit_bytes: crate::kinds::excerpt::LIMIT_BYTES, ..Settings::default() };
    let script = "head -c 100000 /dev/zero; head -c 100000 /dev/zero >&2";
    let ran = run_with(settings, shell(script)).await.unwrap();
    let written = serde_json::to_vec(&ran).unwrap().len();
    assert!((60 * 1024 - 12..=64 * 1024).contains(&written), "{written}");
}

#[tokio::test]
async fn a_death_by_signal_is_a_failure() {
    let error = run(shell("echo dying >&2; kill -9 $$")).await.unwrap_err();
    assert_eq!((error.code().as_str(), error.is_terminal()), ("signal", false));
    assert_eq!(error.to_string(), "killed by signal 9: dying");
}

#[tokio::test]
async fn a_time_out_kills() {
    let settings = Settings { kill_grace: Duration::from_secs(30), ..Settings::default() };
    let job = CommandRun { timeout_seconds: Some(0.05), ..job(&["sleep", "1000"]) };
    // SIGTERM is enough, so the grace is not used up.
    let error = within(run_with(settings, job)).await.unwrap_err();
    assert_eq!((error.code().as_str(), error.is_terminal()), ("timeout", false));
    assert_eq!(error.to_string(), "took longer than 0.05 s, and was killed");
}

#[tokio::test]
async fn a_cancellation_kills_the_whole_group_stubborn_ones_too() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let writer = listen(&pipe);
    let settings = Settings { kill_grace: Duration::from_millis(20), ..Settings::default() };
    let script = format!("(trap '' TERM; echo up; exec sleep 1000) > {} & wait", pipe.display());
    let stopped = async { writer.up.await.unwrap() };
    let commands = Commands::new(settings);
    let error = within(commands.run(shell(&script), ATTEMPT, stopped)).await.unwrap_err();
    assert!(matches!(error, Error::Stopped), "{error:?}");
    within(writer.gone).await.unwrap();
}

#[tokio::test]
async fn an_aborted_attempt_kills_the_whole_group() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let writer = listen(&pipe);
    let script = format!("(trap '' TERM; echo up; exec sleep 1000) > {} & wait", pipe.display());
    let running = tokio::spawn(run(shell(&script)));
    within(writer.up).await.unwrap();
    running.abort();
    within(writer.gone).await.unwrap();
    assert!(running.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn what_a_program_leaves_behind_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let writer = listen(&pipe);
    let settings = Settings { kill_grace: Duration::from_millis(20), ..Settings::default() };
    let go = folder.path().join("go");
    make_pipe(&go);
    // The one left behind holds the standard output open.
    let script = format!(
        "(echo up >&2; echo go > {go}; exec sleep 1000) 2> {pipe} & read line < {go}; exit 5",
        go = go.display(),
        pipe = pipe.display()
    );
    let ran = within(run_with(settings, shell(&script))).await.unwrap();
    assert_eq!((ran.exit_code, ran.truncated), (5, false));
    within(writer.gone).await.unwrap();
}

#[tokio::test]
async fn what_comes_after_the_leader_is_still_read() {
    let settings = Settings { kill_grace: ATTEMPT, ..Settings::default() };
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    make_pipe(&pipe);
    // The second process says its word only once the first has left the pipe.
    let script = format!("(cat {0}; echo late) & exec 3> {0}; echo early >&3", pipe.display());
    let ran = within(run_with(settings, shell(&script))).await.unwrap();
    assert_eq!(ran.stdout, "early\nlate\n");
}

#[tokio::test]
async fn an_end_before_the_first_look_is_seen() {
    let mut group = group::Group::spawn(Command::new("true")).unwrap();
    within(group.ended()).await.unwrap();
    within(group.ended()).await.unwrap();
    assert!(group.kill().await.unwrap().success());
}

#[tokio::test]
async fn a_stop_that_comes_first_wins() {
    let commands = Commands::new(Settings::default());
    let error = within(commands.run(job(&["sleep", "1000"]), ATTEMPT, ready(()))).await.unwrap_err();
    assert!(matches!(error, Error::Stopped), "{error:?}");
}

#[test]
fn payloads() {
    let read = serde_json::from_str::<CommandRun>;
    let job = read(r#"{"argv": ["true"], "timeout_seconds": 5}"#).unwrap();
    assert_eq!((job.timeout_seconds, job.fail_on_nonzero), (Some(5.0), false));
    let error = read(r#"{"argv": ["true"], "timeout": 5}"#).unwrap_err().to_string();
    assert!(error.contains("unknown field `timeout`"), "{error}");
}
