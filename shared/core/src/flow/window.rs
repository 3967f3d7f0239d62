//! How many jobs go ahead of the workers, where turns count and no limit says how many may run.
//!
//! What is let go stands in the order in which it was, so each job that waits there for a worker delays whoever has the
//! next turn. But workers that are free before another is let go are idle. So as few wait there as keep them busy: the
//! number is doubled when workers had nothing to take, and made smaller by one when they always had.

/// The least that go ahead.
const LEAST: u64 = 8;
/// The most.
const MOST: u64 = 512;

/// How many may have been let go and not have ended, by what the workers do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Jobs that are with workers, when it was last looked.
    out: u64,
    ahead: u64,
}

// === impl Window ===

impl Default for Window {
    fn default() -> Self {
        Self { out: 0, ahead: 32 }
    }
}

impl Window {
    /// How many may have been let go, with workers or ahead of them.
    pub fn most(&self) -> usize {
        usize::try_from(self.out.saturating_add(self.ahead)).unwrap_or(usize::MAX)
    }

    /// So many are with workers now, and so many that were let go wait for one. `full`: since the last look as many were
    /// let go as may be.
    pub fn observe(&mut self, out: u64, waiting: u64, full: bool) {
        self.out = out;
        if !full {
            return;
        }
        self.ahead = if waiting == 0 { (self.ahead * 2).min(MOST) } else { (self.ahead - 1).max(LEAST) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Workers with slots for so many, of which each job takes a while: hardly more stand ahead of them than must.
    #[test]
    fn few_wait_where_workers_are_slow() {
        let mut window = Window::default();
        for _ in 0..200 {
            let out = 10.min(window.most() as u64);
            window.observe(out, window.most() as u64 - out, true);
        }
        assert_eq!(window.most() as u64, 10 + LEAST);
    }

    #[test]
    fn workers_that_are_fast_or_many_get_what_they_can_take() {
        let mut window = Window::default();
        for _ in 0..10 {
            window.observe(0, 0, true);
        }
        assert_eq!(window.most() as u64, MOST, "they have ended before it is looked");
        let mut window = Window::default();
        for _ in 0..40 {
            let out = 2000.min(window.most() as u64);
            window.observe(out, 0, true);
        }
        assert!(window.most() > 2000, "{window:?}");
    }

    #[test]
    fn a_queue_that_is_not_full_tells_nothing() {
        let mut window = Window::default();
        window.observe(3, 0, false);
        assert_eq!(window, Window { out: 3, ..Window::default() });
    }
}
