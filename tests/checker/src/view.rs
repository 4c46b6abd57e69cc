//! Lines and ticks, as the rules ask for them.

use rspp_specs::trace::{Line, Section, Value, parse_invocation};

/// A line and its number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) line: &'a Line,
    pub(crate) number: usize,
}

impl<'a> Row<'a> {
    fn name_in(self, section: Section) -> Option<&'a str> {
        (self.line.section == section).then_some(self.line.name.as_ref())
    }

    pub(crate) fn input(self) -> Option<&'a str> {
        self.name_in(Section::In)
    }

    pub(crate) fn signal(self) -> Option<&'a str> {
        self.name_in(Section::Signal)
    }

    pub(crate) fn effect(self) -> Option<&'a str> {
        self.name_in(Section::Effect)
    }

    pub(crate) fn state(self) -> Option<&'a str> {
        self.name_in(Section::State)
    }

    pub(crate) fn is_signal_of(self, name: &str, turn: u32) -> bool {
        self.signal() == Some(name) && self.turn() == Some(turn)
    }

    pub(crate) fn text(self, key: &str) -> Option<&'a str> {
        self.line.field(key)?.text()
    }

    /// A field as it is written, whatever it holds.
    pub(crate) fn word(self, key: &str) -> Option<String> {
        self.line.field(key).map(ToString::to_string)
    }

    pub(crate) fn number_of(self, key: &str) -> Option<u64> {
        self.line.field(key)?.number()
    }

    /// Whether a field says `true`.
    pub(crate) fn flag(self, key: &str) -> bool {
        self.line.field(key).and_then(Value::flag) == Some(true)
    }

    pub(crate) fn turn(self) -> Option<u32> {
        Some(self.line.field("turn")?.turn()?.0)
    }

    pub(crate) fn invocation(self) -> Option<Name<'a>> {
        let (kind, id) = self.line.field("id")?.invocation()?;
        Some(Name { kind, number: id.0 })
    }
}

impl Row<'_> {
    /// Whether this is an order to cancel the active turn, at once or softly.
    pub(crate) fn cancels_the_turn(self) -> bool {
        self.input() == Some("cancel") && self.word("of").is_none_or(|of| of == "session")
    }

    /// A turn that the caller asks for. One that nobody asked for (a greeting, say) takes no other turn away.
    pub(crate) fn is_callers_proposal(self) -> bool {
        self.input() == Some("turn_open_proposed") && self.line.field("opener").is_none()
    }

    /// Whether the time of this turn's soft cancellation is over.
    pub(crate) fn ends_the_grace_of(self, turn: u32) -> bool {
        let grace = || Some(self.line.field("cancel_grace")?.turn()?.0);
        self.input() == Some("wake") && grace() == Some(turn)
    }
}

/// An invocation's name: `llm#2`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name<'a> {
    pub(crate) kind: &'a str,
    pub(crate) number: u32,
}

impl<'a> Name<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (kind, id) = parse_invocation(text)?;
        Some(Name { kind, number: id.0 })
    }
}

/// The lines of one tick; at least one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick<'a> {
    pub(crate) lines: &'a [Line],
    /// The number of its first line.
    pub(crate) first: usize,
}

impl<'a> Tick<'a> {
    pub(crate) fn last(self) -> Row<'a> {
        self.rows().next_back().expect("a tick is cut out of lines, so it has one")
    }

    pub(crate) fn rows(self) -> impl DoubleEndedIterator<Item = Row<'a>> {
        self.cut(0, self.lines.len())
    }

    pub(crate) fn before(self, row: Row<'a>) -> impl DoubleEndedIterator<Item = Row<'a>> {
        self.cut(0, row.number - self.first)
    }

    pub(crate) fn after(self, row: Row<'a>) -> impl Iterator<Item = Row<'a>> {
        self.cut(row.number - self.first + 1, self.lines.len())
    }

    fn cut(self, from: usize, to: usize) -> impl DoubleEndedIterator<Item = Row<'a>> {
        let first = self.first + from;
        self.lines[from..to].iter().enumerate().map(move |(place, line)| Row { line, number: first + place })
    }

    pub(crate) fn input(self, name: &str) -> Option<Row<'a>> {
        self.rows().find(|row| row.input() == Some(name))
    }

    pub(crate) fn input_of(self, name: &str, turn: u32) -> Option<Row<'a>> {
        self.rows().find(|row| row.input() == Some(name) && row.turn() == Some(turn))
    }

    /// An order to cancel the active turn at once: not a smaller thing, and not softly.
    pub(crate) fn hard_cancel(self) -> Option<Row<'a>> {
        self.rows().find(|row| row.cancels_the_turn() && !row.flag("soft"))
    }

    /// The recorder says that it can't keep what is kept of every turn.
    pub(crate) fn lacks_evidence(self) -> Option<Row<'a>> {
        self.rows().find(|row| row.input() == Some("recorder") && row.text("is") == Some("no_evidence"))
    }

    pub(crate) fn signal(self, name: &str) -> Option<Row<'a>> {
        self.rows().find(|row| row.signal() == Some(name))
    }

    pub(crate) fn signal_of(self, name: &str, turn: u32) -> Option<Row<'a>> {
        self.rows().find(|row| row.is_signal_of(name, turn))
    }

    /// Where the cancellation of this turn, or the drain that ends it, begins.
    pub(crate) fn cancellation_of(self, turn: u32) -> Option<Row<'a>> {
        self.rows().find(|row| match row.signal() {
            Some("cancel_accepted") => row.turn() == Some(turn),
            Some("deauthorized_drain") => row.turn().is_none_or(|named| named == turn),
            _ => false,
        })
    }

    /// Whether the caller's transport is lost for good in this tick.
    pub(crate) fn loses_the_transport(self) -> bool {
        self.rows().any(|row| {
            row.input() == Some("transport_lost") || (row.input() == Some("wake") && row.text("reconnect").is_some())
        })
    }

    /// Whether a budget of this turn is spent in this tick, and ends it.
    pub(crate) fn ends_by_budget(self, turn: u32) -> bool {
        ["turn_budget", "path_budget", "edge_budget"].iter().any(|name| self.budget_that_ends(name, turn).is_some())
    }

    /// A budget of this turn that is spent in this tick, and ends it.
    pub(crate) fn budget_that_ends(self, name: &str, turn: u32) -> Option<Row<'a>> {
        self.rows().find(|row| row.is_signal_of(name, turn) && row.text("outcome") == Some("terminate"))
    }

    /// A node of this turn that has taken too long, or computed for too long, and ends it.
    pub(crate) fn ends_by_a_node(self, turn: u32) -> Option<Row<'a>> {
        ["node_budget", "node_overrun"].into_iter().find_map(|name| self.budget_that_ends(name, turn))
    }

    /// Whether control ends this turn in this tick, so that data of the same tick comes too late.
    pub(crate) fn ends_by_control(self, turn: u32) -> bool {
        self.signal_of("abort", turn).is_some()
            && (self.cancellation_of(turn).is_some()
                || self.loses_the_transport()
                || self.ends_by_budget(turn)
                || self.ends_by_a_node(turn).is_some()
                || self.input_of("turn_failed", turn).is_some())
    }
}
