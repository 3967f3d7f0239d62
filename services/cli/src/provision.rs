//! `windlass provision`: streams, consumers and buckets.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::json;
use windlass_broker::local::Credentials;
use windlass_broker::provision::{Difference, apply, desired, verify};
use windlass_broker::{Broker, Options};
use windlass_service::config::{Common, Config, Sources};
use windlass_service::{Problems, Validate};

use crate::dev::Error;
use crate::dev::data::{self, Running};
use crate::global::Global;
use crate::output::Format;

/// Makes or checks streams, consumers and buckets
///
/// Creates what is missing and changes what differs, but makes nothing weaker unless told to. Prints what differed.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Changes nothing, and exits with 1 if something differs
    #[arg(long)]
    verify: bool,

    /// Also lowers bounds, takes copies away, turns things off
    #[arg(long, conflicts_with = "verify")]
    allow_weaker: bool,

    /// A TOML file with the section [layout]; WINDLASS_CONFIG names one too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Sets one value above the file and the environment; may be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

const AFTER_HELP: &str = "\
Without --nats-url, and while `windlass dev` runs, it is that fleet's broker, as its user `provision`.

Examples:
  windlass provision --verify
  windlass provision --config /etc/windlass/fleet.toml --nats-url nats://broker:4222 --nats-user provision \\
    --nats-password-file /etc/windlass/provision.password

Exit codes: 0 all is as configured; 1 something differs, or failed; 2 wrong usage or configuration.";

/// The part of a service's configuration that is about the broker.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) common: Common,
}

/// No section of our own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NoOptions {}

const PROVISION_USER: &str = "provision";

/// Applies or verifies.
pub(crate) async fn run(args: Args, global: &Global) -> Result<ExitCode, Error> {
    let mut given = global.variables();
    if global.nats_url.is_none()
        && let Some(running) = running(global)?
    {
        given.extend(own_user(&running));
    }
    let configuration = Configuration::load(args.config, &args.set, given)?;
    let broker = Broker::connect(configuration.options("windlass-provision")?).await?;
    let wanted = desired(broker.names(), &configuration.common.layout);
    let differences = verify(&broker, &wanted).await?;
    if !args.verify {
        apply(&broker, &wanted, args.allow_weaker).await?;
    }
    broker.drain().await;
    let left = args.verify && !differences.is_empty();
    // If nobody reads it, the exit code still says it.
    let _ = writeln!(std::io::stdout(), "{}", show(&differences, args.verify, global.output));
    Ok(ExitCode::from(u8::from(left)))
}

fn running(global: &Global) -> Result<Option<Running>, Error> {
    let Some(folder) = global.data_dir.clone().or_else(data::default_dir) else { return Ok(None) };
    Running::read(&folder).map_err(data::file_error("read", &folder))
}

/// The user of a running `windlass dev` that may make streams, unless we are told to be another.
fn own_user(running: &Running) -> Vec<(&'static str, OsString)> {
    let mut given: Vec<(&'static str, OsString)> = vec![("WINDLASS__NATS__URL", (&running.nats_url).into())];
    let password_file = running.password_file(PROVISION_USER);
    if running.operator.is_some() && password_file.exists() {
        given.push(("WINDLASS__NATS__USER", PROVISION_USER.into()));
        given.push(("WINDLASS__NATS__PASSWORD_FILE", password_file.into()));
        given.push(("WINDLASS__NATS__INBOX_PREFIX", Credentials::inbox_prefix(PROVISION_USER).into()));
    }
    given
}

fn show(differences: &[Difference], verify: bool, format: Format) -> String {
    if format == Format::Json {
        let list: Vec<_> = differences
            .iter()
            .map(|d| {
                json!({ "object": d.object, "setting": d.setting, "expected": d.expected, "found": d.found })
            })
            .collect();
        return json!({ "differences": list, "applied": !verify }).to_string();
    }
    let mut lines: Vec<_> = differences.iter().map(ToString::to_string).collect();
    let end = match (differences.len(), verify) {
        (0, _) => "all is as configured",
        (_, true) => "nothing was changed",
        (_, false) => "all is as configured now",
    };
    lines.push(end.to_owned());
    lines.join("\n")
}

// === impl Configuration ===

impl Configuration {
    /// Reads all layers; `given` stands above the environment, and `set` above that.
    pub(crate) fn load(
        file: Option<PathBuf>,
        set: &[String],
        given: Vec<(&'static str, OsString)>,
    ) -> Result<Self, Error> {
        let given = given.into_iter().map(|(name, value)| (OsString::from(name), value));
        let set = set.iter().map(|assignment| variable(assignment)).collect::<Result<Vec<_>, _>>()?;
        let variables = std::env::vars_os().chain(given).chain(set);
        let mut sources = Sources::from_environment(variables).map_err(Error::Configuration)?;
        sources.file = file.or(sources.file);
        let config = Config::<NoOptions>::load("provision", 0, sources).map_err(Error::Configuration)?;
        Ok(Self { common: config.common })
    }

    /// Who we are to the broker.
    pub(crate) fn options(&self, client_name: &str) -> Result<Options, Error> {
        let options = self.common.nats.broker_options(self.common.names(), client_name.to_owned());
        options.map_err(|error| Error::Credentials(error.into()))
    }
}

/// `layout.replicas=3` as an environment variable.
fn variable(assignment: &str) -> Result<(OsString, OsString), Error> {
    let Some((key, value)) = assignment.split_once('=') else {
        return Err(Error::Usage(format!("--set `{assignment}`: expected SECTION.KEY=VALUE")));
    };
    let name = format!("WINDLASS__{}", key.trim().replace('.', "__").to_uppercase());
    Ok((name.into(), value.into()))
}

impl Validate for NoOptions {
    fn validate(&self, _: &mut Problems) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(set: &[&str]) -> Result<Configuration, Error> {
        Configuration::load(None, &set.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::new())
    }

    #[test]
    fn the_layout_is_read_as_services_read_it() {
        assert_eq!(load(&["layout.replicas=3"]).unwrap().common.layout.replicas, 3);
        for wrong in ["layout.replicas=2", "layout.copies=3", "replicas"] {
            assert_eq!(load(&[wrong]).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn differences_are_shown() {
        let difference = Difference {
            object: "stream JOBS".to_owned(),
            setting: "max_bytes".to_owned(),
            expected: "1".to_owned(),
            found: "2".to_owned(),
        };
        let json: serde_json::Value =
            serde_json::from_str(&show(std::slice::from_ref(&difference), true, Format::Json)).unwrap();
        assert_eq!(json["differences"][0]["object"], "stream JOBS");
        assert_eq!(json["applied"], false);
        let text = show(&[difference], false, Format::Table);
        assert!(text.contains("stream JOBS") && text.ends_with("configured now"), "{text}");
        assert_eq!(show(&[], true, Format::Table), "all is as configured");
    }
}
