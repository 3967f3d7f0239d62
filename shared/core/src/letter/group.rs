//! Letters counted by their fingerprint.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Letter, LetterRow};

/// The letters of one fingerprint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// What they have in common.
    pub fingerprint: String,
    /// How many they are.
    pub count: u64,
    /// When the first of them died.
    pub first_dead_at: Timestamp,
    /// When the last did.
    pub last_dead_at: Timestamp,
    /// The one that died last.
    pub sample: LetterRow,
}

/// Groups in the making: a fold over letters in any order, within a bound.
#[derive(Debug, Clone)]
pub struct Groups {
    by_print: HashMap<String, Group>,
    most: usize,
    others: u64,
}

// === impl Groups ===

impl Groups {
    /// None yet, and never more than `most`.
    pub fn new(most: usize) -> Self {
        Self { by_print: HashMap::new(), most, others: 0 }
    }

    /// Counts a letter.
    pub fn count<P: Clone>(&mut self, letter: &Letter<P>) {
        let fingerprint = letter.fingerprint();
        if let Some(group) = self.by_print.get_mut(&fingerprint) {
            group.count += 1;
            group.first_dead_at = group.first_dead_at.min(letter.dead_at);
            if letter.dead_at >= group.last_dead_at {
                group.last_dead_at = letter.dead_at;
                group.sample = LetterRow::of(letter);
            }
        } else if self.by_print.len() < self.most {
            let (first_dead_at, last_dead_at) = (letter.dead_at, letter.dead_at);
            let sample = LetterRow::of(letter);
            let group =
                Group { fingerprint: fingerprint.clone(), count: 1, first_dead_at, last_dead_at, sample };
            self.by_print.insert(fingerprint, group);
        } else {
            self.others += 1;
        }
    }

    /// The groups, the largest first, and how many letters are in none of them.
    pub fn finish(self) -> (Vec<Group>, u64) {
        let mut groups: Vec<Group> = self.by_print.into_values().collect();
        groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
        (groups, self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::letter;
    use super::*;

    #[test]
    fn alike_letters_are_one_group() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let dead = |reason: &str, second| Letter { dead_at: at(second), ..letter("mail", "handler", reason) };
        let mut groups = Groups::new(2);
        for letter in
            [dead("user 7", 5), dead("row 1", 4), dead("row 2", 9), dead("row 3", 6), dead("else", 1)]
        {
            groups.count(&letter);
        }
        let (groups, others) = groups.finish();
        assert_eq!(others, 1);
        assert_eq!(groups.iter().map(|g| g.count).collect::<Vec<_>>(), [3, 1]);
        let rows = &groups[0];
        assert_eq!((rows.first_dead_at, rows.last_dead_at), (at(4), at(9)));
        assert_eq!(rows.sample.reason, "row 2");
    }
}
