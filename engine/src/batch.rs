//! What one tick takes in, bounded for each session and in all.

use rspp_specs::ids::Slot;
use rspp_specs::limits::{MAX_TICK_DATA_INPUTS, MAX_TICK_SESSION_DATA_INPUTS};
use rspp_specs::time::Lane;
use rspp_specs::timeline::Input;

/// The inputs of one tick. What does not fit waits for the next: after its control, before nothing.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) control: Vec<(Slot, Input)>,
    data: Vec<(Slot, Input)>,
    data_of_slot: Vec<u16>,
}

/// Why a tick does not take an input.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The session, or all sessions together, have brought enough data for one tick; here is the input back.
    #[error("the tick is full: {slot} has to wait for the next")]
    Full {
        /// Whose input it is.
        slot: Slot,
        /// The input, for the next tick.
        input: Box<Input>,
    },
    /// It does not keep to the limits, and never enters.
    #[error("an input of {slot} is refused: {what}")]
    OutOfBounds {
        /// Whose input it is.
        slot: Slot,
        /// The limit.
        what: &'static str,
    },
}

impl Batch {
    /// Adds an input. Control always fits: the shell drains it between ticks.
    ///
    /// # Errors
    /// Gives the input back if it has to wait for the next tick; refuses one that does not keep to the limits.
    pub fn push(&mut self, slot: Slot, input: Input) -> Result<(), NotTaken> {
        input.check().map_err(|what| NotTaken::OutOfBounds { slot, what })?;
        if input.lane() == Lane::Control {
            self.control.push((slot, input));
            return Ok(());
        }
        let index = slot.0 as usize;
        if self.data_of_slot.len() <= index {
            self.data_of_slot.resize(index + 1, 0);
        }
        let of_slot = &mut self.data_of_slot[index];
        if usize::from(*of_slot) >= MAX_TICK_SESSION_DATA_INPUTS || self.data.len() >= MAX_TICK_DATA_INPUTS {
            return Err(NotTaken::Full { slot, input: Box::new(input) });
        }
        *of_slot += 1;
        self.data.push((slot, input));
        Ok(())
    }

    /// How many data inputs it has.
    pub fn data(&self) -> usize {
        self.data.len()
    }

    /// Whose data it has, input by input.
    pub(crate) fn data_slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.data.iter().map(|(slot, _)| *slot)
    }

    /// Hands over the data, and forgets whose it was: only slots that brought some are looked at.
    pub(crate) fn drain_data(&mut self) -> impl Iterator<Item = (Slot, Input)> + '_ {
        let of_slot = &mut self.data_of_slot;
        self.data.drain(..).inspect(|(slot, _)| of_slot[slot.0 as usize] = 0)
    }
}
