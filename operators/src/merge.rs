//! Passes on what its inputs bring. The order where they meet is the host's: cause, then port (`F-005`).

use rspp_specs::event::Payload;
use rspp_specs::ids::PortIndex;

use crate::node::{Context, Node};

/// Many to one.
#[derive(Debug, Default)]
pub struct Merge;

impl Node for Merge {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        cx.emit(payload);
    }
}
