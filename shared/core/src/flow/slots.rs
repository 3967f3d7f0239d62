//! What a job holds under flow control, and what of it an end of an attempt gives back.
//!
//! A slot is a message in the stream of jobs. It is taken in the one write that lets its job through, and given back by
//! removing this very message: so to give it back twice, or late, takes nothing from a job that has a slot anew.

use crate::JobState;

/// What a job holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slots {
    /// Of its key.
    pub key: Option<KeySlot>,
    /// Of its queue.
    pub turn: Option<Slot>,
}

/// Which message stands for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The one of this sequence.
    At(u64),
    /// The one that was stored with the work message, this many places after it.
    AfterWork(u32),
}

/// A slot of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySlot {
    /// Stands for the key in subjects.
    pub token: String,
    /// Which message.
    pub slot: Slot,
    /// When the job keeps it.
    pub kept: Kept,
}

/// When a job keeps the slot of its key after an attempt: strict order is a slot that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub enum Kept {
    /// It does not.
    #[default]
    Never,
    /// While it waits for its next attempt.
    Retrying,
    /// Also once it is dead.
    Dead,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// Another one, later.
    Another,
    /// The end of the job, in this state.
    End(JobState),
}

// === impl Slot ===

impl Slot {
    /// The sequence of its message.
    pub fn sequence(self, work: u64) -> u64 {
        match self {
            Self::At(sequence) => sequence,
            Self::AfterWork(places) => work + u64::from(places),
        }
    }
}

// === impl Slots ===

impl Slots {
    /// Whether the slot of the key stays taken after this.
    pub fn keeps_key(&self, follows: Follows) -> bool {
        let kept = self.key.as_ref().map_or(Kept::Never, |key| key.kept);
        match follows {
            Follows::Another => kept >= Kept::Retrying,
            Follows::End(state) => state == JobState::Dead && kept >= Kept::Dead,
        }
    }

    /// What the job still holds after this; its slots by their own sequences, as the work message is gone then.
    pub fn after(&self, follows: Follows, work: u64) -> Option<Self> {
        let key = self.key.as_ref().filter(|_| self.keeps_key(follows))?;
        let slot = Slot::At(key.slot.sequence(work));
        Some(Self { key: Some(KeySlot { slot, ..key.clone() }), turn: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_order_keeps_the_slot_of_the_key_alone() {
        let slots = |kept| Slots {
            key: Some(KeySlot { token: "k".to_owned(), slot: Slot::AfterWork(1), kept }),
            turn: Some(Slot::AfterWork(2)),
        };
        let (dead, done) = (Follows::End(JobState::Dead), Follows::End(JobState::Succeeded));
        for (kept, another, after_death) in
            [(Kept::Never, false, false), (Kept::Retrying, true, false), (Kept::Dead, true, true)]
        {
            let slots = slots(kept);
            assert_eq!(slots.keeps_key(Follows::Another), another);
            assert_eq!(slots.keeps_key(dead), after_death);
            assert!(!slots.keeps_key(done));
            let left = slots.after(Follows::Another, 40);
            assert_eq!(left.is_some(), another);
            if let Some(left) = left {
                assert_eq!(left.turn, None);
                assert_eq!(left.key.unwrap().slot, Slot::At(41));
            }
        }
    }
}
