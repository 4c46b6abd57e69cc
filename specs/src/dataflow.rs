//! What crosses between the engine and the operators: rows in, asks out.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::buffer::{BranchFault, Dropped, EdgeReport};
use crate::event::{AudioFrame, Delivery, Request, ToolCall};
use crate::ids::{CallRef, NodeIndex, PortIndex, RuntimeSequence, Scope, Slot, TurnCapability};
use crate::meter::Meter;
use crate::plan::Plan;
use crate::time::Micros;
use crate::timeline::{Observation, TurnProposal};

/// A row that the engine feeds into a shape's dataflow.
#[derive(Clone, Debug)]
pub enum Row {
    /// To every operator, on the control lane.
    Control(ControlRow),
    /// To one node, on the data lane.
    Delivery(Delivery),
}

impl Row {
    /// By what the rows of a sub-tick are ordered.
    pub fn key(&self) -> (Slot, RuntimeSequence) {
        match self {
            Row::Control(row) => (row.slot, row.cause),
            Row::Delivery(delivery) => (delivery.origin.slot, delivery.origin.cause),
        }
    }

    /// What it says to every operator, if it is control.
    pub fn into_control(self) -> Option<ControlRow> {
        match self {
            Row::Control(row) => Some(row),
            Row::Delivery(_) => None,
        }
    }

    /// Whether it takes something back: what an operator says of that is told before the data of its tick.
    pub fn revokes(&self) -> bool {
        matches!(self, Row::Control(ControlRow { directive: Directive::Revoke(_), .. }))
    }
}

/// What the arbiter tells the operators about one session.
#[derive(Clone, Debug)]
pub struct ControlRow {
    /// The session's row.
    pub slot: Slot,
    /// The input that caused it.
    pub cause: RuntimeSequence,
    /// The tick's time.
    pub at: Micros,
    /// What to do.
    pub directive: Directive,
}

/// Directives, in a closed set: what may overtake data, and nothing else.
#[derive(Clone, Debug)]
pub enum Directive {
    /// A session begins on this slot, with this plan's parameters.
    Begin(Arc<Plan>),
    /// A session is over; its state goes.
    Finish,
    /// A turn opened: its nodes start afresh under this capability.
    Open(TurnCapability),
    /// A turn was cancelled: whoever holds anything for it drops it.
    Revoke(TurnCapability),
    /// A turn has committed and closed: what was kept for it goes.
    Close(TurnCapability),
    /// A node is not let compute any more: for its turn, or, where it lives as long as the session, for good.
    TakeOut(NodeIndex),
    /// What a node keeps for its turn is thrown away; the turn goes on. One that lives as long as the session does it itself.
    Drop(NodeIndex),
    /// A node gets by with less for the rest of the turn.
    Degrade(NodeIndex, Less),
    /// Playout stops and keeps what was not heard.
    Hold,
    /// Playout goes on from this position in the turn's samples.
    Resume {
        /// The first sample that was not heard.
        from_sample: u64,
    },
    /// A node's timer is due.
    Wake(NodeIndex),
    /// The timer of the buffers before a node is due.
    WakeBuffers(NodeIndex),
}

/// How a node gets by with less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Less {
    /// What it would be given goes on as it is.
    Skip,
    /// So many more sentences, and no more.
    Shorten(u32),
}

/// What a node that has a budget says of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkMark {
    /// It has taken an item, and owes an answer.
    Began,
    /// It owes nothing any more.
    Answered,
    /// The first item of the turn has come.
    FirstIn,
    /// The first answer of the turn has gone.
    FirstOut,
}

/// What an operator asks of the core, in the name of one node and session.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The session's row.
    pub slot: Slot,
    /// Who asks.
    pub node: NodeIndex,
    /// In whose name.
    pub scope: Scope,
    /// The input that caused it. The core handles asks by (slot, cause, node), and each node's in its order.
    pub cause: RuntimeSequence,
    /// What is asked.
    pub kind: AskKind,
}

/// Where the operators of one dataflow put what they ask, until its leaves have passed the tick.
///
/// It is no stream: nobody inside the dataflow waits for an ask, and an output less for each operator is a third of
/// what timely has to keep track of.
#[derive(Clone, Debug, Default)]
pub struct AskQueue(Rc<RefCell<Vec<Ask>>>, Rc<RefCell<Vec<Flushed>>>, Meter);

impl AskQueue {
    /// An empty one, of operators whose computing is measured.
    pub fn measured(meter: Meter) -> Self {
        Self(Rc::default(), Rc::default(), meter)
    }

    /// What measures the operators' computing.
    pub fn meter(&self) -> &Meter {
        &self.2
    }

    /// Takes what was asked; nothing is left behind.
    pub fn put(&self, asks: &mut Vec<Ask>) {
        if !asks.is_empty() {
            self.0.borrow_mut().append(asks);
        }
    }

    /// Hands over all that was asked, in canonical order: by (slot, cause, node), and each node's in its own.
    pub fn hand_over(&self, asks: &mut Vec<Ask>) {
        asks.append(&mut self.0.borrow_mut());
        let key = |ask: &Ask| (ask.slot, ask.cause, ask.node);
        if !asks.is_sorted_by_key(key) {
            asks.sort_by_key(key);
        }
    }

    /// Takes what revocations have flushed.
    pub fn put_flushed(&self, flushed: &mut Vec<Flushed>) {
        if !flushed.is_empty() {
            self.1.borrow_mut().append(flushed);
        }
    }

    /// Hands over what revocations have flushed, by (slot, node, input). It is asked for once the control lane has passed.
    pub fn hand_over_flushed(&self, flushed: &mut Vec<Flushed>) {
        flushed.append(&mut self.1.borrow_mut());
        flushed.sort_by_key(|one| (one.slot, one.node, one.port));
    }
}

/// What a buffer held of a turn that was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flushed {
    /// The session's row.
    pub slot: Slot,
    /// Before which node.
    pub node: NodeIndex,
    /// Before which of its inputs.
    pub port: PortIndex,
    /// What it was.
    pub dropped: Dropped,
}

/// What can be asked.
#[derive(Clone, Debug)]
pub enum AskKind {
    /// Start an invocation; its results come back with this reference.
    Invoke(CallRef, Request),
    /// Give an invocation more input.
    Feed(CallRef, AudioFrame),
    /// An invocation's input is complete.
    FeedEnd(CallRef),
    /// Run a tool that changes the world, once the turn is past its commit point.
    ProposeWrite(CallRef, ToolCall),
    /// Hand a frame to the transport.
    Transmit(AudioFrame),
    /// Wake this node at this time; replaces what it asked for before.
    WakeAt(Micros),
    /// The node begins or ceases to hold the turn.
    Holds(bool),
    /// The node has begun its life and is not ready yet, or is ready now.
    Starts(bool),
    /// Something seen that the arbiter may act on.
    Observe(Observation),
    /// The caller's utterance is complete.
    Propose(TurnProposal),
    /// The node can't go on.
    Fail(NodeFailure),
    /// What the buffer before one of the node's inputs says of itself.
    Edge(PortIndex, EdgeReport),
    /// Wake the buffers before this node at this time; replaces what was asked for before.
    WakeBuffersAt(Micros),
    /// A fallback's first branch did not carry: the second one does.
    BranchFallback(BranchFault),
    /// The node has a budget, and gets on with its work.
    Work(WorkMark),
    /// On an edge with a budget something has waited since then, or nothing waits.
    Waits(PortIndex, Option<Micros>),
    /// The node needs nothing more of what its models would still give in this turn.
    Enough,
    /// The node dropped data, by a rule that says so.
    Dropped {
        /// How many items.
        items: u32,
        /// Which rule.
        reason: &'static str,
    },
}

/// How a node failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFailure {
    /// For people: what, and where it is known, what to do.
    pub message: Arc<str>,
}
