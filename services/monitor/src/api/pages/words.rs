//! Numbers and instants for people.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// An instant to the millisecond; the page says that all are in UTC.
pub(super) fn instant(at: &Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// An instant to the second.
pub(super) fn moment(at: &Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// How long ago, or how soon.
pub(super) fn relative(at: &Timestamp, now: &Timestamp) -> String {
    let seconds = now.duration_since(*at).as_secs_f64();
    match seconds {
        ago if ago >= 1.0 => format!("{} ago", about(ago)),
        ahead if ahead <= -1.0 => format!("in {}", about(-ahead)),
        _ => "now".to_owned(),
    }
}

/// Seconds, in one unit.
fn about(seconds: f64) -> String {
    match seconds {
        s if s < 59.5 => format!("{s:.0} s"),
        s if s < 3600.0 => format!("{:.0} min", (s / 60.0).floor()),
        s if s < 2.0 * 86_400.0 => format!("{:.0} h", (s / 3600.0).floor()),
        s if s >= 2.0 * 365.25 * 86_400.0 => format!("{:.0} years", (s / 86_400.0 / 365.25).floor()),
        s => format!("{:.0} d", (s / 86_400.0).floor()),
    }
}

/// Seconds, in at most two units.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
pub(super) fn duration(seconds: &f64) -> String {
    let seconds = *seconds;
    if seconds < 0.0005 {
        return "0 ms".to_owned();
    }
    if seconds < 1.0 {
        return format!("{:.0} ms", seconds * 1000.0);
    }
    if seconds < 59.5 {
        return if seconds < 10.0 { format!("{seconds:.1} s") } else { format!("{seconds:.0} s") };
    }
    let Ok(whole) = SignedDuration::try_from_secs_f64(seconds.round()) else { return "for ever".to_owned() };
    let whole = whole.as_secs();
    let units = [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)];
    let mut parts = Vec::new();
    let mut rest = whole;
    for (name, length) in units {
        let (count, left) = (rest / length, rest % length);
        if count > 0 {
            parts.push(format!("{count} {name}"));
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
        rest = left;
    }
    parts.join(" ")
}

/// A count with its thousands apart.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
pub(super) fn count(number: &u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            // A thin space that does not break.
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A share of one, as a percentage.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
pub(super) fn percent(share: &f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 10.0 { format!("{percent:.1}%") } else { format!("{percent:.0}%") }
}

/// A rate of so many in a minute.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
pub(super) fn rate(per_minute: &f64) -> String {
    match *per_minute {
        none if none <= 0.0 => "0".to_owned(),
        few if few < 10.0 => format!("{few:.1}"),
        some => {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "positive, and a rate"
            )]
            let whole = some.round() as u64;
            count(&whole)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (seconds, expected) in [
            (0.0, "0 ms"),
            (0.25, "250 ms"),
            (1.5, "1.5 s"),
            (20.4, "20 s"),
            (59.7, "1 min"),
            (60.0, "1 min"),
            (61.0, "1 min 1 s"),
            (3600.0, "1 h"),
            (3661.0, "1 h 1 min"),
            (90_000.0, "1 d 1 h"),
            (86_460.0, "1 d"),
        ] {
            assert_eq!(duration(&seconds), expected);
        }
        assert_eq!((count(&7), count(&1_234_567)), ("7".to_owned(), "1\u{202f}234\u{202f}567".to_owned()));
        assert_eq!(
            (percent(&0.0), percent(&0.034), percent(&0.5)),
            ("0%".into(), "3.4%".into(), "50%".into())
        );
        assert_eq!((rate(&0.04), rate(&1500.4)), ("0.0".to_owned(), "1\u{202f}500".to_owned()));
        let (at, now) = (Timestamp::from_second(100).unwrap(), Timestamp::from_second(190).unwrap());
        assert_eq!((relative(&at, &now), relative(&now, &at)), ("1 min ago".into(), "in 1 min".into()));
        assert_eq!(relative(&at, &at), "now");
        assert_eq!(relative(&Timestamp::from_second(100_000_000).unwrap(), &at), "in 3 years");
    }
}
