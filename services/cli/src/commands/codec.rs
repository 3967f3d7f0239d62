//! The operator's keys, and opening with them what a job's view only names or has sealed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio::time::Instant;
use windlass::codec::{self, Codec, Field, Keyring};
use windlass_broker::locate;
use windlass_broker::objects::{self, Objects};
use windlass_core::history::{JobView, result_value};
use windlass_core::{Form, ObjectRef};

use super::Error;
use crate::connect::Fleet;
use crate::global::Global;

/// The largest result that is shown.
const LIMIT_BYTES: usize = 64 << 20;
/// For fetching one that nobody waits for.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(30);

/// What the options say of keys and compression.
pub(super) fn of(global: &Global) -> Result<Codec, Error> {
    let keys = match (&global.codec_keys_text, &global.codec_keys) {
        (Some(text), _) => Some(text.expose().parse::<Keyring>().map_err(Error::Keys)?),
        (None, Some(path)) => Some(Keyring::read_file(path).map_err(Error::Keys)?),
        (None, None) => None,
    };
    let mut codec = Codec::default();
    if let Some(keys) = keys {
        codec = codec.with_keys(keys);
    }
    Ok(if global.codec_compression { codec.with_compression() } else { codec })
}

/// The view with its result fetched and decompressed; and with all that is sealed opened, if asked to.
pub(super) async fn open(
    fleet: &Fleet,
    codec: &Codec,
    reveal: bool,
    mut view: JobView,
    deadline: Instant,
) -> Result<JobView, Error> {
    if reveal {
        let id = view.id;
        let attempts = view.attempts.iter_mut().filter_map(|attempt| attempt.error.as_mut());
        for error in attempts.chain(view.error.as_mut()) {
            let opened = codec.open_text(id, Field::Error, &error.message);
            error.message = opened.map_err(|source| Error::Sealed { id, source })?;
        }
    }
    let (Some(form), Some(value)) = (view.result_form.clone(), &view.result) else { return Ok(view) };
    if form.encoding.key_id.is_some() && !reveal {
        return Ok(view);
    }
    let sealed = |source| Error::Sealed { id: view.id, source };
    let bytes = if let Some(object) = &form.object {
        fetch(fleet, &view, object, deadline).await?
    } else {
        let bytes = value["base64"].as_str().and_then(|text| STANDARD.decode(text).ok());
        bytes.map(Bytes::from).ok_or_else(|| sealed(codec::Error::Form))?
    };
    let plain = codec.decode(view.id, Field::Result, bytes, &form.encoding, LIMIT_BYTES).map_err(sealed)?;
    let content_type = value["content_type"].as_str().unwrap_or_default();
    view.result = Some(result_value(content_type, &plain, &Form::default())).filter(|value| !value.is_null());
    view.result_form = None;
    Ok(view)
}

/// Which pool it is of is the dispatchers' to know; its name is of one object only.
async fn fetch(fleet: &Fleet, view: &JobView, object: &ObjectRef, deadline: Instant) -> Result<Bytes, Error> {
    let id = view.id;
    let broker = fleet.broker().await?;
    let mut missing = None;
    for pool in locate::pools(broker).await.map_err(|source| Error::Jobs { id, source })? {
        match Objects::results(broker, &pool).get(object, deadline).await {
            Ok(bytes) => return Ok(bytes),
            Err(error @ objects::Error::Missing { .. }) => missing = Some(error),
            Err(source) => return Err(Error::Result { id, source }),
        }
    }
    let (bucket, name) = (String::new(), object.name.clone());
    Err(Error::Result { id, source: missing.unwrap_or(objects::Error::Missing { bucket, name }) })
}
