//! How payloads and results travel.

use windlass_core::{Compression, Encoding, Form, ObjectRef};

use crate::{Error, v1};

/// Longer is no name of an object of ours.
const NAME_LIMIT_BYTES: usize = 256;

/// The two fields of a message.
pub(crate) fn to_wire(form: &Form) -> (Option<v1::Encoding>, Option<v1::ObjectRef>) {
    let encoding = (!form.encoding.is_plain()).then(|| v1::Encoding {
        compression: match form.encoding.compression {
            Compression::None => v1::Compression::Unspecified,
            Compression::Zstd => v1::Compression::Zstd,
        }
        .into(),
        key_id: form.encoding.key_id.as_ref().map(ToString::to_string).unwrap_or_default(),
    });
    let object = form.object.as_ref().map(|object| v1::ObjectRef {
        name: object.name.clone(),
        bytes: object.bytes,
        sha256: object.sha256.to_vec().into(),
    });
    (encoding, object)
}

/// Reads the two fields; `what` is `payload` or `result`.
pub(crate) fn from_wire(
    what: &str,
    encoding: Option<v1::Encoding>,
    object: Option<v1::ObjectRef>,
) -> Result<Form, Error> {
    Ok(Form {
        encoding: encoding.map(|wire| read_encoding(what, &wire)).transpose()?.unwrap_or_default(),
        object: object.map(|wire| read_object(what, wire)).transpose()?,
    })
}

fn read_encoding(what: &str, wire: &v1::Encoding) -> Result<Encoding, Error> {
    let compression = match v1::Compression::try_from(wire.compression) {
        Ok(v1::Compression::Unspecified) => Compression::None,
        Ok(v1::Compression::Zstd) => Compression::Zstd,
        Err(_) => {
            let field = format!("{what}_encoding.compression");
            return Err(Error::unknown(field, wire.compression, "0 or 1"));
        }
    };
    let key_id = match wire.key_id.as_str() {
        "" => None,
        id => Some(id.parse().map_err(|e| Error::new(format!("{what}_encoding.key_id"), e))?),
    };
    Ok(Encoding { compression, key_id })
}

fn read_object(what: &str, wire: v1::ObjectRef) -> Result<ObjectRef, Error> {
    if wire.name.is_empty() || wire.name.len() > NAME_LIMIT_BYTES {
        let reason = format!("expected a name of 1 to {NAME_LIMIT_BYTES} bytes");
        return Err(Error::new(format!("{what}_object.name"), reason));
    }
    let sha256 = <[u8; 32]>::try_from(wire.sha256.as_ref()).map_err(|_| {
        Error::new(format!("{what}_object.sha256"), format!("has {} bytes: expected 32", wire.sha256.len()))
    })?;
    Ok(ObjectRef { name: wire.name, bytes: wire.bytes, sha256 })
}

/// What is sealed belongs to an id, so it must come with it.
pub(crate) fn no_id(field: &str) -> Error {
    Error::new(field, "is missing: expected the id that the payload was sealed for")
}
