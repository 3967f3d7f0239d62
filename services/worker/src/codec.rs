//! The section `[codec]` of the configuration, made into keys.

use anyhow::Context as _;
use windlass::{Codec, Keyring};
use windlass_service::CodecSettings;

/// Reads the keys. An error never says what it found.
pub(crate) fn of(settings: &CodecSettings) -> anyhow::Result<Codec> {
    let keys = match (&settings.keys, &settings.keys_file) {
        (Some(keys), _) => Some(keys.expose().parse::<Keyring>().context("codec.keys")?),
        (None, Some(path)) => Some(Keyring::read_file(path).context("codec.keys_file")?),
        (None, None) => None,
    };
    let mut codec = Codec::default();
    if let Some(keys) = keys {
        tracing::info!(active = %keys.active().id(), keys = keys.ids().count(), "sealing results and errors");
        codec = codec.with_keys(keys);
    }
    if settings.compression {
        codec = codec.with_compression();
    }
    Ok(if settings.only_sealed { codec.only_sealed() } else { codec })
}
