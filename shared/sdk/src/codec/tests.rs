use bytes::Bytes;
use windlass_core::{Compression, Encoding, JobId};

use super::seal::{self, Place};
use super::*;

const OLD: &str = "old:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
const NEW: &str = "new.1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const LIMIT: usize = 1 << 20;

fn id() -> JobId {
    "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()
}

fn other_id() -> JobId {
    "01890a5d-ac96-774b-bcce-b302099a8058".parse().unwrap()
}

fn codec(keys: &str) -> Codec {
    Codec::default().with_keys(keys.parse().unwrap())
}

fn text(bytes: usize) -> Bytes {
    "all work and no play ".repeat(bytes / 21 + 1).into_bytes().into_iter().take(bytes).collect()
}

/// Of hexadecimal digits.
fn bytes_of(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|d| u8::from_str_radix(str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

#[test]
fn what_is_encoded_reads_back() {
    for (codec, bytes, words) in [
        (Codec::default(), text(5000), ""),
        (Codec::default().with_compression(), text(5000), "zstd"),
        // Too small to gain by it, and what does not get smaller.
        (Codec::default().with_compression(), text(500), ""),
        (Codec::default().with_compression(), rand::random::<[u8; 2000]>().to_vec().into(), ""),
        (codec(NEW), Bytes::new(), "sealed"),
        (codec(NEW), text(5000), "sealed"),
        (codec(NEW).with_compression(), text(5000), "zstd+sealed"),
    ] {
        let (encoded, encoding) = codec.encode(id(), Field::Payload, bytes.clone()).unwrap();
        assert_eq!(encoding.words(), words);
        assert_eq!(codec.decode(id(), Field::Payload, encoded.clone(), &encoding, LIMIT).unwrap(), bytes);
        let sealed = encoding.key_id.is_some();
        assert_eq!(sealed, codec.seals());
        // The same bytes are never the same twice.
        let again = codec.encode(id(), Field::Payload, bytes).unwrap().0;
        assert_eq!(again != encoded, sealed);
    }
}

/// Made with another implementation of the cipher (RFC 8439, draft-irtf-cfrg-xchacha), so that the form is what
/// `task.proto` says.
#[test]
fn the_wire_form_is_pinned() {
    const NONCE: &str = "404142434445464748494a4b4c4d4e4f5051525354555657";
    let keys: Keyring = NEW.parse().unwrap();
    let nonce: [u8; 24] = std::array::from_fn(|i| 64 + u8::try_from(i).unwrap());
    for (field, compression, plain, ciphertext) in [
        (
            Field::Payload,
            Compression::None,
            r#"{"to":"ann@example.org"}"#,
            "af1b711ff2da5b77e19ac7dbd7fd08e2fedf83ab613e71e743017b36a0375c1a607bbac170f91c7f",
        ),
        (
            Field::Result,
            Compression::Zstd,
            "compressed bytes",
            "b7566800a2850a65ea90a7dcd6e800e1c02bf82fe71cd676ea5556a4b3b0cdf3",
        ),
        (
            Field::Error,
            Compression::None,
            "no such mailbox",
            "ba562503a5831136e295eed2cdf31d9dd2968e60e2863c336538b69cffe2fb",
        ),
    ] {
        let place = Place { job_id: id(), field, compression };
        let sealed = seal::seal_with(keys.active(), &place, plain.as_bytes(), nonce).unwrap();
        assert_eq!(sealed, bytes_of(&format!("01{NONCE}{ciphertext}")));
        assert_eq!(seal::open(keys.active(), &place, &sealed).unwrap(), plain.as_bytes());
    }
    let told =
        "windlass-sealed:1:new.1:AUBBQkNERUZHSElKS0xNTk9QUVJTVFVWV7pWJQOlgxE24pXu0s3zHZ3Slo5g4oY8M2U4tpz_4vs";
    assert_eq!(codec(NEW).open_text(id(), Field::Error, told).unwrap(), "no such mailbox");
}

/// Version, nonce, ciphertext and tag: no bit can be changed, and nothing cut off or added.
#[test]
fn tampering_is_refused() {
    let codec = codec(NEW);
    let (sealed, encoding) = codec.encode(id(), Field::Payload, "pay ann".into()).unwrap();
    let open = |bytes: Vec<u8>| codec.decode(id(), Field::Payload, bytes.into(), &encoding, LIMIT);
    assert_eq!(open(sealed.to_vec()).unwrap(), "pay ann");
    for place in 0..sealed.len() {
        let mut changed = sealed.to_vec();
        changed[place] ^= 1 << (place % 8);
        let error = open(changed).unwrap_err();
        assert_eq!(matches!(error, Error::Form), place == 0, "byte {place}: {error}");
        assert_eq!(matches!(error, Error::Refused(_)), place > 0, "byte {place}: {error}");
        assert!(open(sealed[..place].to_vec()).is_err(), "cut to {place} bytes");
    }
    assert!(open([&sealed[..], b"x"].concat()).is_err());
}

#[test]
fn what_is_sealed_belongs_to_its_job_field_and_compression() {
    let codec = codec(NEW).with_compression();
    let (sealed, encoding) = codec.encode(id(), Field::Payload, text(5000)).unwrap();
    let open = |id, field, encoding: &Encoding| codec.decode(id, field, sealed.clone(), encoding, LIMIT);
    assert!(open(id(), Field::Payload, &encoding).is_ok());
    let as_plain = Encoding { compression: Compression::None, ..encoding.clone() };
    for (id, field, encoding) in [
        (other_id(), Field::Payload, &encoding),
        (id(), Field::Result, &encoding),
        (id(), Field::Payload, &as_plain),
    ] {
        assert!(matches!(open(id, field, encoding), Err(Error::Refused(_))));
    }
    let told = codec.seal_text(id(), Field::Error, "no").unwrap();
    assert_eq!(codec.open_text(id(), Field::Error, &told).unwrap(), "no");
    assert!(matches!(codec.open_text(other_id(), Field::Error, &told), Err(Error::Refused(_))));
    assert!(matches!(codec.open_text(id(), Field::Log, &told), Err(Error::Refused(_))));
}

#[test]
fn keys_change_without_a_gap() {
    let (before, after) = (codec(&format!("{OLD}\n{NEW}")), codec(&format!("# the new one\n{NEW},{OLD}\n")));
    let (sealed, encoding) = before.encode(id(), Field::Payload, "old".into()).unwrap();
    assert_eq!(encoding.key_id.as_ref().map(KeyId::as_str), Some("old"));
    assert_eq!(after.decode(id(), Field::Payload, sealed.clone(), &encoding, LIMIT).unwrap(), "old");
    let (newer, newer_encoding) = after.encode(id(), Field::Payload, "new".into()).unwrap();
    assert_eq!(newer_encoding.key_id.as_ref().map(KeyId::as_str), Some("new.1"));
    assert_eq!(before.decode(id(), Field::Payload, newer.clone(), &newer_encoding, LIMIT).unwrap(), "new");
    // Without the key the error names it.
    for without in [codec(NEW), Codec::default()] {
        let error = without.decode(id(), Field::Payload, sealed.clone(), &encoding, LIMIT).unwrap_err();
        assert!(matches!(&error, Error::UnknownKey(id) if id.as_str() == "old"), "{error}");
        assert!(error.to_string().contains("`old`"), "{error}");
    }
    // Another key under the same id does not open it.
    let forged = codec(&NEW.replace("new.1", "old"));
    assert!(matches!(forged.decode(id(), Field::Payload, sealed, &encoding, LIMIT), Err(Error::Refused(_))));
}

#[test]
fn what_is_not_sealed_is_refused_where_all_must_be() {
    let codec = codec(NEW).only_sealed();
    let plain = |codec: &Codec| codec.decode(id(), Field::Payload, "x".into(), &Encoding::default(), LIMIT);
    assert!(matches!(plain(&codec), Err(Error::NotSealed)));
    assert!(plain(&self::codec(NEW)).is_ok());
}

#[test]
fn a_bomb_is_refused() {
    let zeros = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    assert!(zeros.len() < 64 * 1024, "{}", zeros.len());
    let encoding = Encoding { compression: Compression::Zstd, key_id: None };
    let open =
        |bytes: Vec<u8>, limit| Codec::default().decode(id(), Field::Payload, bytes.into(), &encoding, limit);
    // Beyond its window, or beyond its size: in both cases before the memory is filled.
    assert!(open(zeros.clone(), LIMIT).is_err());
    assert!(matches!(open(zeros.clone(), (64 << 20) - 1), Err(Error::TooLarge { .. })));
    assert_eq!(open(zeros, 64 << 20).unwrap().len(), 64 << 20);
    let (small, _) = Codec::default().with_compression().encode(id(), Field::Payload, text(2000)).unwrap();
    assert!(matches!(open(small.to_vec(), 1999), Err(Error::TooLarge { limit: 1999 })));
    assert_eq!(open(small.to_vec(), 2000).unwrap().len(), 2000);
    assert!(matches!(open(small[..small.len() - 1].to_vec(), LIMIT), Err(Error::Decompress(_))));
    assert!(matches!(open(b"not zstd".to_vec(), LIMIT), Err(Error::Decompress(_))));
}

#[test]
fn texts_pass_through_unchanged_without_keys() {
    let none = Codec::default();
    assert_eq!(none.seal_text(id(), Field::Error, "as it is").unwrap(), "as it is");
    assert_eq!(none.open_text(id(), Field::Error, "as it is").unwrap(), "as it is");
    let told = codec(NEW).seal_text(id(), Field::Error, "grüße").unwrap();
    assert!(is_sealed_text(&told) && told.starts_with("windlass-sealed:1:new.1:"), "{told}");
    assert!(told.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b)), "{told}");
    assert!(matches!(none.open_text(id(), Field::Error, &told), Err(Error::UnknownKey(_))));
    for bad in ["windlass-sealed:2:k:AAAA", "windlass-sealed:1:k", "windlass-sealed:1:k:%%"] {
        assert!(matches!(codec(NEW).open_text(id(), Field::Error, bad), Err(Error::Form)), "{bad}");
    }
}

#[test]
fn keys_are_never_shown() {
    let keys: Keyring = format!("{NEW}\n{OLD}").parse().unwrap();
    let shown = format!("{:?} {:?}", keys, Codec::default().with_keys(keys.clone()));
    assert!(shown.contains("new.1") && shown.contains("old"), "{shown}");
    assert!(!shown.contains("AAEC") && !shown.contains("ICEi") && !shown.contains("1, 2"), "{shown}");
    for (bad, expected) in [
        ("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "key 1"),
        ("ok:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\nhunter2 hunter2:x", "key 2"),
        ("k:hunter2", "key 1"),
        ("k:AAEC", "32 bytes"),
        ("", "no key"),
        (
            "k:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=,k:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            "`k`",
        ),
    ] {
        let error = bad.parse::<Keyring>().unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(expected), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("AAEC"), "{shown}");
    }
}

#[test]
fn a_generated_key_reads_back_and_a_file_of_keys_is_for_few() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let key = Key::generate("k9".parse().unwrap());
    std::fs::write(&path, format!("{}\n", key.to_line().as_str())).unwrap();
    for (mode, good) in [(0o600, true), (0o640, true), (0o644, false), (0o602, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        match Keyring::read_file(&path) {
            Ok(keys) => assert!(good && keys.active().to_line() == key.to_line(), "{mode:o}"),
            Err(error) => assert!(!good && matches!(error, KeyError::Exposed { .. }), "{mode:o} {error}"),
        }
    }
    assert!(matches!(Keyring::read_file(&folder.path().join("none")), Err(KeyError::File { .. })));
}
