//! What a line must look like before anything can be said of its meaning.

use rspp_specs::signals::{SIGNALS, SignalScope};
use rspp_specs::time::Lane;
use rspp_specs::trace::Section;

use crate::Scene;
use crate::view::Row;
use crate::violation::{Findings, Rule};

/// What a field holds.
#[derive(Clone, Copy, Debug)]
enum Form {
    Number,
    Turn,
    Invocation,
    Word,
}

/// An input or an effect: its section, name, lane, and the fields that the rules rest on.
type Shape = (Section, &'static str, Lane, &'static [(&'static str, Form)]);

const AUDIO: [(&str, Form); 3] = [("samples", Form::Number), ("rate_hz", Form::Number), ("digest", Form::Word)];

const SHAPES: [Shape; 42] = {
    use Form::{Invocation, Number, Turn, Word};
    use Lane::{Control, Data};
    use Section::{Effect, In};
    [
        // What most lines are stands first.
        (In, "audio", Data, &AUDIO),
        (In, "wake", Control, &[]),
        (Effect, "transmit", Data, &TRANSMIT),
        (Effect, "wake_at", Control, &[("at_ms", Word)]),
        (Effect, "feed", Data, &[("id", Invocation)]),
        (In, "playout_ack", Control, &[("turn", Turn), ("heard_samples", Number), ("occasion", Word)]),
        (In, "provider", Data, &[("id", Invocation), ("kind", Word)]),
        (In, "session_open", Control, &[]),
        (In, "session_end", Control, &[]),
        (In, "cancel", Control, &[("reason", Word)]),
        (In, "authority_revoked", Control, &[]),
        (In, "transport_lost", Control, &[]),
        (In, "observed", Control, &[("observation", Word)]),
        (In, "talk", Data, &[("talk", Word)]),
        (In, "user_text", Data, &[("text", Word)]),
        (In, "prompt", Data, &[]),
        (In, "turn_open_proposed", Control, &[("text", Word)]),
        (In, "interruption_proposed", Control, &[("turn", Turn)]),
        (In, "interruption_confirmed", Control, &[("turn", Turn)]),
        (In, "interruption_dismissed", Control, &[("turn", Turn)]),
        (In, "playback_cut", Control, &[("turn", Turn)]),
        (In, "turn_failed", Control, &[("turn", Turn), ("reason", Word)]),
        (In, "node_lost", Control, &[("turn", Turn), ("node", Word)]),
        (In, "session_drain", Control, &[]),
        (In, "lease", Control, &[("epoch", Word)]),
        (In, "recorder", Control, &[]),
        (In, "stale_epoch", Control, &[("epoch", Word), ("input", Word)]),
        (In, "admission", Control, &[("version", Number), ("form", Number), ("epoch", Word), ("quota", Word)]),
        (In, "connection", Control, &[("state", Word)]),
        (In, "provider_health", Control, &[("binding", Word), ("healthy", Word)]),
        (In, "dispatch_refused", Control, &[("id", Invocation)]),
        (In, "wall_clock", Control, &[("unix_us", Number), ("read_ms", Word)]),
        (In, "node_overrun", Control, &[("node", Word), ("took_ms", Word)]),
        (In, "takeover", Control, &[("epoch", Word), ("lost", Word)]),
        (Effect, "invoke", Data, &[("id", Invocation)]),
        (Effect, "feed_end", Data, &[("id", Invocation)]),
        (Effect, "cancel_invocation", Control, &[("id", Invocation)]),
        (Effect, "pause_invocation", Control, &[("id", Invocation)]),
        (Effect, "resume_invocation", Control, &[("id", Invocation)]),
        (Effect, "grant_credit", Control, &[("id", Invocation), ("results", Number)]),
        (Effect, "end_invocation", Control, &[("id", Invocation)]),
        (Effect, "clear_transport", Control, &[("turn", Turn), ("epoch", Number)]),
    ]
};

const TRANSMIT: [(&str, Form); 6] = [
    ("turn", Form::Turn),
    ("epoch", Form::Number),
    ("from_sample", Form::Number),
    ("samples", Form::Number),
    ("rate_hz", Form::Number),
    ("digest", Form::Word),
];

/// Inputs and effects are closed sets; each has its lane and its fields, and inputs have a sequence number.
pub(crate) fn fields_of_inputs_and_effects(_: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let (section, name) = (row.line.section, row.line.name.as_ref());
    if !matches!(section, Section::In | Section::Effect) {
        return;
    }
    let Some((.., lane, fields)) = SHAPES.iter().find(|shape| shape.0 == section && shape.1 == name) else {
        return out.add(Rule::LineShape, row, format!("no {} is named {name}", section.name()));
    };
    if row.line.lane != Some(*lane) {
        out.add(Rule::LineShape, row, format!("{name} belongs on lane {}", lane.letter()));
    }
    let sequence = (section == Section::In).then_some(("seq", Form::Number));
    for (key, form) in fields.iter().copied().chain(sequence) {
        if !has(row, key, form) {
            out.add(Rule::LineShape, row, format!("{name} has no {key}, or none of its form"));
        }
    }
}

fn has(row: Row<'_>, key: &str, form: Form) -> bool {
    match form {
        Form::Number => row.number_of(key).is_some(),
        Form::Turn => row.turn().is_some(),
        Form::Invocation => row.invocation().is_some(),
        Form::Word => row.line.field(key).is_some(),
    }
}

/// A signal is in the table, on its lane, with its fields in order and a turn where its scope asks for one.
pub(crate) fn signal_is_in_the_table(_: &Scene<'_>, row: Row<'_>, out: &mut Findings) {
    let Some(name) = row.signal() else { return };
    let Some(entry) = SIGNALS.iter().find(|entry| entry.name == name) else {
        return out.add(Rule::SignalTable, row, format!("no signal is named {name}"));
    };
    let keys = row.line.fields.iter().map(|(key, _)| key.as_ref());
    let names_turn = keys.clone().next() == Some("turn") && row.turn().is_some();
    match entry.scope {
        SignalScope::Turn if !names_turn => out.add(Rule::SignalTable, row, format!("{name} names no turn")),
        SignalScope::Session if names_turn => out.add(Rule::SignalTable, row, format!("{name} names a turn")),
        _ => {}
    }
    let keys = keys.filter(|key| *key != "turn");
    if !keys.clone().eq(entry.fields.iter().copied()) {
        let (has, fields) = (keys.collect::<Vec<_>>().join(", "), entry.fields.join(", "));
        out.add(Rule::SignalTable, row, format!("{name} has the fields [{has}], not [{fields}]"));
    }
    if row.line.lane != Some(entry.lane) {
        out.add(Rule::SignalTable, row, format!("{name} belongs on lane {}", entry.lane.letter()));
    }
}
