//! The whole timeline of a call, or of one turn: a lane for each node that asked a provider, the incidents under them,
//! then every incident and every invocation in words.

use rspp_specs::time::Micros;

use super::incidents::IncidentKind;
use super::lanes::{NAME_COLUMNS, Picture};
use super::story::{Invocation, Lane, Story};
use super::text::{Canvas, Role, Text};
use super::waits::{ms, waits};

/// The longest name of a node before its lane.
const MAX_NAME_COLUMNS: usize = 18;

/// Draws it; nothing for a call in which nothing happened.
pub fn timeline(story: &Story, canvas: Canvas) -> Vec<Text> {
    let Some(window) = story.window() else { return Vec::new() };
    let rows = rows(story);
    let longest = rows.iter().map(|(name, _)| name.chars().count() + 1).max().unwrap_or(0);
    let picture = Picture::new(story, canvas, window, longest.clamp(NAME_COLUMNS, MAX_NAME_COLUMNS));
    let mut lines = Vec::new();
    if story.caller.extent().is_some() {
        lines.push(picture.named("caller", picture.sound(&story.caller, Role::Caller)));
    }
    for (name, lane) in &rows {
        let work = story.invocations.iter().filter(|it| it.node == *name && it.lane == *lane);
        lines.push(picture.named(name, picture.work(*lane, work)));
    }
    if !story.turns.is_empty() {
        lines.push(picture.named("heard", picture.heard()));
        lines.push(picture.named("turns", picture.turns()));
    }
    if !story.incidents.is_empty() {
        lines.push(picture.named("events", signs(story, &picture)));
    }
    lines.extend(picture.axis());
    lines.extend(picture.legend().wrapped(canvas.columns, NAME_COLUMNS));
    for more in [incidents(story, canvas), invocations(story, canvas), waits(story, canvas)] {
        if !more.is_empty() {
            lines.push(Text::default());
            lines.extend(more);
        }
    }
    lines
}

/// The nodes that asked for anything, by what they asked for and then in the plan's order; the tools come last.
pub(super) fn rows(story: &Story) -> Vec<(String, Lane)> {
    let mut rows: Vec<(String, Lane)> = story.invocations.iter().map(|it| (it.node.clone(), it.lane)).collect();
    rows.sort_by_key(|(name, lane)| (*lane, story.cast.place(name), name.clone()));
    rows.dedup();
    rows
}

fn signs(story: &Story, picture: &Picture<'_>) -> super::lanes::Cells {
    let mut cells = picture.blank();
    for incident in &story.incidents {
        let place = &mut cells[picture.column(incident.at)];
        let sign = incident.kind.sign();
        let is_shared = place.1 != ' ' && place.1 != sign;
        *place = if is_shared { (Role::Strong, '*') } else { (incident.kind.role(), sign) };
    }
    cells
}

fn time(at: Micros) -> String {
    format!("{:>6}.{:03}", at.as_ms() / 1_000, at.as_ms() % 1_000)
}

fn incidents(story: &Story, canvas: Canvas) -> Vec<Text> {
    if story.incidents.is_empty() {
        return Vec::new();
    }
    let kinds: Vec<String> = IncidentKind::ALL
        .into_iter()
        .filter(|kind| story.incidents.iter().any(|it| it.kind == *kind))
        .map(|kind| format!("{} {}", kind.sign(), kind.name()))
        .collect();
    let title =
        Text::new(Role::Strong, "Events").and(Role::Quiet, format!("  {}, * several at once", kinds.join(", ")));
    let mut lines = title.wrapped(canvas.columns, 8);
    for incident in &story.incidents {
        let turn = incident.turn.map_or_else(String::new, |turn| format!("turn {}", turn.0));
        let head = Text::new(Role::Quiet, time(incident.at));
        let head = head
            .and(Role::Plain, format!("  {turn:<8}"))
            .and(incident.kind.role(), format!("{:<10}", incident.kind.name()));
        lines.extend(head.and(Role::Plain, incident.told()).wrapped(canvas.columns, 30));
    }
    lines
}

fn invocations(story: &Story, canvas: Canvas) -> Vec<Text> {
    if story.invocations.is_empty() {
        return Vec::new();
    }
    let title = Text::new(Role::Strong, "Invocations")
        .and(Role::Quiet, "  from, to, first result after, how it ended, in > out, whom");
    let mut lines = title.wrapped(canvas.columns, 8);
    for invocation in &story.invocations {
        let end = invocation.to.map_or_else(|| "       ...".to_owned(), time);
        let first =
            invocation.first.map_or_else(|| "-".to_owned(), |first| format!("{} ms", ms(first.since(invocation.from))));
        let head = format!("{:<10}", format!("{}{}", invocation.node, invocation.id));
        let line = Text::new(Role::Strong, head).and(Role::Quiet, format!("{} {end}  ", time(invocation.from)));
        let line = line.and(Role::Plain, format!("{first:>8}  "));
        let (role, ended) = ending(invocation);
        let line = line.and(role, format!("{ended:<14}")).and(Role::Plain, amount(invocation));
        lines.extend(line.and(Role::Quiet, format!("  {}", invocation.binding)).wrapped(canvas.columns, 10));
    }
    lines
}

/// How an invocation ended, in a word.
pub(super) fn ending(invocation: &Invocation) -> (Role, &'static str) {
    match (invocation.cancelled, invocation.outcome) {
        (true, _) => (Role::Cut, "cancelled"),
        (false, None) => (Role::Hold, "running"),
        (false, Some(rspp_specs::outcome::Outcome::Success)) => (Role::Agent, "success"),
        (false, Some(outcome)) => (Role::Cut, outcome.name()),
    }
}

/// What went in and came out, in the unit that the kind of provider is paid by.
fn amount(invocation: &Invocation) -> String {
    let amount = invocation.amount;
    let seconds = |time: Micros| format!("{}.{} s", time.as_ms() / 1_000, time.as_ms() % 1_000 / 100);
    match invocation.lane {
        Lane::Stt => format!("{} > {} ch", seconds(amount.audio_in), amount.chars_out),
        Lane::Llm | Lane::Tools => format!("{} > {} ch", amount.chars_in, amount.chars_out),
        Lane::Tts => format!("{} ch > {}", amount.chars_in, seconds(amount.audio_out)),
    }
}
