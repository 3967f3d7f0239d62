//! An answer of JetStream: an error of its own, or what was asked for.

use serde::de::DeserializeOwned;

pub(crate) enum Answer {
    Refused { code: u64, description: String },
    Malformed(serde_json::Error),
}

/// The `error` of an answer.
#[derive(serde::Deserialize)]
pub(crate) struct ErrorBody {
    #[serde(default)]
    pub(crate) err_code: u64,
    #[serde(default)]
    pub(crate) description: String,
}

/// Reads a JetStream answer: an `error` member, or the value itself.
pub(crate) fn read_answer<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Answer> {
    #[derive(serde::Deserialize)]
    struct ErrorMember {
        error: ErrorBody,
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

    #[derive(Debug, serde::Deserialize)]
    struct Counted {
        total: u64,
    }

    #[test]
    fn a_refusal_is_no_success() {
        let refused = br#"{"error":{"code":400,"err_code":10071,"description":"wrong"},"total":0}"#;
        assert!(matches!(read_answer::<Counted>(refused), Err(Answer::Refused { code: 10071, .. })));
        assert_eq!(read_answer::<Counted>(br#"{"total":7}"#).map(|counted| counted.total).ok(), Some(7));
        assert!(matches!(read_answer::<Counted>(b"{}"), Err(Answer::Malformed(_))));
    }
}
