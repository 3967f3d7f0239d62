//! `windlass dev`: a broker and a whole fleet on this machine, each service a process of its own, as in production.

pub(crate) mod broker;
pub(crate) mod data;

mod demo;
mod error;
pub(crate) mod fleet;
mod process;
pub(crate) mod screen;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};
use windlass_broker::local::{self, Credentials, Search};
use windlass_broker::provision::{self, apply, desired};
use windlass_broker::{Auth, Broker, Options};
use windlass_service::Service as _;

use crate::global::Global;
use crate::provision::Configuration;
use crate::run::Program;
use data::{DataDir, Operator, Running};
use fleet::{Fleet, Identity, Plan};
use screen::Screen;

pub(crate) use error::Error;

/// Starts a broker and a whole fleet on this machine
///
/// Prints where things are once all are ready, and runs until Ctrl-C or SIGTERM; then all drain, and no process stays.
/// The other commands find the fleet by its folder.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Indexes every file of a folder by jobs, and shows what became of them
    #[arg(long)]
    demo: bool,

    /// The demonstration's folder [default: the working directory]
    #[arg(long, value_name = "DIR", requires = "demo")]
    path: Option<PathBuf>,

    /// Stops after the demonstration: with exit code 0 only if every job succeeded
    #[arg(long, requires = "demo")]
    once: bool,

    /// How long the demonstration may take
    #[arg(long, value_name = "DURATION", requires = "demo", default_value = "30m", value_parser = duration)]
    timeout: Duration,

    /// The broker's port, 0 for any [default: 4222, or any other if it is taken]
    #[arg(long, value_name = "N", conflicts_with = "nats_url")]
    nats_port: Option<u16>,

    /// The port of the dashboard and the HTTP API, 0 for any [default: 8304, or any other if it is taken]
    #[arg(long, value_name = "N")]
    http_port: Option<u16>,

    /// How many worker processes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=64))]
    workers: u8,

    /// How many dispatcher processes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=64))]
    dispatchers: u8,

    /// How many scheduler processes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=64))]
    schedulers: u8,
}

const AFTER_HELP: &str = "\
Data, logs and passwords are kept in --data-dir [default: windlass/dev in the user's data folder], and used again.
With --nats-url it uses that broker and starts none; all services are the user of --nats-user, if any. The services
take other settings from WINDLASS_CONFIG and the environment, as WINDLASS__WORKER__..., and OTEL_* for traces.

Examples:
  windlass dev
  windlass dev --demo --path /usr/share/doc --once
  windlass dev --workers 4 --http-port 0 --nats-port 0 --data-dir /tmp/fleet -o json

Exit codes: 0 stopped as asked, and with --once every job succeeded; 1 failed; 2 wrong usage or configuration;
3 stopped, but some work in flight did not end in time.";

/// To a broker's supervisor: it need not wait for services to drain.
const STOP_WORD: &[u8] = b"stop";
const NATS_PORT: u16 = 4222;
/// What was killed a moment ago may still hold its port.
const PORT_WAIT: Duration = Duration::from_secs(5);
const PORT_POLL: Duration = Duration::from_millis(100);

/// A broker that runs, and who we are to it.
struct Reached {
    identity: Identity,
    /// Who makes its streams.
    provision: Options,
    /// Who publishes.
    operator: Options,
    operator_file: Option<Operator>,
}

/// Ctrl-C, SIGTERM, and the end of the terminal.
struct Signals([Signal; 3]);

/// Runs it until it is told to stop, or the demonstration is over.
pub(crate) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let mut signals = Signals::listen().map_err(|error| Error::Start(error.into()))?;
    let screen = Screen::new(global.output);
    let mut fleet = Fleet::default();
    let data = open(global)?;
    let outcome = tokio::select! {
        biased;
        () = signals.next() => {
            if args.once { Err(demo::Error::Interrupted.into()) } else { Ok(()) }
        }
        outcome = work(&args, global, &data, &screen, &mut fleet) => outcome,
    };
    screen.busy("stopping");
    let kill = fleet.killer();
    let withdrawn = data.withdraw();
    let mut stopping = pin!(fleet.stop());
    let stopped = tokio::select! {
        stopped = &mut stopping => stopped,
        () = signals.next() => {
            screen.notice("told to stop again, killing the services");
            kill();
            stopping.await
        }
    };
    screen.idle();
    outcome?;
    withdrawn?;
    Ok(ExitCode::from(if stopped { 0 } else { 3 }))
}

fn open(global: &Global) -> Result<DataDir, Error> {
    let no_home = || Error::Usage("HOME is not set: say with --data-dir where data shall be kept".to_owned());
    DataDir::open(&global.data_dir.clone().or_else(data::default_dir).ok_or_else(no_home)?)
}

/// Starts all, tells of it, and returns after a demonstration `--once`; otherwise never.
async fn work(
    args: &Args,
    global: &Global,
    data: &DataDir,
    screen: &Screen,
    fleet: &mut Fleet,
) -> Result<(), Error> {
    let configuration = Configuration::load(None, &[], global.variables())?;
    let root = if args.demo { Some(demo::root(args.path.as_deref(), data.path())?) } else { None };
    let http_port =
        port("--http-port", args.http_port, windlass_monitor::Monitor::HTTP_PORT, PORT_WAIT, screen).await?;
    let reached = match &global.nats_url {
        Some(_) => external(&configuration, global, data)?,
        None => own_broker(args, &configuration, data, screen, fleet).await?,
    };
    screen.busy("making streams");
    let broker = Broker::connect(reached.provision.clone()).await?;
    make_streams(&broker, &configuration, global.nats_url.is_none(), screen).await?;
    broker.drain().await;
    let nats_url = reached.operator.url.clone();
    let programs = [
        (Program::Monitor, 1),
        (Program::Scheduler, args.schedulers),
        (Program::Dispatcher, args.dispatchers),
        (Program::Worker, args.workers),
    ];
    let identity = &reached.identity;
    // What a person gives to any NATS client: on this machine only, and only shown to who started it.
    let shown_url = match identity {
        Identity::Each(credentials) => {
            credentials.url(&nats_url, "admin").unwrap_or_else(|| nats_url.clone())
        }
        Identity::Ours(_) => nats_url.clone(),
    };
    let token_file = data.operator_token()?;
    let token = ("WINDLASS__MONITOR__OPERATOR_TOKEN_FILE".into(), token_file.clone().into());
    let plan = Plan {
        data,
        screen,
        nats_url: &nats_url,
        identity,
        http_port,
        programs: &programs,
        own_programs: None,
        environment: &[token],
    };
    // The monitor is the first.
    let http_url =
        format!("http://{}", fleet.start_services(&plan).await?.first().map_or("", String::as_str));
    data.announce(&Running {
        nats_url: nats_url.clone(),
        http_url: http_url.clone(),
        data_dir: data.path().to_owned(),
        pid: std::process::id(),
        namespace: configuration.common.names().namespace().to_owned(),
        operator: reached.operator_file,
    })?;
    screen.idle();
    let folder = data.path().display();
    screen.show(&format!(
        "dashboard  {http_url}\nbroker     {shown_url}\ndata       {folder}\nlogs       {folder}/logs\n\
         api token  {}",
        token_file.display()
    ));
    screen.answer(&json!({
        "nats_url": shown_url,
        "http_url": http_url,
        "data_dir": data.path(),
        "operator_token_file": token_file,
    }));
    if let Some(root) = root {
        let demo = demo::Demo { options: reached.operator, http_url, root, timeout: args.timeout };
        match demo.run(screen).await {
            Ok(()) if args.once => return Ok(()),
            Ok(()) => {}
            Err(error) if args.once => return Err(error.into()),
            Err(error) => screen.notice(&format!("{:#}", anyhow::Error::new(error))),
        }
    }
    screen.show("everything runs; Ctrl-C stops it");
    std::future::pending().await
}

/// An own broker follows the configuration also where that asks for less than an earlier one; and says so.
async fn make_streams(
    broker: &Broker,
    configuration: &Configuration,
    is_ours: bool,
    screen: &Screen,
) -> Result<(), provision::Error> {
    let wanted = desired(broker.names(), &configuration.common.layout);
    match apply(broker, &wanted, false).await {
        Err(weaker @ provision::Error::Weaker(_)) if is_ours => {
            screen.notice(&format!("the configuration asks for less than before; changing it: {weaker}"));
            apply(broker, &wanted, true).await
        }
        made => made,
    }
}

/// Starts a broker with a user for each service.
async fn own_broker(
    args: &Args,
    configuration: &Configuration,
    data: &DataDir,
    screen: &Screen,
    fleet: &mut Fleet,
) -> Result<Reached, Error> {
    let names = configuration.common.names();
    if names != windlass_broker::Names::default() {
        return Err(Error::Usage(format!(
            "the users of the broker that `windlass dev` starts have rights in the namespace `{}` only: for `{}` \
             start a broker and give its --nats-url",
            windlass_broker::Names::default().namespace(),
            names.namespace()
        )));
    }
    let port = port("--nats-port", args.nats_port, NATS_PORT, PORT_WAIT, screen).await?;
    screen.busy("looking for nats-server");
    let progress = |what: &str| screen.busy(what);
    let program = local::find(&Search::from_env(), &progress).await?;
    let credentials = Credentials::load_or_create(&data.passwords())?;
    let url = fleet.start_broker(data, screen, program, port, None).await?;
    let options = |user: &str| credentials.options(&url, user).ok_or_else(|| no_user(user));
    let (provision, operator) = (options("provision")?, options("operator")?);
    // The command `windlass provision` finds its user there.
    write_password(data, &provision)?;
    let operator_file = write_password(data, &operator)?;
    Ok(Reached { provision, operator, operator_file, identity: Identity::Each(credentials) })
}

fn no_user(user: &str) -> Error {
    Error::Usage(format!("the broker's configuration has no user `{user}`"))
}

/// The broker of `--nats-url`, as whoever we are told to be.
fn external(configuration: &Configuration, global: &Global, data: &DataDir) -> Result<Reached, Error> {
    let options = configuration.options("windlass-dev")?;
    let operator_file = write_password(data, &options)?;
    Ok(Reached {
        identity: Identity::Ours(global.variables()),
        provision: options.clone(),
        operator: options,
        operator_file,
    })
}

/// For the other commands; none if the broker asks for no user.
fn write_password(data: &DataDir, options: &Options) -> Result<Option<Operator>, Error> {
    let Auth::UserPassword { user, password } = &options.auth else { return Ok(None) };
    // A user's name of somebody else's broker is no file name.
    let own = Credentials::options(&Credentials::generate(), &options.url, user).is_some();
    let password_file = data.write_password(if own { user } else { "user" }, password.reveal())?;
    Ok(Some(Operator { user: user.clone(), password_file, inbox_prefix: options.inbox_prefix.clone() }))
}

/// The port that is asked for, or the usual one; any (0) if that is taken.
async fn port(
    option: &'static str,
    asked: Option<u16>,
    usual: u16,
    wait: Duration,
    screen: &Screen,
) -> Result<u16, Error> {
    let deadline = Instant::now() + wait;
    let port = asked.unwrap_or(usual);
    loop {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(_) if asked.is_none() => {
                screen.notice(&format!("port {port} is taken, using any other: {option} fixes one"));
                return Ok(0);
            }
            Err(source) if Instant::now() >= deadline => {
                return Err(Error::PortTaken { option, port, source });
            }
            Err(_) => {
                screen.busy(&format!("waiting for port {port}"));
                sleep(PORT_POLL).await;
            }
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime_serde::re::humantime::parse_duration(text)
        .map_err(|error| format!("{error}: expected a duration such as 90s or 10m"))
}

// === impl Signals ===

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let [terminate, interrupt, hangup] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Self([terminate?, interrupt?, hangup?]))
    }

    async fn next(&mut self) {
        let Self([terminate, interrupt, hangup]) = self;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    #[tokio::test]
    async fn a_port_that_was_asked_for_is_not_replaced() {
        let screen = Screen::new(Format::Json);
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = taken.local_addr().unwrap().port();
        let port = |option, asked| port(option, asked, number, Duration::ZERO, &screen);
        let error = port("--http-port", Some(number)).await.unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--http-port, or 0"), "{error}");
        assert_eq!(port("--http-port", None).await.unwrap(), 0);
        drop(taken);
        assert_eq!(port("--http-port", None).await.unwrap(), number);
        assert_eq!(port("--http-port", Some(0)).await.unwrap(), 0);
    }
}
