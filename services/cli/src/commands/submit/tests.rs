//! Options of `windlass submit`.

use clap::Parser as _;

use windlass::OnFailure;

use super::*;

#[derive(clap::Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn read(arguments: &[&str]) -> Result<Request, Error> {
    let cli = Cli::try_parse_from(["submit"].iter().chain(arguments)).unwrap();
    Request::read(&cli.args)
}

#[test]
fn options_are_read() {
    let request = read(&["file.digest", "--wait", "--queue", "mail", "--delay", "1h 30m"]).unwrap();
    assert_eq!(request.wait, Some(Duration::from_mins(1)));
    assert_eq!((request.queue.as_str(), request.delay), ("mail", Some(Duration::from_mins(90))));
    assert_eq!(read(&["k", "--wait=2m"]).unwrap().wait, Some(Duration::from_mins(2)));
    assert_eq!(read(&["k", "1"]).unwrap().wait, None);
    let request = read(&["k", "--max-wait", "10m", "--timeout", "30s"]).unwrap();
    assert_eq!(request.max_wait, Some(Duration::from_mins(10)));
    assert_eq!((request.timeout, request.wait), (Some(Duration::from_secs(30)), None));
    let flow = read(&["k", "--key", "account 42", "--tenant", "acme", "--points", "7"]).unwrap().flow;
    let expected = |text: &str| text.parse().ok();
    assert_eq!((flow.key, flow.tenant, flow.points), (expected("account 42"), expected("acme"), Some(7)));
}

#[test]
fn what_is_wrong_is_named_before_anything_is_sent() {
    for (arguments, field) in [
        (&["a b"][..], "kind"),
        (&["k", "{"], "payload"),
        (&["k", "hello"], "payload"),
        (&["k", "@/no/such/file"], "payload"),
        (&["k", "--queue", "a.b"], "queue"),
        (&["k", "--queue", ""], "queue"),
        (&["k", "--priority", "urgent"], "priority"),
        (&["k", "--delay", "-1s"], "delay"),
        (&["k", "--at", "tomorrow"], "at"),
        (&["k", "--delay", "1s", "--at", "2026-01-31T09:00:00Z"], "at"),
        (&["k", "--id", "7"], "id"),
        (&["k", "--max-attempts", "0"], "max_attempts"),
        (&["k", "--max-attempts", "1001"], "max_attempts"),
        (&["k", "--timeout", "long"], "timeout"),
        (&["k", "--max-wait", "soon"], "max_wait"),
        (&["k", "--max-wait", "-1s"], "max_wait"),
        (&["k", "--content-type", "text\n"], "content_type"),
        (&["k", "--wait=soon"], "wait"),
        (&["k", "--key", ""], "key"),
        (&["k", "--tenant", &"x".repeat(257)], "tenant"),
        (&["k", "--points", "0"], "points"),
        (&["k", "--label", "prod"], "label"),
        (&["k", "--label", "a=b", "--label", "a=c"], "label"),
        (&["k", "--unique", "a", "--unique-states", "ended"], "unique_states"),
        (&["k", "--unique", "a", "--unique-for", "long"], "unique_for"),
        (&["k", "--unique", "a", "--on-conflict", "ignore"], "on_conflict"),
        (&["k", "--unique", "a", "--on-conflict", "reject", "--debounce", "1s"], "on_conflict"),
        (&["k", "--unique", "a", "--debounce", "1s", "--throttle", "1s"], "throttle"),
        (&["k", "--unique", "a", "--debounce-max", "1s"], "debounce_max"),
        (&["k", "--debounce", "1s"], "debounce"),
        (&["k", "--aggregate-grace", "1s"], "aggregate_grace"),
        (&["k", "--aggregate", "a", "--aggregate-max-size", "0"], "aggregate_max_size"),
        (&["k", "--after", "7"], "after"),
        (&["k", "--after", "01890a5d-ac96-774b-bcce-b302099a8057:never"], "after"),
    ] {
        let error = read(arguments).unwrap_err();
        assert_eq!((error.field(), error.exit_code()), (Some(field), 2), "{arguments:?}");
    }
}

#[test]
fn a_job_may_wait_for_others() {
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let (continued, elsewhere) = (format!("{id}:continue"), format!("{id};queue=mail;on=ignore"));
    let after = read(&["k", "--after", id, "--after", &continued, "--after", &elsewhere]).unwrap().after;
    let policies: Vec<_> = after.iter().map(|one| one.on_failure).collect();
    assert_eq!(policies, [OnFailure::Fail, OnFailure::Continue, OnFailure::Ignore]);
    assert_eq!(after[2].queue.as_ref().unwrap().as_str(), "mail");
}

/// Lines say their own options: whatever is of one task is refused beside them, also what is added one day.
#[test]
fn options_of_one_task_do_not_stand_beside_many() {
    use clap::{CommandFactory as _, FromArgMatches as _};

    const OF_MANY: &[&str] = &["batch", "from", "spread", "rate", "start_line", "run", "queue", "help"];
    let of_one = |id: &str| !OF_MANY.contains(&id) && !["kind", "payload"].contains(&id);
    let command = Cli::command();
    let ids: Vec<String> = command.get_arguments().map(|arg| arg.get_id().to_string()).collect();
    assert!(ids.len() > 25, "{ids:?}");
    for id in ids.iter().filter(|id| of_one(id)) {
        let option = format!("--{}=1", id.replace('_', "-"));
        let matches = Cli::command().try_get_matches_from(["submit", "--from=x", &option]).unwrap();
        let error = alone(&Cli::from_arg_matches(&matches).unwrap().args).expect_err(id);
        assert_eq!(error.field(), Some(id.as_str()));
    }
}
