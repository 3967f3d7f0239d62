//! W3C trace context, as text: what travels in headers whether or not anything is exported.

use std::fmt;
use std::str::FromStr;

/// A `traceparent` of version 00 (W3C Trace Context, section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    /// Not zero.
    pub trace_id: u128,
    /// Not zero.
    pub span_id: u64,
    /// Whether the caller records it.
    pub sampled: bool,
}

/// The text is no `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a traceparent: expected 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, neither id zero")]
pub struct InvalidTraceParent;

// === impl TraceParent ===

impl TraceParent {
    /// A new trace, of which nobody has decided yet whether it is recorded: whoever made it has no exporter. For programs
    /// that know nothing of this it is one that is not recorded; ours know it by its span id, which is the half of its
    /// trace id. A flag would be missing (W3C Trace Context has "sampled" only, which leaves a later sampler no choice).
    pub fn undecided(random: u128) -> Self {
        // Neither half is zero.
        let trace_id = random | 1 << 64 | 1;
        Self { trace_id, span_id: Self::half(trace_id), sampled: false }
    }

    /// Whether nobody has decided yet if it is recorded.
    pub fn is_undecided(&self) -> bool {
        !self.sampled && self.span_id == Self::half(self.trace_id)
    }

    fn half(trace_id: u128) -> u64 {
        u64::try_from(trace_id & u128::from(u64::MAX)).unwrap_or_default()
    }

    /// The trace id as 32 hexadecimal digits.
    pub fn trace_id_hex(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// Its text, without the machinery of formatting: every message has one.
    fn encode<'b>(&self, buffer: &'b mut [u8; 55]) -> &'b str {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = |at: usize, bytes: &[u8]| {
            for (number, byte) in bytes.iter().enumerate() {
                buffer[at + 2 * number] = DIGITS[usize::from(byte >> 4)];
                buffer[at + 2 * number + 1] = DIGITS[usize::from(byte & 15)];
            }
        };
        hex(0, &[0]);
        hex(3, &self.trace_id.to_be_bytes());
        hex(36, &self.span_id.to_be_bytes());
        hex(53, &[u8::from(self.sampled)]);
        for dash in [2, 35, 52] {
            buffer[dash] = b'-';
        }
        // Only digits and dashes.
        std::str::from_utf8(buffer).unwrap_or_default()
    }
}

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        fn hex(part: Option<&str>, digits: usize) -> Result<u128, InvalidTraceParent> {
            let part = part.filter(|p| {
                p.len() == digits && p.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            });
            u128::from_str_radix(part.ok_or(InvalidTraceParent)?, 16).map_err(|_| InvalidTraceParent)
        }
        let mut parts = text.split('-');
        let version = hex(parts.next(), 2)?;
        let trace_id = hex(parts.next(), 32)?;
        let span_id = u64::try_from(hex(parts.next(), 16)?).map_err(|_| InvalidTraceParent)?;
        let flags = hex(parts.next(), 2)?;
        // A later version may append parts; version 00 has exactly four, and ff is forbidden.
        let too_many = version == 0 && parts.next().is_some();
        if version == 0xff || too_many || trace_id == 0 || span_id == 0 {
            return Err(InvalidTraceParent);
        }
        Ok(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut [0; 55]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_decided_stays_so_on_its_way() {
        for random in [0, 7, u128::MAX] {
            let trace = TraceParent::undecided(random);
            let read: TraceParent = trace.to_string().parse().unwrap();
            assert!(read.is_undecided() && read == trace, "{trace}");
            assert!(!TraceParent { sampled: true, ..trace }.is_undecided());
            assert!(!TraceParent { span_id: trace.span_id ^ 2, ..trace }.is_undecided(), "a span decided it");
        }
    }

    #[test]
    fn reads_and_writes() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(text.parse::<TraceParent>().unwrap().to_string(), text);
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert!(bad.parse::<TraceParent>().is_err(), "{bad}");
        }
    }
}
