//! What processes use, by the operating system's own account (`proc(5)`).

use std::time::Duration;

use serde::Serialize;
use windlass_core::process;

use super::Error;

/// What a process has used since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) cpu: Duration,
    /// The most that it had in memory.
    pub(super) peak_bytes: u64,
    /// What it has in memory.
    pub(super) resident_bytes: u64,
    /// What it had written to disks.
    pub(super) written_bytes: u64,
}

/// What a process used of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Share {
    pub(super) process: String,
    pub(super) cpu_seconds: f64,
    pub(super) peak_memory_mb: f64,
    pub(super) resident_memory_mb: f64,
    pub(super) written_bytes: u64,
}

// === impl Usage ===

impl Usage {
    /// Of a process of this machine.
    pub(super) fn of(pid: u32) -> Result<Self, Error> {
        let read = |file: &str| {
            std::fs::read_to_string(format!("/proc/{pid}/{file}"))
                .map_err(|source| Error::Usages { pid, source })
        };
        // Another user's process does not tell what it wrote.
        let io = read("io").unwrap_or_default();
        Ok(Self::parse(&read("stat")?, &read("status")?, &io))
    }

    fn parse(stat: &str, status: &str, io: &str) -> Self {
        let number = |text, name| process::number(text, name).unwrap_or_default();
        Self {
            cpu: process::cpu_time(stat).unwrap_or_default(),
            peak_bytes: number(status, "VmHWM:") * 1024,
            resident_bytes: number(status, "VmRSS:") * 1024,
            written_bytes: number(io, "write_bytes:"),
        }
    }

    /// What was used since then.
    pub(super) fn since(self, before: Self, process: &str) -> Share {
        let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        Share {
            process: process.to_owned(),
            cpu_seconds: self.cpu.saturating_sub(before.cpu).as_secs_f64(),
            peak_memory_mb: megabytes(self.peak_bytes),
            resident_memory_mb: megabytes(self.resident_bytes),
            written_bytes: self.written_bytes.saturating_sub(before.written_bytes),
        }
    }
}

/// CPU seconds of all of them for 1000 jobs.
pub(super) fn cpu_per_1000(shares: &[Share], jobs: u64) -> f64 {
    shares.iter().map(|share| share.cpu_seconds).sum::<f64>() * 1000.0 / jobs as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_not_confuse_the_fields() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0";
        let used = Usage::parse(stat, "VmHWM:\t 10 kB\nVmRSS:\t 4 kB\n", "wchar: 1\nwrite_bytes: 77\n");
        assert_eq!(used.cpu, Duration::from_secs(2));
        assert_eq!((used.peak_bytes, used.resident_bytes, used.written_bytes), (10 << 10, 4 << 10, 77));
    }

    #[test]
    fn our_own_is_told() {
        let used = Usage::of(std::process::id()).unwrap();
        assert!(used.peak_bytes >= used.resident_bytes && used.resident_bytes > 0);
        assert!(matches!(Usage::of(0), Err(Error::Usages { pid: 0, .. })));
    }
}
