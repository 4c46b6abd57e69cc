//! Budgets of parts of a turn, and the steps by which it gets by with less.

use super::bounded::{of_edge, of_node, to_edge, to_node};
use super::generated as pb;
use super::words::Word;
use super::{Wire, WireError, known, required};
use crate::budget::{BudgetOutcome, DegradeStep, TurnPart};
use crate::limits::MAX_TURN_PATHS;
use crate::timeline::Signal;

impl Wire for TurnPart {
    type Message = pb::TurnPart;

    fn to_wire(&self) -> Result<pb::TurnPart, WireError> {
        use pb::turn_part::Of;
        let of = match *self {
            TurnPart::Node(node) => Of::Node(to_node("part.node", node)?),
            TurnPart::Path(path) => Of::Path(u32::from(path)),
            TurnPart::Edge(edge) => Of::Edge(to_edge("part.edge", edge)?),
        };
        Ok(pb::TurnPart { of: Some(of) })
    }

    fn of_wire(message: pb::TurnPart) -> Result<Self, WireError> {
        use pb::turn_part::Of;
        Ok(match known("part", message.of)? {
            Of::Node(node) => TurnPart::Node(of_node("part.node", node)?),
            Of::Path(path) => TurnPart::Path(of_path(path)?),
            Of::Edge(edge) => TurnPart::Edge(of_edge("part.edge", edge)?),
        })
    }
}

fn of_path(path: u32) -> Result<u16, WireError> {
    let limit = MAX_TURN_PATHS as u64 - 1;
    let out_of_range = WireError::OutOfRange { field: "part.path", value: u64::from(path), limit };
    u16::try_from(path).ok().filter(|path| u64::from(*path) <= limit).ok_or(out_of_range)
}

pub(super) fn to_spent(part: TurnPart, outcome: BudgetOutcome) -> Result<pb::PartBudgetSpent, WireError> {
    Ok(pb::PartBudgetSpent { part: Some(part.to_wire()?), outcome: outcome.number() })
}

pub(super) fn of_spent(spent: pb::PartBudgetSpent) -> Result<Signal, WireError> {
    let part = required("part_budget.part", spent.part)?;
    Ok(Signal::PartBudgetSpent { part, outcome: Word::of_number("part_budget.outcome", spent.outcome)? })
}

pub(super) fn to_degraded(step: u32, how: DegradeStep) -> Result<pb::Degraded, WireError> {
    use pb::degraded::How;
    let node = to_node("degrade.node", how.node())?;
    let how = match how {
        DegradeStep::Provider(_) => How::Provider(node),
        DegradeStep::Skip(_) => How::Skip(node),
        DegradeStep::Shorten { sentences, .. } => How::Shorten(pb::Shorten { node, sentences }),
    };
    Ok(pb::Degraded { step, how: Some(how) })
}

pub(super) fn of_degraded(degraded: pb::Degraded) -> Result<Signal, WireError> {
    use pb::degraded::How;
    let node = |node| of_node("degrade.node", node);
    let how = match known("degrade.how", degraded.how)? {
        How::Provider(of) => DegradeStep::Provider(node(of)?),
        How::Skip(of) => DegradeStep::Skip(node(of)?),
        How::Shorten(pb::Shorten { node: of, sentences }) => DegradeStep::Shorten { node: node(of)?, sentences },
    };
    Ok(Signal::Degraded { step: degraded.step, how })
}
