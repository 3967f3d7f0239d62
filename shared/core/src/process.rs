//! What the operating system says of a process, in the text of Linux' `/proc/<pid>` (proc(5)).

use std::time::Duration;

/// The CPU that a process has taken since its start, from its `stat`; none if that has another form.
pub fn cpu_time(stat: &str) -> Option<Duration> {
    // The name, in parentheses, may hold anything; the fields after it are numbered from 3.
    let (_, after) = stat.rsplit_once(')')?;
    let field = |number: usize| after.split_whitespace().nth(number - 3)?.parse::<u64>().ok();
    // A tick is a hundredth of a second on every Linux (USER_HZ).
    Some(Duration::from_millis((field(14)? + field(15)?) * 10))
}

/// The number behind a name such as `VmRSS:`, in `status` (there in KiB) or `io`.
pub fn number(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_tells_is_read() {
        // A name does not confuse the fields.
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0";
        assert_eq!(cpu_time(stat), Some(Duration::from_secs(2)));
        assert_eq!(cpu_time("7 (a) S 1"), None);
        assert_eq!(number("Name:\tx\nVmRSS:\t   2048 kB\n", "VmRSS:"), Some(2048));
        assert_eq!(number("Name:\tx\n", "VmRSS:"), None);
    }
}
