//! An answer of JetStream: an error of its own, or what was asked for.

use serde::de::DeserializeOwned;

pub(crate) enum Answer {
    Refused { code: u64, description: String },
    Malformed(serde_json::Error),
}

/// Reads a JetStream answer: an `error` member, or the value itself.
pub(crate) fn read_answer<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Answer> {
    #[derive(serde::Deserialize)]
    struct ErrorMember {
        error: ErrorBody,
    }
    #[derive(serde::Deserialize)]
    struct ErrorBody {
        #[serde(default)]
        err_code: u64,
        #[serde(default)]
        description: String,
    }
    // First: a refused publish also has the members of a stored one, with sequence 0.
    match serde_json::from_slice::<ErrorMember>(payload) {
        Ok(refused) => {
            Err(Answer::Refused { code: refused.error.err_code, description: refused.error.description })
        }
        Err(_) => serde_json::from_slice(payload).map_err(Answer::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::Stored;

    /// As a server answers a refused condition: with the members of a stored message beside the error.
    #[test]
    fn a_refusal_is_no_success() {
        let refused = br#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"},"stream":"X","seq":0}"#;
        assert!(matches!(read_answer::<Stored>(refused), Err(Answer::Refused { code: 10071, .. })));
        let stored = br#"{"stream":"X","seq":7}"#;
        assert!(matches!(read_answer::<Stored>(stored), Ok(Stored { sequence: 7, duplicate: false, .. })));
        assert!(matches!(read_answer::<Stored>(b"{}"), Err(Answer::Malformed(_))));
    }
}
