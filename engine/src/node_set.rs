//! Nodes of one plan, a bit each.

use rspp_specs::ids::NodeIndex;
use rspp_specs::limits::MAX_PLAN_NODES;

const WORDS: usize = MAX_PLAN_NODES / u64::BITS as usize;

/// Some of a plan's nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeSet([u64; WORDS]);

impl NodeSet {
    /// Puts a node in, or takes it out.
    pub(crate) fn set(&mut self, node: NodeIndex, is_in: bool) {
        let (word, bit) = place(node);
        self.0[word] = if is_in { self.0[word] | bit } else { self.0[word] & !bit };
    }

    /// Whether a node is in it.
    pub(crate) fn contains(&self, node: NodeIndex) -> bool {
        let (word, bit) = place(node);
        self.0[word] & bit != 0
    }

    /// Whether none is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Those that are in it, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = NodeIndex> {
        (0u16..).step_by(u64::BITS as usize).zip(self.0).flat_map(|(first, word)| {
            let rest = std::iter::successors(Some(word), |word| Some(word & word.wrapping_sub(1)));
            let bits = rest.take_while(|word| *word != 0).map(|word| word.trailing_zeros() as u16);
            bits.map(move |bit| NodeIndex(first + bit))
        })
    }
}

/// A plan has no more nodes than there are bits: invariant 3.
fn place(node: NodeIndex) -> (usize, u64) {
    let index = usize::from(node.0);
    (index / u64::BITS as usize, 1 << (index % u64::BITS as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_of_the_largest_plan_has_its_place() {
        let mut set = NodeSet::default();
        for node in [0, 63, 64, MAX_PLAN_NODES as u16 - 1].map(NodeIndex) {
            set.set(node, true);
            assert!(set.contains(node));
        }
        set.set(NodeIndex(63), false);
        let last = MAX_PLAN_NODES as u16 - 1;
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 64, last].map(NodeIndex));
        for node in [0, 64, last].map(NodeIndex) {
            set.set(node, false);
        }
        assert!(set.is_empty());
    }
}
