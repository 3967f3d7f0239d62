//! A handler's result as a JSON value.

use serde_json::{Value, json};

use crate::payload::Form;

/// JSON as itself, text as a string, anything else (JSON that cannot be read, too) as `{"base64": "…"}`.
///
/// No content type means JSON, and no bytes of JSON mean `null`. What was compressed, sealed or put into Object Store is
/// shown as that: `{"encoding": "zstd+sealed", "key_id": "…", "content_type": "…"}`, with `base64` or `object`.
pub fn result_value(content_type: &str, bytes: &[u8], form: &Form) -> Value {
    if !form.is_plain() {
        return formed_value(content_type, bytes, form);
    }
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let value = match essence.as_str() {
        "" | "application/json" if bytes.is_empty() => Some(Value::Null),
        "" | "application/json" => serde_json::from_slice(bytes).ok(),
        text if text.starts_with("text/") => std::str::from_utf8(bytes).ok().map(Value::from),
        _ => None,
    };
    value.unwrap_or_else(|| json!({ "base64": base64(bytes) }))
}

fn formed_value(content_type: &str, bytes: &[u8], form: &Form) -> Value {
    let mut value = serde_json::Map::new();
    if !form.encoding.is_plain() {
        value.insert("encoding".to_owned(), form.encoding.words().into());
    }
    if let Some(key_id) = &form.encoding.key_id {
        value.insert("key_id".to_owned(), key_id.as_str().into());
    }
    if !content_type.is_empty() {
        value.insert("content_type".to_owned(), content_type.into());
    }
    match &form.object {
        Some(object) => value.insert("object".to_owned(), json!(object)),
        None => value.insert("base64".to_owned(), base64(bytes).into()),
    };
    Value::Object(value)
}

/// RFC 4648, section 4, with padding. Written here because it is all that this crate would need a dependency for.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = (group >> (18 - 6 * place) & 63) as usize;
            text.push(if place <= chunk.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content_type: &str, bytes: &[u8], expected: &Value) {
        assert_eq!(
            &result_value(content_type, bytes, &Form::default()),
            expected,
            "{content_type} {bytes:?}"
        );
    }

    #[test]
    fn each_type_has_its_form() {
        check("", br#"{"a": 1}"#, &json!({"a": 1}));
        check("", b"", &Value::Null);
        check("application/json; charset=utf-8", b"[1]", &json!([1]));
        check("Application/JSON", b"7", &json!(7));
        check("application/json", b"{", &json!({"base64": "ew=="}));
        check("text/plain", "grüße".as_bytes(), &json!("grüße"));
        check("text/plain", b"", &json!(""));
        check("text/plain", b"\xff\xfe", &json!({"base64": "//4="}));
        check("application/octet-stream", b"7", &json!({"base64": "Nw=="}));
    }

    #[test]
    fn what_was_sealed_or_stored_is_shown_as_that() {
        use crate::payload::{Compression, Encoding, ObjectRef};
        let encoding = Encoding { compression: Compression::Zstd, key_id: "k1".parse().ok() };
        let mut form = Form { encoding, object: None };
        let sealed = json!({"encoding": "zstd+sealed", "key_id": "k1", "base64": "Zg=="});
        assert_eq!(result_value("", b"f", &form), sealed);
        form = Form {
            object: Some(ObjectRef { name: "n".into(), bytes: 9, sha256: [1; 32] }),
            ..Form::default()
        };
        let object = json!({"name": "n", "bytes": 9, "sha256": "01".repeat(32)});
        assert_eq!(
            result_value("text/plain", b"", &form),
            json!({"content_type": "text/plain", "object": object})
        );
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        // RFC 4648, section 10.
        for (bytes, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
    }
}
