//! `windlass submit`.

mod batch;
mod bulk;
mod flow;
mod line;
pub(crate) mod many;
mod payload;
#[cfg(test)]
mod tests;
mod unique;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::time::{Instant, timeout_at};
use windlass::client::{Payloads, Submitted};
use windlass::{Client, Codec, Dependency, JobState, Submission};
use windlass_broker::{Broker, locate};
use windlass_core::history::JobView;
use windlass_core::labels::Labels;
use windlass_core::{JobId, Kind, PoolName, Priority, QueueName};
use windlass_service::config::Log;
use windlass_service::telemetry::Telemetry;

use self::payload::Payload;
use super::arguments::{duration, instant, number, optional, parse};
use super::{Error, codec, ending, lookup};
use crate::connect::Fleet;
use crate::global::Global;
use crate::output::{self, Format};

/// For the spans that wait to be sent.
const TRACES_TIMEOUT: Duration = Duration::from_secs(2);
/// For a look at a job that did not end in time.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

const AFTER_HELP: &str = "\
Examples:
  windlass submit video.cut --payload-file big.bin --codec-keys /etc/windlass/keys
  windlass submit file.digest '{\"path\": \"/etc/hosts\"}' --wait
  windlass submit report.make @order.json --queue reports --priority high --delay 10m
  windlass submit report.make @order.json --queue reports --max-wait 1h --timeout 10m
  windlass submit invoice.send @order.json --queue invoices --key account/42 --tenant acme
  windlass submit report.make @order.json --unique report/42 --unique-for 10m --wait
  windlass submit index.update '{\"doc\": 42}' --unique-over kind,payload.doc --debounce 5s --debounce-max 1m
  windlass submit mail.digest '{\"to\": \"a@example.org\"}' --aggregate a@example.org --aggregate-grace 10s
  echo '{\"argv\": [\"date\"]}' | windlass submit command.run - --wait=2m -o json
  windlass submit report.send null --after 01890a5d-ac96-774b-bcce-b302099a8057:continue
  windlass submit --batch order.jsonl
  zcat all.jsonl.gz | windlass submit --from - --run july --spread 1h -o json

The payload must be JSON, unless --content-type says otherwise. The bytes of a file are taken as they are; they must be
JSON if the file's name ends with .json. A payload of more than 128 KiB goes through Object Store; at most 64 MiB.

A line of --batch and --from is {\"kind\": \"mail.send\", \"payload\": {…}} with any of queue, priority, delay, run_at, id,
max_attempts, timeout, max_wait, key, tenant, points, content_type, labels: {\"env\": \"prod\"} and
after: [\"<id>;queue=<queue>;on=fail|continue|ignore\"].
In a batch a line may have a name, and another wait for it: \"after\": [\"name=extract\"].

Exit codes: 0 stored, or succeeded (--wait); 1 not stored, or (--wait) it ended otherwise or did not end in time;
2 an argument is wrong, and nothing was sent.";

/// What to submit, and when.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// What to do, as file.digest
    #[arg(value_name = "KIND", required_unless_present_any = ["batch", "from"])]
    kind: Option<String>,
    /// The payload: JSON, @FILE for a file's bytes, or - for standard input [default: null]
    #[arg(value_name = "JSON|@FILE|-", allow_negative_numbers = true)]
    payload: Option<String>,
    /// The payload, as @FILE
    #[arg(long, value_name = "FILE", conflicts_with = "payload")]
    payload_file: Option<PathBuf>,
    /// The queue [default: default]
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    queue: Option<String>,
    /// critical, high, normal or low [default: normal]
    #[arg(long, value_name = "LEVEL", allow_hyphen_values = true)]
    priority: Option<String>,
    /// Start no sooner than this long after acceptance, as 30s, 1h 30m or PT30S
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    delay: Option<String>,
    /// Start no sooner than this instant, as 2026-01-31T09:00:00Z
    #[arg(long, value_name = "INSTANT", allow_hyphen_values = true)]
    at: Option<String>,
    /// The job's id, a UUID: submitting it again makes no second job [default: a new one]
    #[arg(long, value_name = "UUID", allow_hyphen_values = true)]
    id: Option<String>,
    /// Failed attempts allowed, the first one included: 1 to 1000 [default: the fleet's]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    max_attempts: Option<String>,
    /// Time allowed for one attempt, as 30s [default: the fleet's]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    timeout: Option<String>,
    /// Time allowed to wait for the first attempt, as 10m: past it the job ends as expired [default: for ever]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    max_wait: Option<String>,
    /// Start once this job has ended, as ID, or ID:POLICY with fail (if it does not succeed, this job is dead), continue
    /// (this job starts) or ignore; of another queue as "ID;queue=NAME;on=POLICY". May be given often [default policy: fail]
    #[arg(long, value_name = "ID[:POLICY]", allow_hyphen_values = true)]
    after: Vec<String>,
    /// To find the job by, as env=prod. May be given often
    #[arg(long, value_name = "NAME=VALUE", allow_hyphen_values = true)]
    label: Vec<String>,
    /// Of the payload
    #[arg(long, value_name = "TYPE", allow_hyphen_values = true)]
    content_type: Option<String>,
    #[command(flatten)]
    flow: flow::Args,
    #[command(flatten)]
    sharing: unique::Args,
    /// Wait for the job's end, for at most this long [default: 60s]
    #[arg(long, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "60s")]
    wait: Option<String>,
    #[command(flatten)]
    many: many::Many,
}

/// What was asked for, checked.
#[derive(Debug)]
struct Request {
    kind: Kind,
    payload: Payload,
    queue: QueueName,
    priority: Option<Priority>,
    delay: Option<Duration>,
    at: Option<jiff::Timestamp>,
    id: Option<JobId>,
    max_attempts: Option<u32>,
    timeout: Option<Duration>,
    max_wait: Option<Duration>,
    wait: Option<Duration>,
    after: Vec<Dependency>,
    labels: Labels,
    flow: flow::Flow,
    sharing: unique::Sharing,
}

/// Submits the task, and waits for its job if asked to.
pub(crate) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    if args.many.is_given() {
        alone(&args)?;
        return Box::pin(many::run(&args.many, args.queue.as_deref(), global)).await;
    }
    let request = Request::read(&args)?;
    let (wait, kind) = (request.wait, request.kind.clone());
    let fleet = Fleet::find(global)?;
    // Spans go where the standard variables say; what went wrong is told by us, not by a log.
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "off".to_owned());
    let telemetry = Telemetry::start("cli", "", &Log { filter: Some(filter), ..Log::default() });
    let codec = codec::of(global)?;
    let broker = fleet.broker().await?;
    let client = Client::new(broker.clone()).with_codec(codec.clone());
    let large = request.payload.bytes.len() > Payloads::default().inline_bytes;
    let pool = if large { serving(broker, &request.queue).await } else { PoolName::default() };
    let submitted = request.submission(&client).pool(pool).submit().await;
    let traces = telemetry.shutdown(TRACES_TIMEOUT);
    let Some(wait) = wait else {
        let told =
            submitted.map_err(Error::from).and_then(|submitted| tell(&submitted, &kind, global.output));
        traces.await;
        return told.map(|()| ExitCode::SUCCESS);
    };
    let ended = async { until_end(&fleet, &codec, submitted?, wait, global.output).await };
    tokio::join!(ended, traces).0
}

/// Each line of many says its own options: those of one task have no meaning beside them.
fn alone(args: &Args) -> Result<(), Error> {
    let given = [
        ("payload_file", args.payload_file.is_some()),
        ("priority", args.priority.is_some()),
        ("delay", args.delay.is_some()),
        ("at", args.at.is_some()),
        ("id", args.id.is_some()),
        ("max_attempts", args.max_attempts.is_some()),
        ("timeout", args.timeout.is_some()),
        ("max_wait", args.max_wait.is_some()),
        ("after", !args.after.is_empty()),
        ("label", !args.label.is_empty()),
        ("content_type", args.content_type.is_some()),
        ("wait", args.wait.is_some()),
    ];
    let mut given = given.into_iter().chain(args.flow.given()).chain(args.sharing.given());
    match given.find(|(_, is_given)| *is_given) {
        Some((field, _)) => {
            Err(Error::input(field, "is an option of one task: expected in each line that has it"))
        }
        None => Ok(()),
    }
}

/// `ID`, `ID:POLICY`, or as the header has it.
fn dependency(text: &str) -> Result<Dependency, Error> {
    let text = match text.split_once(':') {
        Some((id, policy)) if !text.contains(';') => format!("{id};on={policy}"),
        _ => text.to_owned(),
    };
    text.parse().map_err(|error: String| Error::input("after", error))
}

fn tell(submitted: &Submitted, kind: &Kind, format: Format) -> Result<(), Error> {
    match format {
        Format::Json => output::json(&json!({
            "id": submitted.id,
            "queue": submitted.queue,
            "kind": kind,
            "duplicate": submitted.duplicate,
            "trace_id": submitted.trace_id,
        }))?,
        Format::Table => {
            let again = if submitted.duplicate { "  (submitted before: the same job)" } else { "" };
            output::text(&format!("id     {}{again}\ntrace  {}\n", submitted.id, submitted.trace_id))?;
        }
    }
    Ok(())
}

/// Where a large payload goes. Who may not look for it has the default pool; a wrong one is refused with its reason.
async fn serving(broker: &Broker, queue: &QueueName) -> PoolName {
    locate::serving(broker, queue).await.unwrap_or_default()
}

async fn until_end(
    fleet: &Fleet,
    codec: &Codec,
    submitted: Submitted,
    wait: Duration,
    format: Format,
) -> Result<ExitCode, Error> {
    let (id, queue) = (submitted.id, submitted.queue);
    let progress = spinner(format!("job {id}"));
    let deadline = Instant::now() + wait;
    let ended = ending::wait(fleet, id, &queue, deadline).await;
    progress.finish_and_clear();
    let view = if let Some(view) = ended? {
        view
    } else {
        let look = tokio::time::timeout(LOOK_TIMEOUT, lookup::find(fleet, id, Some(&queue))).await;
        match look.ok().and_then(Result::ok) {
            // In the last moment.
            Some(view) if view.state.is_terminal() => view,
            view => return Err(Error::NotEnded { id, waited: wait, state: view.map(|view| view.state) }),
        }
    };
    // In its last moment too, but no longer than that.
    let bound = deadline.max(Instant::now() + LOOK_TIMEOUT);
    let opening = codec::open(fleet, codec, codec.seals(), view, bound);
    match timeout_at(bound, opening).await {
        Ok(view) => conclude(&view?, format),
        Err(_) => Err(Error::NotEnded { id, waited: wait, state: None }),
    }
}

/// Shows how a job ended.
fn conclude(view: &JobView, format: Format) -> Result<ExitCode, Error> {
    let succeeded = view.state == JobState::Succeeded;
    match format {
        Format::Json => output::json(view)?,
        Format::Table if succeeded => {
            let result = view.result.as_ref().unwrap_or(&serde_json::Value::Null);
            output::text(&format!("{result:#}\n"))?;
        }
        Format::Table => {
            let reason = view.error.as_ref().map(|error| error.message.clone());
            return Err(Error::Ended { id: view.id, state: view.state, reason });
        }
    }
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Turns while somebody at a terminal waits; nothing where there is none.
fn spinner(message: String) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
    let progress = ProgressBar::new_spinner().with_message(message);
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    progress.enable_steady_tick(Duration::from_millis(120));
    progress
}

// === impl Request ===

impl Request {
    fn read(args: &Args) -> Result<Self, Error> {
        if args.delay.is_some() && args.at.is_some() {
            return Err(Error::input("at", "stands beside --delay: expected one of them"));
        }
        let content_type = args.content_type.as_deref();
        let kind = parse("kind", args.kind.as_deref().unwrap_or_default())?;
        let queue = optional("queue", args.queue.as_deref())?.unwrap_or_default();
        let priority = optional("priority", args.priority.as_deref())?;
        let delay = args.delay.as_deref().map(|text| duration("delay", text)).transpose()?;
        let at = args.at.as_deref().map(|text| instant("at", text)).transpose()?;
        let id = optional("id", args.id.as_deref())?;
        let max_attempts =
            args.max_attempts.as_deref().map(|text| number("max_attempts", text, 1, 1000)).transpose()?;
        let timeout = args.timeout.as_deref().map(|text| duration("timeout", text)).transpose()?;
        let max_wait = args.max_wait.as_deref().map(|text| duration("max_wait", text)).transpose()?;
        let wait = args.wait.as_deref().map(|text| duration("wait", text)).transpose()?;
        let after = args.after.iter().map(|text| dependency(text)).collect::<Result<_, _>>()?;
        let mut labels = Labels::default();
        for text in &args.label {
            parse("label", text).and_then(|label| {
                labels.add(label).map_err(|error| Error::input("label", error.to_string()))
            })?;
        }
        let (flow, sharing) = (args.flow.read()?, args.sharing.read()?);
        // Last, as it may read what is not there a second time.
        let payload = Payload::read(args.payload.as_deref(), args.payload_file.as_deref(), content_type)?;
        Ok(Self {
            kind,
            payload,
            queue,
            priority,
            delay,
            at,
            id,
            max_attempts,
            timeout,
            max_wait,
            wait,
            after,
            labels,
            flow,
            sharing,
        })
    }

    fn submission(self, client: &Client) -> Submission {
        let Payload { bytes, content_type } = self.payload;
        let mut task = client.raw(self.kind.as_str(), bytes.into(), &content_type).queue(self.queue.as_str());
        if let Some(priority) = self.priority {
            task = task.priority(priority);
        }
        if let Some(delay) = self.delay {
            task = task.delay(delay);
        }
        if let Some(at) = self.at {
            task = task.run_at(at);
        }
        if let Some(id) = self.id {
            task = task.id(id);
        }
        if let Some(max_attempts) = self.max_attempts {
            task = task.max_attempts(max_attempts);
        }
        if let Some(timeout) = self.timeout {
            task = task.attempt_timeout(timeout);
        }
        if let Some(max_wait) = self.max_wait {
            task = task.max_wait(max_wait);
        }
        for one in &self.after {
            task = task.after(one).on_failure(one.on_failure);
        }
        for (name, value) in self.labels.iter() {
            task = task.label(name, value);
        }
        self.sharing.apply(self.flow.apply(task))
    }
}
