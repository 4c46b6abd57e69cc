//! Nodes that compute for too long.

use crate::Scene;
use crate::view::Row;
use crate::violation::{Findings, Rule};

/// An overrun is said for one that came in, in its tick; strikes count one by one or begin anew; a node that is taken out at
/// so many strikes is not spared at as many again.
pub(crate) fn overruns(scene: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    if row.signal() != Some("node_overrun") {
        return;
    }
    let (node, strikes) = (row.text("node").unwrap_or_default(), row.number_of("strikes").unwrap_or(0));
    let is_its = |before: &Row<'_>| {
        let same = |key: &str| before.word(key) == row.word(key);
        before.input() == Some("node_overrun") && same("node") && same("took_ms")
    };
    if !scene.tick.before(row).any(|before| is_its(&before)) {
        out.add(Rule::NodeOverrun, row, format!("nobody has measured that {node} computed for so long"));
    }
    let facts = &scene.facts.hosting;
    let last = facts.strikes.get(node).copied().unwrap_or(0);
    if strikes != 1 && strikes != last + 1 {
        out.add(Rule::NodeOverrun, row, format!("{node} has {strikes} strikes, and had {last}"));
    }
    let spared = row.text("outcome") == Some("continue");
    if spared && facts.limit.is_some_and(|limit| strikes >= limit) {
        out.add(Rule::NodeOverrun, row, format!("{node} goes on after {strikes} strikes"));
    }
    if facts.out.contains(node) {
        out.add(Rule::NodeOverrun, row, format!("{node} is out, and computes"));
    }
}

/// What is known of nodes that computed for too long.
#[derive(Debug, Default)]
pub(crate) struct Hosting {
    strikes: std::collections::BTreeMap<String, u64>,
    /// The fewest strikes with which a node was taken out.
    limit: Option<u64>,
    /// Nodes that were taken out while no turn was open: they live as long as the session.
    out: std::collections::BTreeSet<String>,
}

impl Hosting {
    pub(crate) fn note(&mut self, row: Row<'_>) {
        let (Some(node), Some(strikes)) = (row.text("node"), row.number_of("strikes")) else { return };
        self.strikes.insert(node.to_owned(), strikes);
        if row.text("outcome") != Some("continue") {
            self.limit = Some(self.limit.map_or(strikes, |limit| limit.min(strikes)));
            if row.turn().is_none() {
                self.out.insert(node.to_owned());
            }
        }
    }
}
