//! A handler's result as a JSON value.

use serde_json::{Value, json};

/// JSON as itself, text as a string, anything else (JSON that cannot be read, too) as `{"base64": "…"}`.
///
/// No content type means JSON, and no bytes of JSON mean `null`.
pub fn result_value(content_type: &str, bytes: &[u8]) -> Value {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let value = match essence.as_str() {
        "" | "application/json" if bytes.is_empty() => Some(Value::Null),
        "" | "application/json" => serde_json::from_slice(bytes).ok(),
        text if text.starts_with("text/") => std::str::from_utf8(bytes).ok().map(Value::from),
        _ => None,
    };
    value.unwrap_or_else(|| json!({ "base64": base64(bytes) }))
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
        assert_eq!(&result_value(content_type, bytes), expected, "{content_type} {bytes:?}");
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
