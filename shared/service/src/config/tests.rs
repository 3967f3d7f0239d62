use std::ffi::OsString;
use std::io::Write;

use windlass_broker::Auth;

use super::*;
use crate::secret::Secret;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    batch: u32,
    kinds: Vec<String>,
    api_key: Option<Secret>,
    limits: Limits,
}

/// No defaults of its own: the defaults of the whole hold below it too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    rate: u32,
    burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rate: 10, burst: 20 }
    }
}

impl Validate for Options {
    fn validate(&self, problems: &mut Problems) {
        if self.batch > 100 {
            problems.add("batch", format!("found {}, expected at most 100", self.batch));
        }
    }
}

fn load(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> Result<Config<Options>, String> {
    let mut on_disk = tempfile::Builder::new().suffix(".conf").tempfile().unwrap();
    on_disk.write_all(file.as_bytes()).unwrap();
    let os = |text: &str| OsString::from(text);
    let variables = environment.iter().map(|(name, value)| (os(name), os(value)));
    let mut sources = Sources::from_environment(variables).map_err(|problems| problems.to_string())?;
    sources.file = Some(on_disk.path().to_owned());
    sources.flags = flags.iter().map(|text| Assignment::from_flag(text).unwrap()).collect();
    let path = on_disk.path().display().to_string();
    Config::load("worker", 7103, sources).map_err(|problems| problems.to_string().replace(&path, "FILE"))
}

#[test]
fn each_layer_covers_the_one_before() {
    let file = "namespace = 'acme'\n[worker]\nbatch = 1\n[worker.limits]\nrate = 3\n[drain]\ntimeout = '5s'";
    let config = load(file, &[], &[]).unwrap();
    assert_eq!(config.common.names().namespace(), "acme");
    assert_eq!(config.common.drain.timeout, Duration::from_secs(5));
    assert_eq!(config.options.limits, Limits { rate: 3, burst: 20 });
    assert_eq!(config.common.http.listen, Some("127.0.0.1:7103".parse().unwrap()));
    let environment =
        [("WINDLASS__WORKER__BATCH", "2"), ("WINDLASS__DRAIN__TIMEOUT", "6s"), ("PATH", "/bin")];
    let config = load(file, &environment, &[]).unwrap();
    assert_eq!((config.options.batch, config.common.drain.timeout), (2, Duration::from_secs(6)));
    let config =
        load(file, &environment, &["worker.batch=3", "worker.batch=4", "http.listen=[::1]:0"]).unwrap();
    assert_eq!((config.options.batch, config.common.drain.timeout), (4, Duration::from_secs(6)));
    assert_eq!(config.common.http.listen, Some("[::1]:0".parse().unwrap()));
}

#[test]
fn text_becomes_a_list_where_a_list_is_expected() {
    let environment = [("WINDLASS__WORKER__KINDS", "a, b.c ,"), ("WINDLASS__LAYOUT__QUEUES", "default,mail")];
    let config = load("", &environment, &["layout.pools.bulk=import,export", "namespace=a-b"]).unwrap();
    assert_eq!(config.options.kinds, ["a", "b.c"]);
    let names =
        |queues: &[windlass_core::QueueName]| queues.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&config.common.layout.queues), ["default", "mail"]);
    assert_eq!(names(&config.common.layout.pools[&"bulk".parse().unwrap()]), ["import", "export"]);
    let error = load("", &[("WINDLASS__LAYOUT__QUEUES", "default,a.b")], &[]).unwrap_err();
    assert!(error.contains("layout.queues: `a.b` is not a queue name"), "{error}");
}

#[test]
fn one_file_may_serve_all_services() {
    let config = load("[dispatcher]\nanything = 1\n[worker]\nbatch = 7", &[], &[]).unwrap();
    assert_eq!(config.options.batch, 7);
    let error = load("[dispatchr]\nanything = 1", &[], &[]).unwrap_err();
    assert!(error.contains("dispatchr.anything: unknown field `dispatchr`"), "{error}");
}

#[test]
fn every_problem_is_named_with_its_key_and_its_origin() {
    let error = load(
        "[nats]\nurll = 'x'\nuser = 'me'\n[worker]\nbatch = 101\n[layout]\nreplicas = 'two'",
        &[
            ("WINDLASS__NATS__CONNECT_TIMEOUT", "soon"),
            ("WINDLASS__HTPP__LISTEN", "x"),
            ("WINDLASS__PROVISION", "no"),
        ],
        &["http.listen=localhost"],
    )
    .unwrap_err();
    for expected in [
        "htpp.listen: unknown field `htpp`, expected one of",
        "(set by WINDLASS__HTPP__LISTEN)",
        "nats.urll: unknown field `urll`, expected one of `url`",
        "(set by FILE)",
        "nats.connect_timeout: invalid value: string \"soon\", expected a duration such as 30s or 5m (set by WINDLASS__NATS__CONNECT_TIMEOUT)",
        "provision: found `no`, expected `apply`, `verify` or `off` (set by WINDLASS__PROVISION)",
        "layout.replicas: found string \"two\", expected an integer (set by FILE)",
        "http.listen: found `localhost`, expected ADDRESS:PORT such as 127.0.0.1:8080 or [::1]:0 (set by --set http.listen)",
        "worker.batch: found 101, expected at most 100 (set by FILE)",
    ] {
        assert!(error.contains(expected), "{expected:?} in\n{error}");
    }
    assert_eq!(error.lines().count(), 7, "{error}");
}

#[test]
fn what_types_cannot_say_is_checked_too() {
    for (key, value, expected) in [
        ("nats.url", "http://host", "nats.url: `http://host` is not an address"),
        ("nats.url", "nats://host:port", "nats.url: `nats://host:port` is not an address"),
        ("nats.user", "me", "nats.user: has no password"),
        ("nats.password", "x", "nats.password: has no user"),
        ("nats.password_file", "/nowhere", "nats.password_file: cannot be read"),
        ("nats.inbox_prefix", "_INBOX.>", "nats.inbox_prefix: `_INBOX.>` is not a subject"),
        ("nats.connect_timeout", "1h", "nats.connect_timeout: 1h is out of range: expected 100ms to 5m"),
        ("layout.replicas", "2", "layout.replicas: is 2: expected 1, 3 or 5"),
        ("layout.events.max_age", "1s", "layout.events.max_age: "),
        ("log.filter", "a=b=c", "log.filter: "),
        ("namespace", "a.b", "namespace: `a.b` is not a namespace"),
    ] {
        let error = load("", &[], &[&format!("{key}={value}")]).unwrap_err();
        assert!(error.contains(expected), "{expected:?} in\n{error}");
    }
    assert!(load("", &[], &["nats.url=nats://a:1,tls://[::1]:2,b"]).is_ok());
}

#[test]
fn a_broken_or_missing_file_is_named() {
    let error = load("[worker\nbatch = 1", &[], &[]).unwrap_err();
    assert!(error.contains("(set by FILE)"), "{error}");
    let sources = Sources { file: Some("/nowhere/windlass.toml".into()), ..Sources::default() };
    let error = Config::<Options>::load("worker", 1, sources).unwrap_err().to_string();
    assert!(error.contains("/nowhere/windlass.toml"), "{error}");
}

#[test]
fn secrets_are_read_and_never_shown() {
    let flags = ["nats.user=me", "nats.password=hunter2", "worker.api_key=hunter3"];
    let config = load("", &[], &flags).unwrap();
    let options = config.common.nats.broker_options(config.common.names(), "me".to_owned()).unwrap();
    assert!(
        matches!(&options.auth, Auth::UserPassword { user, password } if user == "me" && password.reveal() == "hunter2")
    );
    let shown =
        format!("{config:?} {options:?} {}", toml::to_string(&config.to_value("worker").unwrap()).unwrap());
    assert!(!shown.contains("hunter"), "{shown}");
    assert!(shown.contains("password = \"***\"") && shown.contains("api_key = \"***\""), "{shown}");
    // Wrong together: the message says which keys, not what they hold.
    let error =
        load("", &[], &["nats.url=nats://u:hunter2@h", "nats.token=hunter3", "nats.password=hunter4"]);
    let error = error.unwrap_err();
    assert!(error.contains("nats: has token and a user in url") && !error.contains("hunter"), "{error}");
}

#[test]
fn a_password_file_is_read_at_each_connection() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"first\n").unwrap();
    let path = file.path().display();
    let config = load("", &[], &["nats.user=me", &format!("nats.password_file={path}")]).unwrap();
    let password = || match config.common.nats.broker_options(Names::default(), String::new()).unwrap().auth {
        Auth::UserPassword { password, .. } => password.reveal().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(password(), "first");
    std::fs::write(file.path(), "second").unwrap();
    assert_eq!(password(), "second");
}
