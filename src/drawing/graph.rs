//! A pipeline's graph as SVG: above, what listens while the caller speaks; below, what answers once a turn is open.

use std::collections::BTreeMap;
use std::fmt::Write;

use rspp_specs::ids::{NodeIndex, PortIndex};
use rspp_specs::plan::{Comparison, NodeKind, Plan, PlanEdge, PlanNode};

use super::svg::{escaped, text};

const CARD_WIDTH: i64 = 168;
const CARD_HEIGHT: i64 = 62;
const COLUMN: i64 = CARD_WIDTH + 76;
const ROW: i64 = CARD_HEIGHT + 34;
const MARGIN: i64 = 36;
const TOP: i64 = 74;
/// Between the two parts, with the lower part's title in it.
const GAP: i64 = 88;
/// Between edges that pass over cards.
const LANE: i64 = 16;
/// Letters of a card's small print.
const DETAIL: usize = 24;

const INK: &str = "#1f2933";
const FAINT: &str = "#616e7c";
const LINE: &str = "#9aa5b1";
const GRID: &str = "#e4e7eb";
const LISTENS: &str = "#1c7ed6";
const THINKS: &str = "#9c36b5";
const SPEAKS: &str = "#2b8a3e";
const JOINS: &str = "#e67700";

/// Draws a plan as one SVG document. The same plan gives the same bytes.
pub fn graph_svg(plan: &Plan) -> String {
    let layout = Layout::of(plan);
    let mut out = String::new();
    layout.begin(&mut out, plan);
    for edge in plan.edges() {
        layout.edge(&mut out, plan, edge);
    }
    layout.proposal(&mut out, plan);
    for edge in plan.edges() {
        layout.edge_label(&mut out, plan, edge);
    }
    for (index, node) in plan.indexed_nodes() {
        layout.card(&mut out, index, node);
    }
    out.push_str("</svg>\n");
    out
}

/// Where everything stands.
struct Layout {
    /// The upper left corner of each card.
    places: BTreeMap<NodeIndex, (i64, i64)>,
    /// The height at which an edge passes over cards, by the input that it leads to.
    lanes: BTreeMap<(NodeIndex, PortIndex), i64>,
    width: i64,
    height: i64,
    /// Where the part that answers begins.
    turns: Option<i64>,
    has_prelude: bool,
}

impl Layout {
    fn of(plan: &Plan) -> Self {
        let answers = answering(plan);
        let (above, below): (Vec<NodeIndex>, Vec<NodeIndex>) =
            plan.indexed_nodes().map(|(index, _)| index).partition(|index| !answers[index]);
        let mut layout = Self {
            places: BTreeMap::new(),
            lanes: BTreeMap::new(),
            width: 0,
            height: 0,
            turns: None,
            has_prelude: !above.is_empty(),
        };
        layout.height = layout.part(plan, &above, TOP);
        if !below.is_empty() {
            let top = if above.is_empty() { TOP } else { layout.height + GAP };
            layout.turns = Some(top);
            layout.height = layout.part(plan, &below, top);
        }
        layout.width = layout.places.values().map(|(x, _)| x + CARD_WIDTH).max().unwrap_or(CARD_WIDTH) + MARGIN;
        layout.height += MARGIN;
        layout
    }

    /// Places the nodes of one part in columns by their longest path, within a column by where their inputs stand; what
    /// passes over a column has a lane above the cards. Gives where the part ends.
    fn part(&mut self, plan: &Plan, nodes: &[NodeIndex], top: i64) -> i64 {
        let mut columns: BTreeMap<NodeIndex, usize> = BTreeMap::new();
        let mut by_column: Vec<Vec<NodeIndex>> = Vec::new();
        for index in nodes {
            let before =
                plan.edges().iter().filter(|edge| edge.to == *index).filter_map(|edge| columns.get(&edge.from));
            let column = before.max().map_or(0, |column| column + 1);
            columns.insert(*index, column);
            by_column.resize_with(by_column.len().max(column + 1), Vec::new);
            by_column[column].push(*index);
        }
        let passes = |edge: &&PlanEdge| match (columns.get(&edge.from), columns.get(&edge.to)) {
            (Some(from), Some(to)) => to - from > 1,
            _ => false,
        };
        let long: Vec<&PlanEdge> = plan.edges().iter().filter(passes).collect();
        for (lane, edge) in long.iter().enumerate() {
            self.lanes.insert((edge.to, edge.to_port), top + lane as i64 * LANE);
        }
        let top = top + long.len() as i64 * LANE;
        let most = by_column.iter().map(Vec::len).max().unwrap_or(0);
        for (column, nodes) in by_column.iter_mut().enumerate() {
            let wish = |index: &NodeIndex| {
                let into = plan.edges().iter().filter(|edge| edge.to == *index);
                let before: Vec<i64> = into.filter_map(|edge| Some(self.places.get(&edge.from)?.1)).collect();
                before.iter().sum::<i64>() / (before.len().max(1) as i64)
            };
            nodes.sort_by_key(|index| (wish(index), plan.node(*index).name.clone()));
            let spare = (most - nodes.len()) as i64 * ROW / 2;
            for (row, index) in nodes.iter().enumerate() {
                self.places.insert(*index, (MARGIN + column as i64 * COLUMN, top + spare + row as i64 * ROW));
            }
        }
        top + most as i64 * ROW - (ROW - CARD_HEIGHT)
    }

    fn begin(&self, out: &mut String, plan: &Plan) {
        let Self { width, height, .. } = self;
        let width = (*width).max(420);
        let title = format!("{} version {}", plan.name(), plan.version());
        let _ = write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\" font-size=\"12\">\n\
             <title>{title}</title>\n<defs>",
            title = escaped(&title)
        );
        for (name, colour) in [("arrow", LINE), ("proposal", JOINS)] {
            let _ = write!(
                out,
                "<marker id=\"{name}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
                 orient=\"auto\"><path d=\"M0,0.6 L7.4,4 L0,7.4 z\" fill=\"{colour}\"/></marker>"
            );
        }
        let _ = write!(
            out,
            "</defs>\n<rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"10\" fill=\"#ffffff\" stroke=\"{GRID}\"/>\n",
            width - 1,
            height - 1
        );
        label(out, MARGIN, 32, "start", INK, "font-size=\"16\" font-weight=\"600\"", &title);
        let heading = |out: &mut String, y: i64, words: &str| {
            label(out, MARGIN, y, "start", FAINT, "font-size=\"11\" letter-spacing=\"0.6\"", words);
        };
        if self.has_prelude {
            heading(out, TOP - 16, "WHILE THE CALLER SPEAKS");
        }
        if let Some(top) = self.turns {
            heading(out, top - 16, "ONCE A TURN IS OPEN");
        }
    }

    fn card(&self, out: &mut String, index: NodeIndex, node: &PlanNode) {
        let (x, y) = self.places[&index];
        let colour = colour(&node.kind);
        let _ = write!(
            out,
            "<g><rect x=\"{x}\" y=\"{y}\" width=\"{CARD_WIDTH}\" height=\"{CARD_HEIGHT}\" rx=\"9\" fill=\"#ffffff\" \
             stroke=\"{colour}\" stroke-width=\"1.5\"/><rect x=\"{x}\" y=\"{}\" width=\"4\" height=\"{}\" rx=\"2\" \
             fill=\"{colour}\"/>",
            y + 12,
            CARD_HEIGHT - 24
        );
        label(out, x + 16, y + 25, "start", INK, "font-size=\"13\" font-weight=\"600\"", &shortened(&node.name, 20));
        let detail = detail(node);
        let lower = if detail.is_empty() { node.kind.type_name().to_owned() } else { detail };
        label(out, x + 16, y + 44, "start", FAINT, "font-size=\"11\"", &shortened(&lower, DETAIL));
        out.push_str("</g>\n");
    }

    fn edge(&self, out: &mut String, plan: &Plan, edge: &PlanEdge) {
        let (from, to) = (self.places[&edge.from], self.places[&edge.to]);
        let (x, y) = (from.0 + CARD_WIDTH, port_y(from.1, plan.node(edge.from).outputs.len(), edge.from_port.0));
        let (to_x, to_y) = (to.0 - 2, port_y(to.1, plan.node(edge.to).inputs.len(), edge.to_port.0));
        let dash = if edge.when.is_some() { " stroke-dasharray=\"5 4\"" } else { "" };
        let path = match self.lanes.get(&(edge.to, edge.to_port)) {
            Some(lane) => {
                let (up, down) = (x + 46, to_x - 46);
                format!(
                    "C{},{y} {},{lane} {up},{lane} L{down},{lane} C{},{lane} {},{to_y} {to_x},{to_y}",
                    x + 26,
                    x + 20,
                    down + 26,
                    to_x - 26
                )
            }
            None => {
                let bend = ((to_x - x) / 2).clamp(24, 90);
                format!("C{},{y} {},{to_y} {to_x},{to_y}", x + bend, to_x - bend)
            }
        };
        let _ = writeln!(
            out,
            "<path d=\"M{x},{y} {path}\" fill=\"none\" stroke-width=\"1.5\" stroke=\"{LINE}\"{dash} marker-end=\"url(#arrow)\"/>"
        );
    }

    /// Beside the arrow's head there is always room: no two edges end at one input.
    fn edge_label(&self, out: &mut String, plan: &Plan, edge: &PlanEdge) {
        let to = self.places[&edge.to];
        let y = port_y(to.1, plan.node(edge.to).inputs.len(), edge.to_port.0);
        let port = &plan.node(edge.from).outputs[usize::from(edge.from_port.0)];
        let words = condition(edge).unwrap_or_else(|| port.port_type.name().to_owned());
        let halo =
            "font-size=\"10\" paint-order=\"stroke\" stroke=\"#ffffff\" stroke-width=\"4\" stroke-linejoin=\"round\"";
        label(out, to.0 - 12, y - 5, "end", FAINT, halo, &words);
    }

    /// What joins the two parts: no edge, but a proposal that the arbiter decides on.
    fn proposal(&self, out: &mut String, plan: &Plan) {
        let find = |wanted: fn(&NodeKind) -> bool| plan.find(wanted).map(|index| self.places[&index]);
        let from = find(|kind| matches!(kind, NodeKind::Utterance(_)));
        let to = find(|kind| matches!(kind, NodeKind::UserTurn));
        let (Some(from), Some(to)) = (from, to) else { return };
        let (x, y) = (from.0 + CARD_WIDTH / 2, from.1 + CARD_HEIGHT);
        let (left, into) = (MARGIN - 18, to.1 + CARD_HEIGHT / 2);
        let middle = self.turns.unwrap_or(y) - GAP + 22;
        let _ = writeln!(
            out,
            "<path d=\"M{x},{y} L{x},{} Q{x},{middle} {},{middle} L{},{middle} Q{left},{middle} {left},{} L{left},{} \
             Q{left},{into} {},{into} L{},{into}\" fill=\"none\" stroke=\"{JOINS}\" stroke-width=\"1.5\" \
             stroke-dasharray=\"2 4\" stroke-linecap=\"round\" marker-end=\"url(#proposal)\"/>",
            middle - 10,
            x - 10,
            left + 10,
            middle + 10,
            into - 10,
            left + 10,
            to.0 - 2
        );
        label(out, x - 16, middle - 7, "end", JOINS, "font-size=\"11\"", "proposes a turn; the arbiter decides");
    }
}

/// Whether each node is reached from where turns enter, or only from there on.
fn answering(plan: &Plan) -> BTreeMap<NodeIndex, bool> {
    let mut answers = BTreeMap::new();
    for (index, node) in plan.indexed_nodes() {
        let before = plan.edges().iter().filter(|edge| edge.to == index).any(|edge| answers[&edge.from]);
        answers.insert(index, before || matches!(node.kind, NodeKind::UserTurn | NodeKind::Playout(_)));
    }
    answers
}

fn port_y(y: i64, ports: usize, port: u8) -> i64 {
    y + CARD_HEIGHT * (i64::from(port) + 1) / (ports.max(1) as i64 + 1)
}

fn label(out: &mut String, x: i64, y: i64, anchor: &str, colour: &str, style: &str, words: &str) {
    let at = |value: i64| u64::try_from(value).unwrap_or(0);
    text(out, at(x), at(y), anchor, colour, style, words);
}

fn colour(kind: &NodeKind) -> &'static str {
    match kind {
        NodeKind::Caller | NodeKind::Vad(_) | NodeKind::Stt { .. } | NodeKind::Utterance(_) => LISTENS,
        NodeKind::UserTurn | NodeKind::Llm { .. } | NodeKind::Custom { .. } => THINKS,
        NodeKind::Segmenter(_) | NodeKind::Tts { .. } | NodeKind::Playout(_) => SPEAKS,
        _ => JOINS,
    }
}

/// What is particular about a node.
fn detail(node: &PlanNode) -> String {
    match &node.kind {
        NodeKind::Stt { binding, .. } | NodeKind::Llm { binding, .. } | NodeKind::Tts { binding } => {
            let more = node.provider.fallback.len();
            if more > 0 { format!("{} +{more}", shortened(binding, DETAIL - 3)) } else { binding.clone() }
        }
        NodeKind::Resample(form) => format!("to {}", form.in_words()),
        NodeKind::Playout(params) => format!("{} ms ahead", params.lookahead),
        NodeKind::Vad(params) => format!("{:?}, {} ms", params.detector, params.hangover).to_lowercase(),
        NodeKind::Filter(params) => format!("{} denied phrases", params.deny.len()),
        _ => String::new(),
    }
}

fn condition(edge: &PlanEdge) -> Option<String> {
    edge.when.as_ref().map(|when| match &when.is {
        Comparison::Equals(value) => format!("{} = {value}", when.attribute),
        Comparison::Differs(value) => format!("{} ≠ {value}", when.attribute),
        Comparison::AtLeast(bound) => format!("{} ≥ {bound}", when.attribute),
        Comparison::Below(bound) => format!("{} < {bound}", when.attribute),
    })
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most { text.to_owned() } else { text.chars().take(most - 1).chain(['…']).collect() }
}
