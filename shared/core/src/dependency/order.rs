//! Jobs that wait for each other, in an order in which they can be made.

use std::collections::BTreeSet;

/// An order of jobs of which some wait for others, by their places: whoever is waited for comes first, and otherwise they
/// stay as they are. `edges(n)` are the places that the n-th waits for. An error names those that wait for each other.
pub fn in_order(count: usize, edges: impl Fn(usize) -> Vec<usize>) -> Result<Vec<usize>, Vec<usize>> {
    let mut missing: Vec<usize> = vec![0; count];
    let mut waiters: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (number, missing) in missing.iter_mut().enumerate() {
        for on in edges(number) {
            *missing += 1;
            waiters[on].push(number);
        }
    }
    // Smallest first, so that the order is one and the same for the same jobs.
    let mut free: BTreeSet<usize> = (0..count).filter(|n| missing[*n] == 0).collect();
    let mut order = Vec::with_capacity(count);
    while let Some(next) = free.pop_first() {
        order.push(next);
        for waiter in &waiters[next] {
            missing[*waiter] -= 1;
            if missing[*waiter] == 0 {
                free.insert(*waiter);
            }
        }
    }
    if order.len() == count {
        return Ok(order);
    }
    Err(cycle(count, &missing, edges))
}

/// Some that wait for each other, among those that still miss something.
fn cycle(count: usize, missing: &[usize], edges: impl Fn(usize) -> Vec<usize>) -> Vec<usize> {
    let is_stuck = |n: &usize| missing[*n] > 0;
    let Some(mut at) = (0..count).find(|n| is_stuck(n)) else { return Vec::new() };
    let mut path: Vec<usize> = Vec::new();
    loop {
        if let Some(begin) = path.iter().position(|n| *n == at) {
            return path.split_off(begin);
        }
        path.push(at);
        // Each that is stuck waits for another that is.
        match edges(at).into_iter().find(|n| is_stuck(n)) {
            Some(next) => at = next,
            None => return path,
        }
    }
}
