//! The options that every command takes.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use clap::builder::TypedValueParser as _;
use windlass_service::Secret;

use crate::output::Format;

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The broker's address; without it, that of a running `windlass dev`, then WINDLASS_NATS_URL
    #[arg(long, global = true, value_name = "URL", env = "WINDLASS__NATS__URL", hide_env_values = true)]
    pub(crate) nats_url: Option<String>,

    /// The broker's user to be
    #[arg(long, global = true, value_name = "NAME", env = "WINDLASS__NATS__USER")]
    pub(crate) nats_user: Option<String>,

    /// Its password; other users of this machine may see it here, rather use the file or the environment
    #[arg(
        long,
        global = true,
        value_name = "PASSWORD",
        env = "WINDLASS__NATS__PASSWORD",
        hide_env_values = true,
        conflicts_with = "nats_password_file"
    )]
    pub(crate) nats_password: Option<String>,

    /// A file that holds the password
    #[arg(long, global = true, value_name = "FILE", env = "WINDLASS__NATS__PASSWORD_FILE")]
    pub(crate) nats_password_file: Option<PathBuf>,

    /// A file with a token of the monitor's: needed where it shows nothing without one
    #[arg(long, global = true, value_name = "FILE", env = "WINDLASS_MONITOR_TOKEN_FILE")]
    pub(crate) monitor_token_file: Option<PathBuf>,

    /// The folder of `windlass dev`
    #[arg(long, global = true, value_name = "DIR", env = "WINDLASS_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// The first word of every subject, so that several fleets share a broker
    #[arg(long, global = true, value_name = "NAME", env = "WINDLASS__NAMESPACE")]
    pub(crate) namespace: Option<String>,

    /// A file of keys to seal payloads with, and to open results
    #[arg(long, global = true, value_name = "FILE", env = "WINDLASS__CODEC__KEYS_FILE")]
    pub(crate) codec_keys: Option<PathBuf>,

    /// The keys themselves, from the environment alone: on the command line others would see them
    #[arg(
        long = "codec-keys-text",
        global = true,
        hide = true,
        env = "WINDLASS__CODEC__KEYS",
        value_parser = clap::builder::StringValueParser::new().map(Secret::new),
        conflicts_with = "codec_keys"
    )]
    pub(crate) codec_keys_text: Option<Secret>,

    /// Compress payloads that get smaller by it
    #[arg(long, global = true, env = "WINDLASS__CODEC__COMPRESSION")]
    pub(crate) codec_compression: bool,

    /// How answers are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
}

// === impl Global ===

impl Global {
    /// The environment variables of a service's configuration that say the same.
    pub(crate) fn variables(&self) -> Vec<(&'static str, OsString)> {
        let text = |value: &Option<String>| value.clone().map(OsString::from);
        [
            ("WINDLASS__NATS__URL", text(&self.nats_url)),
            ("WINDLASS__NATS__USER", text(&self.nats_user)),
            ("WINDLASS__NATS__PASSWORD", text(&self.nats_password)),
            ("WINDLASS__NATS__PASSWORD_FILE", self.nats_password_file.clone().map(OsString::from)),
            ("WINDLASS__NAMESPACE", text(&self.namespace)),
            ("WINDLASS__CODEC__KEYS_FILE", self.codec_keys.clone().map(OsString::from)),
            ("WINDLASS__CODEC__KEYS", self.codec_keys_text.as_ref().map(|keys| keys.expose().into())),
            ("WINDLASS__CODEC__COMPRESSION", self.codec_compression.then(|| "true".into())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}
