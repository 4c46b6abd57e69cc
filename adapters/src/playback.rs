//! The sound of a recorded call: the caller's side and what the caller heard, from its timeline and nothing else.

use rspp_specs::timeline::{Effect, Entry, Input, Record};

use crate::again::{Decisions, Outside, caller_samples};
use crate::drive::Schedule;
use crate::transport::MemoryTransport;

/// The caller's samples, and those that the caller heard, both from session time 0 on.
pub fn sound(records: &[Record]) -> (Vec<i16>, Vec<i16>) {
    let caller = caller_samples(records.iter().filter_map(|record| match &record.entry {
        Entry::Input(_, Input::CallerAudio(frame)) => Some((record.at, frame)),
        _ => None,
    }));
    let times = Outside::of(records, Decisions::Recorded).map(|outside| outside.transport()).unwrap_or_default();
    let mut transport = MemoryTransport::new(times);
    // What the transport would acknowledge goes nowhere: the acknowledgements are in the recording.
    let mut nowhere = Schedule::default();
    for record in records {
        match &record.entry {
            Entry::Effect(Effect::Transmit { turn, epoch, from_sample, frame }) => {
                transport.play(record.at, *turn, *epoch, *from_sample, frame, &mut nowhere);
            }
            Entry::Effect(Effect::ClearTransport { turn, epoch }) => {
                transport.clear(record.at, *turn, *epoch, &mut nowhere);
            }
            _ => {}
        }
    }
    (caller, transport.into_played())
}
