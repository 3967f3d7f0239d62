//! Sequences and nonces, told apart only by their order: states that differ in nothing else hash alike.
//!
//! The protocol compares sequences and never counts with them, and a new one is above all others, so renumbering
//! them in order keeps every future. States keep the numbers that a reader of a history would see in the stream.

use std::hash::{Hash, Hasher};

use windlass_core::protocol::{Kind, Record};

use crate::state::{Phase, State, Write};

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let mut numbers = Vec::with_capacity(16);
        let mut same = self.clone();
        same.each_sequence(&mut |n| numbers.push(*n));
        numbers.push(0);
        numbers.sort_unstable();
        numbers.dedup();
        same.each_sequence(&mut |n| *n = numbers.partition_point(|known| known < n) as u64);
        let State { creates, tasks, dispatchers, jobs, next: _, holders, commands, floating, faults, seen } = same;
        (creates, tasks, dispatchers, jobs, holders, commands, floating, faults, seen).hash(hasher);
    }
}

impl State {
    fn each_sequence(&mut self, f: &mut impl FnMut(&mut u64)) {
        for message in &mut self.jobs {
            of_record(&mut message.record, f);
        }
        for holder in &mut self.holders {
            f(&mut holder.work);
            f(&mut holder.token);
            f(&mut holder.claim);
            of_phase(&mut holder.phase, f);
        }
        for command in &mut self.commands {
            f(&mut command.then_delete);
            of_phase(&mut command.phase, f);
        }
        for dispatcher in &mut self.dispatchers {
            of_phase(&mut dispatcher.phase, f);
        }
        if let Some(floating) = &mut self.floating {
            of_write(&mut floating.write, f);
        }
    }

    /// A nonce that no live write has.
    pub(crate) fn fresh_nonce(&self) -> u8 {
        let phases = (self.holders.iter().map(|h| &h.phase))
            .chain(self.commands.iter().map(|c| &c.phase))
            .chain(self.dispatchers.iter().map(|d| &d.phase));
        let used = phases.filter_map(|phase| match phase {
            Phase::Write { write, .. } | Phase::Compare(write) => Some(write.nonce),
            _ => None,
        });
        let stored = self.jobs.iter().map(|m| m.nonce).chain(self.floating.map(|f| f.write.nonce));
        used.chain(stored).max().unwrap_or(0) + 1
    }
}

fn of_phase(phase: &mut Phase, f: &mut impl FnMut(&mut u64)) {
    match phase {
        Phase::Read { last: Some(Some(last)), .. } => of_record(&mut last.record, f),
        Phase::Write { write, .. } | Phase::Compare(write) => of_write(write, f),
        Phase::Delete(sequence) => f(sequence),
        Phase::Read { .. } | Phase::Waiting | Phase::Running | Phase::Nak | Phase::Acknowledge => {}
    }
}

fn of_write(write: &mut Write, f: &mut impl FnMut(&mut u64)) {
    f(&mut write.token);
    of_kind(&mut write.kind, f);
}

fn of_record(record: &mut Record, f: &mut impl FnMut(&mut u64)) {
    f(&mut record.sequence);
    of_kind(&mut record.kind, f);
}

fn of_kind(kind: &mut Kind, f: &mut impl FnMut(&mut u64)) {
    if let Kind::Claim { work } = kind {
        f(work);
    }
}
