//! How much of a burst is decided on together, while others are there who wait for the end of that.
//!
//! A round of decisions costs something by itself, and something for each job. The smaller a burst's rounds are, the
//! sooner others have theirs, and the longer the burst takes. So a round of the burst, between two of the others', may
//! take about twice as long as one of those: whatever a round costs, the burst has two thirds of the time.

use std::time::Duration;

/// The least of a burst in a round.
const LEAST: usize = 16;
/// The most: others wait longer than they need where a round of theirs is slow by itself.
const MOST: usize = 64;

/// How many of a burst make a round, by what rounds took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Portion {
    size: usize,
    /// A round of the others, by the latest of them.
    others: Duration,
}

// === impl Portion ===

impl Default for Portion {
    fn default() -> Self {
        Self { size: LEAST, others: Duration::ZERO }
    }
}

impl Portion {
    /// So many.
    pub fn size(&self) -> usize {
        self.size
    }

    /// A round of the others took so long.
    pub fn others_took(&mut self, took: Duration) {
        self.others = if self.others.is_zero() { took } else { (self.others + took) / 2 };
    }

    /// A round of so many of the burst took so long.
    pub fn burst_took(&mut self, took: Duration) {
        self.size = if took > self.others * 2 { self.size * 3 / 4 } else { self.size * 5 / 4 };
        self.size = self.size.clamp(LEAST, MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes that it comes to, where a round costs this, and each job of it that.
    fn settled(round: u64, job: u64) -> (usize, usize) {
        let mut portion = Portion::default();
        let mut sizes = Vec::new();
        for _ in 0..100 {
            portion.others_took(Duration::from_micros(round + 2 * job));
            portion.burst_took(Duration::from_micros(round + portion.size() as u64 * job));
            sizes.push(portion.size());
        }
        let late = &sizes[50..];
        (late.iter().copied().min().unwrap_or(0), late.iter().copied().max().unwrap_or(0))
    }

    #[test]
    fn a_burst_has_about_as_many_as_take_as_long_as_a_round_by_itself() {
        // One broker here; three; and one where rounds cost nothing, or all.
        for (round, job, expected) in
            [(3000, 120, 25), (10_000, 150, 66), (10, 1000, LEAST), (50_000, 10, MOST)]
        {
            let (least, most) = settled(round, job);
            assert!(least <= expected + 4 && most + 4 >= expected, "{round} {job}: {least} to {most}");
            assert!(most <= (expected * 3 / 2).max(LEAST), "{round} {job}: {most}");
            assert!(least * 2 >= expected, "{round} {job}: {least}");
        }
    }
}
