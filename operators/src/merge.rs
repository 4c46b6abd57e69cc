//! Passes on what its inputs bring. The order where they meet is the host's: cause, then port (`F-005`).

use rspp_specs::event::Payload;
use rspp_specs::ids::PortIndex;

use crate::node::{Context, Node};

/// Many to one. Its stream ends when all that it merges have ended.
#[derive(Debug)]
pub struct Merge {
    running: usize,
}

impl Merge {
    /// Of so many inputs.
    pub fn new(inputs: usize) -> Self {
        Self { running: inputs }
    }
}

impl Node for Merge {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        if let Payload::End(_) = payload {
            self.running = self.running.saturating_sub(1);
            if self.running > 0 {
                return;
            }
        }
        cx.emit(payload);
    }
}
