//! Where the fleet is: its broker, and the monitor's API.

use std::path::{Path, PathBuf};

use prost::Message as _;
use tokio::sync::OnceCell;
use windlass_broker::names::MONITOR_ENDPOINT_KEY;
use windlass_broker::{Broker, Names, Options, connect, kv};
use windlass_proto::v1;
use windlass_service::{Nats, Problems, ServerUrl, Validate as _};

use crate::commands::api::Monitor;
use crate::dev::data as dev;
use crate::global::Global;

/// Names the broker where nothing else does.
const NATS_URL: &str = "WINDLASS_NATS_URL";

/// A fleet. Nothing is connected before it is needed.
#[derive(Debug)]
pub(crate) struct Fleet {
    options: Options,
    found: Found,
    http_url: Option<String>,
    token_file: Option<PathBuf>,
    broker: OnceCell<Broker>,
    monitor: OnceCell<Option<Monitor>>,
}

/// What said where the broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    /// `--nats-url`.
    Option,
    /// A `windlass dev` that runs with the data in this folder.
    Dev(PathBuf),
    /// `WINDLASS_NATS_URL`.
    Environment,
}

/// How to reach a fleet.
#[derive(Debug)]
struct Place {
    nats: Nats,
    namespace: Option<String>,
    found: Found,
    http_url: Option<String>,
}

/// The fleet is not found, or not reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nothing says where it is.
    #[error(
        "no fleet is known: start one with `windlass dev`{}, name a broker with --nats-url, or set {NATS_URL}",
        .0.as_ref().map(|path| format!(" (none runs with the data in {})", path.display())).unwrap_or_default()
    )]
    Unknown(Option<PathBuf>),
    /// An option is not what it must be.
    #[error("{field}: {reason}")]
    Option {
        /// Which.
        field: String,
        /// What it was, and what was expected.
        reason: String,
    },
    /// What a running `windlass dev` says of itself cannot be read.
    #[error("what `windlass dev` says of itself in {} cannot be read", path.display())]
    Dev {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The password's file.
    #[error("the broker's credentials cannot be read")]
    Credentials(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No connection.
    #[error("the broker {} cannot be reached", found.words())]
    Broker {
        /// What named it.
        found: FoundBy,
        /// Why.
        source: connect::Error,
    },
    /// The bucket that holds the monitor's address.
    #[error("the monitor's address cannot be looked up")]
    Control(#[source] kv::Error),
    /// No HTTP client can be made.
    #[error("there is no HTTP client")]
    Http(#[source] reqwest::Error),
}

/// What named a broker, for a message.
#[derive(Debug)]
pub(crate) struct FoundBy(Found);

// === impl FoundBy ===

impl FoundBy {
    fn words(&self) -> String {
        match &self.0 {
            Found::Option => "of --nats-url".to_owned(),
            Found::Dev(path) => format!("of the `windlass dev` with the data in {}", path.display()),
            Found::Environment => format!("of {NATS_URL}"),
        }
    }
}

// === impl Fleet ===

impl Fleet {
    /// The fleet that the options, a running `windlass dev` or the environment name, in this order.
    pub(crate) fn find(global: &Global) -> Result<Self, Error> {
        let folder = global.data_dir.clone().or_else(dev::default_dir);
        let running = match &folder {
            Some(path) => {
                dev::Running::read(path).map_err(|source| Error::Dev { path: path.clone(), source })
            }
            None => Ok(None),
        };
        let running = match running {
            // What is named needs no `windlass dev`.
            Err(_) if global.nats_url.is_some() => None,
            other => other?,
        };
        let url = std::env::var(NATS_URL).ok().filter(|url| !url.is_empty());
        let place = choose(global, running, url, folder.as_deref())?;
        let namespace = match &place.namespace {
            Some(text) => Names::new(text)
                .map_err(|e| Error::Option { field: "namespace".to_owned(), reason: e.to_string() })?,
            None => Names::default(),
        };
        check(&place.nats)?;
        let options = place
            .nats
            .broker_options(namespace, "windlass-cli".to_owned())
            .map_err(|error| Error::Credentials(error.into()))?;
        Ok(Self {
            options,
            found: place.found,
            http_url: place.http_url,
            token_file: global.monitor_token_file.clone(),
            broker: OnceCell::new(),
            monitor: OnceCell::new(),
        })
    }

    /// The broker, connected.
    pub(crate) async fn broker(&self) -> Result<&Broker, Error> {
        let connect = || async {
            Broker::connect(self.options.clone())
                .await
                .map_err(|source| Error::Broker { found: FoundBy(self.found.clone()), source })
        };
        self.broker.get_or_try_init(connect).await
    }

    /// The monitor's API; none if no monitor runs.
    pub(crate) async fn monitor(&self) -> Result<Option<&Monitor>, Error> {
        let find = || async {
            let url = match &self.http_url {
                Some(url) => Some(url.clone()),
                None => self.monitor_url().await?,
            };
            let token = self.token_file.as_deref().map(token).transpose()?;
            url.map(|url| Monitor::new(&url, token)).transpose().map_err(Error::Http)
        };
        Ok(self.monitor.get_or_try_init(find).await?.as_ref())
    }

    async fn monitor_url(&self) -> Result<Option<String>, Error> {
        let broker = self.broker().await?;
        let entry = broker
            .bucket(broker.names().control_bucket())
            .get(MONITOR_ENDPOINT_KEY)
            .await
            .map_err(Error::Control)?;
        Ok(entry.and_then(|e| v1::Endpoint::decode(e.value).ok()).map(|endpoint| endpoint.http_url))
    }
}

/// The one line of a file.
fn token(path: &Path) -> Result<windlass_service::Secret, Error> {
    let bad = |reason: String| Error::Option { field: "monitor-token-file".to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| bad(format!("{}: {error}", path.display())))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad(format!(
            "{} holds no token: expected one line of visible ASCII characters",
            path.display()
        )));
    }
    Ok(windlass_service::Secret::new(token))
}

/// Chooses among what names a broker.
fn choose(
    global: &Global,
    running: Option<dev::Running>,
    environment: Option<String>,
    folder: Option<&Path>,
) -> Result<Place, Error> {
    let (url, found) = match (&global.nats_url, &running, environment) {
        (Some(url), ..) => (url.clone(), Found::Option),
        (None, Some(running), _) => (running.nats_url.clone(), Found::Dev(running.data_dir.clone())),
        (None, None, Some(url)) => (url, Found::Environment),
        (None, None, None) => return Err(Error::Unknown(folder.map(Path::to_owned))),
    };
    // Named by its address, a running `windlass dev` is still the same fleet.
    let has_user = url.contains('@');
    let dev = running.filter(|running| address(&running.nats_url) == address(&url));
    let mut nats = Nats {
        url: ServerUrl::new(url),
        user: global.nats_user.clone(),
        password: global.nats_password.as_ref().map(windlass_service::Secret::new),
        password_file: global.nats_password_file.clone(),
        ..Nats::default()
    };
    if let Some(user) = &nats.user {
        // What `deploy/nats` gives each user; one without such limits may use it as well.
        nats.inbox_prefix = Some(format!("_INBOX_{user}"));
    } else if !has_user && let Some(operator) = dev.as_ref().and_then(|dev| dev.operator.clone()) {
        nats.user = Some(operator.user);
        nats.password_file = Some(operator.password_file);
        nats.inbox_prefix = operator.inbox_prefix;
    }
    let namespace = global.namespace.clone().or_else(|| dev.as_ref().map(|dev| dev.namespace.clone()));
    Ok(Place { nats, namespace, found, http_url: dev.map(|dev| dev.http_url) })
}

/// The part of a URL that names a server.
fn address(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.rsplit_once('@').map_or(rest, |(_, rest)| rest).trim_end_matches('/')
}

fn check(nats: &Nats) -> Result<(), Error> {
    let mut problems = Problems::default();
    nats.validate(&mut problems);
    match problems.iter().next() {
        None => Ok(()),
        Some(problem) => {
            let field = if problem.key.is_empty() {
                "nats-url".to_owned()
            } else {
                format!("nats-{}", problem.key.replace('_', "-"))
            };
            Err(Error::Option { field, reason: problem.message.clone() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> dev::Running {
        dev::Running {
            nats_url: "nats://127.0.0.1:1".to_owned(),
            http_url: "http://127.0.0.1:2".to_owned(),
            data_dir: "/data".into(),
            pid: 1,
            namespace: "dev".to_owned(),
            operator: Some(dev::Operator {
                user: "operator".to_owned(),
                password_file: "/data/credentials/operator".into(),
                inbox_prefix: Some("_INBOX_operator".to_owned()),
            }),
        }
    }

    fn chosen(nats_url: Option<&str>, dev: bool, environment: Option<&str>) -> Result<Place, Error> {
        let global = Global { nats_url: nats_url.map(str::to_owned), ..Global::default() };
        choose(&global, dev.then(running), environment.map(str::to_owned), Some(Path::new("/data")))
    }

    #[test]
    fn the_option_goes_before_dev_and_dev_before_the_environment() {
        let check = |place: Place, found: Found, user: Option<&str>, http_url: Option<&str>| {
            assert_eq!((place.found, place.nats.user.as_deref()), (found, user));
            assert_eq!(place.http_url.as_deref(), http_url);
        };
        let dev = || Found::Dev("/data".into());
        let (operator, http_url) = (Some("operator"), Some("http://127.0.0.1:2"));
        check(chosen(Some("nats://a"), true, Some("nats://b")).unwrap(), Found::Option, None, None);
        check(chosen(None, true, Some("nats://b")).unwrap(), dev(), operator, http_url);
        check(chosen(None, false, Some("nats://b")).unwrap(), Found::Environment, None, None);
        check(chosen(Some("nats://127.0.0.1:1/"), true, None).unwrap(), Found::Option, operator, http_url);
        check(chosen(Some("nats://admin:x@127.0.0.1:1"), true, None).unwrap(), Found::Option, None, http_url);
        let error = chosen(None, false, None).unwrap_err().to_string();
        for way in ["windlass dev", "/data", "--nats-url", "WINDLASS_NATS_URL"] {
            assert!(error.contains(way), "{error}");
        }
    }

    #[test]
    fn a_user_of_the_options_replaces_the_operator() {
        let global = Global {
            nats_user: Some("publisher".to_owned()),
            nats_password: Some("p".to_owned()),
            ..Global::default()
        };
        let place = choose(&global, Some(running()), None, None).unwrap();
        assert_eq!(place.nats.user.as_deref(), Some("publisher"));
        assert_eq!(place.nats.password_file, None);
        assert_eq!(place.nats.inbox_prefix.as_deref(), Some("_INBOX_publisher"));
        assert_eq!(place.namespace.as_deref(), Some("dev"));
    }

    #[test]
    fn a_wrong_option_is_named() {
        for (nats, field) in [
            (Nats { url: ServerUrl::new("http://a"), ..Nats::default() }, "nats-url"),
            (Nats { user: Some("u".to_owned()), ..Nats::default() }, "nats-user"),
        ] {
            assert!(matches!(check(&nats), Err(Error::Option { field: found, .. }) if found == field));
        }
    }
}
