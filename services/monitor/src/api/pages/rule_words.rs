//! Rules of schedules in words, where they are simple enough; the expression itself is always shown beside them.

use windlass_core::duration;

/// A cron expression in words; none where they would say less than the expression.
pub(super) fn cron(expression: &str) -> Option<String> {
    let named = match expression.trim().to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => Some("0 0 1 1 *"),
        "@monthly" => Some("0 0 1 * *"),
        "@weekly" => Some("0 0 * * 0"),
        "@daily" | "@midnight" => Some("0 0 * * *"),
        "@hourly" => Some("0 * * * *"),
        _ => None,
    };
    let fields: Vec<&str> = named.unwrap_or(expression).split_whitespace().collect();
    let [minute, hour, day, month, weekday] = *fields.as_slice() else { return None };
    let days = days(day, month, weekday)?;
    let at = match (number(minute, 59), hour) {
        (None, "*") => {
            let each = every(minute, "minute", 60)?;
            return Some(if days == EVERY_DAY { each } else { format!("{each}, {days}") });
        }
        (Some(minute), "*") if days == EVERY_DAY => return Some(format!("every hour at :{minute:02}")),
        (Some(minute), "*") => return Some(format!("every hour at :{minute:02}, {days}")),
        (Some(minute), hours) if hours.starts_with("*/") => {
            let each = format!("{} at :{minute:02}", every(hours, "hour", 24)?);
            return Some(if days == EVERY_DAY { each } else { format!("{each}, {days}") });
        }
        (Some(minute), hours) => {
            let hours: Option<Vec<u8>> = hours.split(',').map(|hour| number(hour, 23)).collect();
            let times: Vec<_> = hours?.into_iter().map(|hour| format!("{hour:02}:{minute:02}")).collect();
            listed(&times)
        }
        (None, _) => return None,
    };
    Some(format!("{days} at {at}"))
}

/// A period as `1h 30m` in words.
pub(super) fn period(text: &str) -> Option<String> {
    let length = duration::parse(text)?;
    Some(format!("every {}", super::words::duration(&length.as_secs_f64())))
}

const EVERY_DAY: &str = "every day";
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

fn days(day: &str, month: &str, weekday: &str) -> Option<String> {
    let any = |field: &str| matches!(field, "*" | "?");
    let in_month = if any(month) { None } else { Some(named(month, &MONTHS, 1)?) };
    let days = match (any(day), any(weekday)) {
        (true, true) => match in_month {
            None => return Some(EVERY_DAY.to_owned()),
            Some(month) => return Some(format!("every day in {month}")),
        },
        (true, false) => weekdays(weekday)?,
        (false, true) => match (day, in_month) {
            ("L", None) => return Some("on the last day of each month".to_owned()),
            (day, Some(month)) => return Some(format!("on {} {month}", number(day, 31)?)),
            (day, None) => return Some(format!("on day {} of each month", number(day, 31)?)),
        },
        // Either of them: too much for a few words.
        (false, false) => return None,
    };
    Some(match in_month {
        None => days,
        Some(month) => format!("{days} in {month}"),
    })
}

fn weekdays(field: &str) -> Option<String> {
    if let Some((first, last)) = field.split_once('-') {
        let names = [named(first, &WEEKDAYS, 0)?, named(last, &WEEKDAYS, 0)?];
        return Some(names.join(" to "));
    }
    let names: Option<Vec<_>> = field.split(',').map(|day| named(day, &WEEKDAYS, 0)).collect();
    Some(format!("every {}", listed(&names?)))
}

/// A number or the first three letters of a name; 7 is Sunday as well.
fn named(field: &str, names: &[&str], first: usize) -> Option<String> {
    let by_number = field.parse::<usize>().ok().and_then(|number| {
        let place = number.checked_sub(first)?;
        names.get(if names.len() == 7 { place % 7 } else { place }).filter(|_| number <= names.len())
    });
    let by_name = || names.iter().find(|name| field.len() == 3 && name[..3].eq_ignore_ascii_case(field));
    by_number.or_else(by_name).map(|name| (*name).to_owned())
}

fn number(field: &str, most: u8) -> Option<u8> {
    field.parse().ok().filter(|number| *number <= most)
}

/// `*` or `*/n` where that divides the whole.
fn every(field: &str, unit: &str, whole: u8) -> Option<String> {
    if field == "*" {
        return Some(format!("every {unit}"));
    }
    let step = number(field.strip_prefix("*/")?, whole)?;
    (step > 1 && whole.is_multiple_of(step)).then(|| format!("every {step} {unit}s"))
}

fn listed(all: &[impl AsRef<str>]) -> String {
    let all: Vec<&str> = all.iter().map(AsRef::as_ref).collect();
    match all.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => all.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_expressions_have_words() {
        for (expression, expected) in [
            ("30 2 * * *", "every day at 02:30"),
            ("@daily", "every day at 00:00"),
            ("0 9,17 * * MON-FRI", "Monday to Friday at 09:00 and 17:00"),
            ("0 9 * * 1,3,7", "every Monday, Wednesday and Sunday at 09:00"),
            ("*/15 * * * *", "every 15 minutes"),
            ("* * * * *", "every minute"),
            ("*/5 * * * SAT", "every 5 minutes, every Saturday"),
            ("5 * * * *", "every hour at :05"),
            ("0 */6 * * *", "every 6 hours at :00"),
            ("0 4 1 * *", "on day 1 of each month at 04:00"),
            ("0 4 L * *", "on the last day of each month at 04:00"),
            ("@yearly", "on 1 January at 00:00"),
            ("0 8 * DEC *", "every day in December at 08:00"),
        ] {
            assert_eq!(cron(expression).as_deref(), Some(expected), "{expression}");
        }
    }

    #[test]
    fn others_stand_for_themselves() {
        for expression in [
            "0 0 2 * * *",
            "0 9-17 * * *",
            "*/7 * * * *",
            "0 4 1 * MON",
            "0 4 15W * *",
            "0 4 * * 5L",
            "0 4 * * MON#2",
            "CRON_TZ=UTC 0 4 * * *",
            "0 4 * 13 *",
            "0 4 * * 8",
            "x",
            "",
        ] {
            assert_eq!(cron(expression), None, "{expression}");
        }
    }

    #[test]
    fn periods_have_units() {
        for (text, expected) in
            [("30s", "every 30 s"), ("PT1H30M", "every 1 h 30 min"), ("1h 30m", "every 1 h 30 min")]
        {
            assert_eq!(period(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(period("often"), None);
    }
}
