//! Flow control: slots that jobs hold, and places in line.

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message as _;
use windlass_core::Kind;
use windlass_core::flow::{FlowKey, Kept, KeySlot, Slot, Slots};

use crate::task::flow_key;
use crate::{Error, time, v1};

/// Where a held job stands in line.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Sequence of the job's `held`; none: it is the message before this one.
    pub held_sequence: Option<u64>,
    /// Of the task.
    pub key: Option<FlowKey>,
    /// Of the task.
    pub tenant: Option<FlowKey>,
    /// Since when.
    pub since: Timestamp,
    /// Of its key, where it has that and waits for its turn.
    pub key_slot: Option<KeySlot>,
    /// Of the task.
    pub points: u32,
    /// Of the task.
    pub kind: Kind,
}

// === impl Waiting ===

impl Waiting {
    /// As bytes of a `windlass.v1.Waiting`.
    pub fn encode(&self) -> Bytes {
        v1::Waiting {
            held_sequence: self.held_sequence.unwrap_or_default(),
            key: self.key.as_ref().map(ToString::to_string).unwrap_or_default(),
            tenant: self.tenant.as_ref().map(ToString::to_string).unwrap_or_default(),
            since: Some(time::to_wire(self.since)),
            key_slot: self.key_slot.as_ref().map(key_to_wire),
            points: self.points,
            kind: self.kind.to_string(),
        }
        .encode_to_vec()
        .into()
    }

    /// Reads a `windlass.v1.Waiting`.
    pub fn decode(body: Bytes) -> Result<Self, Error> {
        let wire = v1::Waiting::decode(body)?;
        Ok(Self {
            held_sequence: Some(wire.held_sequence).filter(|sequence| *sequence > 0),
            key: flow_key("key", &wire.key)?,
            tenant: flow_key("tenant", &wire.tenant)?,
            since: time::required("since", wire.since)?,
            key_slot: wire.key_slot.map(key_from_wire).transpose()?,
            points: wire.points.max(1),
            kind: wire.kind.parse().map_err(|e| Error::new("kind", e))?,
        })
    }
}

/// The body of a message that stands for a slot.
pub fn slot_taken(key: Option<&FlowKey>, since: Timestamp) -> Bytes {
    let key = key.map(ToString::to_string).unwrap_or_default();
    v1::SlotTaken { key, since: Some(time::to_wire(since)) }.encode_to_vec().into()
}

/// For the owner of a queue: nothing of a key, or of the queue, is to start before this.
pub fn hold_notice(held_until: Timestamp) -> Bytes {
    v1::Notice { held_until: Some(time::to_wire(held_until)) }.encode_to_vec().into()
}

/// Until when nothing is to start, as a notice says it.
pub fn held_until(notice: Bytes) -> Result<Option<Timestamp>, Error> {
    time::optional("held_until", v1::Notice::decode(notice)?.held_until)
}

/// Who decides for a queue, as the body of the message that says so.
pub fn flow_owner(dispatcher: &str) -> Bytes {
    v1::FlowOwner { dispatcher: dispatcher.to_owned() }.encode_to_vec().into()
}

/// The name of who decides for a queue, from such a body.
pub fn flow_owner_of(body: Bytes) -> Result<String, Error> {
    Ok(v1::FlowOwner::decode(body)?.dispatcher)
}

pub(crate) fn slots_to_wire(slots: &Slots) -> v1::Slots {
    v1::Slots { key: slots.key.as_ref().map(key_to_wire), turn: slots.turn.map(slot_to_wire) }
}

pub(crate) fn slots_from_wire(wire: v1::Slots) -> Result<Slots, Error> {
    Ok(Slots {
        key: wire.key.map(key_from_wire).transpose()?,
        turn: wire.turn.map(slot_from_wire).transpose()?,
    })
}

fn key_to_wire(key: &KeySlot) -> v1::KeySlot {
    let kept = match key.kept {
        Kept::Never => v1::KeyKept::Unspecified,
        Kept::Retrying => v1::KeyKept::Retrying,
        Kept::Dead => v1::KeyKept::Dead,
    };
    v1::KeySlot { token: key.token.clone(), slot: Some(slot_to_wire(key.slot)), kept: kept.into() }
}

fn key_from_wire(wire: v1::KeySlot) -> Result<KeySlot, Error> {
    let kept = match v1::KeyKept::try_from(wire.kept) {
        Ok(v1::KeyKept::Unspecified) => Kept::Never,
        Ok(v1::KeyKept::Retrying) => Kept::Retrying,
        Ok(v1::KeyKept::Dead) => Kept::Dead,
        Err(_) => return Err(Error::unknown("slots.key.kept", wire.kept, "0 to 2")),
    };
    let slot = wire.slot.ok_or_else(|| Error::missing("slots.key.slot"))?;
    Ok(KeySlot { token: wire.token, slot: slot_from_wire(slot)?, kept })
}

fn slot_to_wire(slot: Slot) -> v1::Slot {
    match slot {
        Slot::At(sequence) => v1::Slot { sequence, after: 0 },
        Slot::AfterWork(after) => v1::Slot { sequence: 0, after },
    }
}

fn slot_from_wire(wire: v1::Slot) -> Result<Slot, Error> {
    match (wire.sequence, wire.after) {
        (0, 0) => Err(Error::missing("slots.slot.sequence")),
        (0, after) => Ok(Slot::AfterWork(after)),
        (sequence, _) => Ok(Slot::At(sequence)),
    }
}
