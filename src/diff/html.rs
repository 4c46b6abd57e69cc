//! The comparison as one page that needs nothing else: no script, no font, no network.

use std::fmt::Write;

use rspp_specs::time::Micros;

use super::{Divergence, PlanChange, Report};
use crate::account::TurnAccount;
use crate::drawing::{Story, escaped, svg_timeline};

/// Divergences in the page's table.
const MAX_ROWS: usize = 200;

const STYLE: &str = "
:root { --ink: #1f2933; --faint: #616e7c; --line: #e4e7eb; --a: #1c7ed6; --b: #2b8a3e; --bad: #e03131; }
body { font: 14px/1.45 system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; color: var(--ink);
  margin: 0 auto; padding: 24px; max-width: 1880px; background: #f8f9fa; }
h1 { font-size: 20px; margin: 0 0 4px } h2 { font-size: 15px; margin: 28px 0 8px }
.faint { color: var(--faint) } code { font: 12px/1.5 ui-monospace, 'DejaVu Sans Mono', monospace }
.card { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 14px 18px }
.first { border-left: 4px solid var(--bad) } .same { border-left: 4px solid var(--b) }
.class { display: inline-block; padding: 1px 8px; border-radius: 10px; color: #fff; background: var(--bad);
  font-size: 12px; font-weight: 600 }
.class.TIMING { background: #e67700 } .class.PLAN { background: #9c36b5 } .class.ORDERING { background: #1c7ed6 }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(620px, 1fr)); gap: 16px }
.sides svg { width: 100%; height: auto; display: block }
table { border-collapse: collapse; width: 100%; background: #fff; border: 1px solid var(--line) }
th, td { text-align: left; vertical-align: top; padding: 6px 10px; border-bottom: 1px solid var(--line) }
th { font-weight: 600; color: var(--faint); font-size: 12px } tr.differs td { background: #fff5f5 }
td code { word-break: break-word }
";

/// Of two calls, each with the time at which it begins.
pub(super) fn page(report: &Report, a: (&Story, Micros), b: (&Story, Micros)) -> String {
    let mut out = String::new();
    let title = format!("{} and {}", escaped(&report.a.name), escaped(&report.b.name));
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    );
    verdict(&mut out, report);
    timelines(&mut out, report, a, b);
    turns(&mut out, report);
    plan(&mut out, &report.plan_changes);
    divergences(&mut out, report);
    providers(&mut out, report);
    out.push_str("</body></html>\n");
    out
}

fn verdict(out: &mut String, report: &Report) {
    let Some(first) = report.first() else {
        let _ =
            writeln!(out, "<div class=\"card same\">The same: {} events, none of them different.</div>", report.events);
        return;
    };
    let counts = report.counts.iter().filter(|(_, count)| **count > 0);
    let counts = counts.map(|(class, count)| format!("{count} {class}")).collect::<Vec<_>>().join(", ");
    let _ = writeln!(
        out,
        "<div class=\"card first\"><p><span class=\"class {class}\">{class}</span> They part first here: {detail}. \
         <span class=\"faint\">In all: {counts}.</span></p>{events}</div>",
        class = first.class.name(),
        detail = escaped(&first.detail),
        events = both(first),
    );
}

fn both(divergence: &Divergence) -> String {
    let shown = |name: &str, place: &Option<super::Place>| {
        let event = place.as_ref().map_or("(nothing)".to_owned(), |place| escaped(&place.event));
        format!("<div><b>{name}</b> <code>{event}</code></div>")
    };
    shown("a", &divergence.a) + &shown("b", &divergence.b)
}

/// Both over the same span, counted from their beginnings, with a line where they part.
fn timelines(out: &mut String, report: &Report, a: (&Story, Micros), b: (&Story, Micros)) {
    let calls = [a, b];
    let window = |(story, begins): &(&Story, Micros)| {
        let (from, to) = story.window()?;
        Some((from.since(*begins), to.since(*begins)))
    };
    let windows: Vec<(Micros, Micros)> = calls.iter().filter_map(window).collect();
    let from = windows.iter().map(|(from, _)| *from).min().unwrap_or_default();
    let to = windows.iter().map(|(_, to)| *to).max().unwrap_or(Micros::from_ms(1_000));
    out.push_str("<h2>Both timelines</h2>\n<div class=\"sides\">\n");
    let places = report.first().map(|first| [&first.a, &first.b]);
    for (number, (story, begins)) in calls.into_iter().enumerate() {
        // Where the one has nothing, the other's place stands for it.
        let place = places.and_then(|places| {
            let of = |side: usize| Some((places[side].as_ref()?.at_ms, calls[side].1));
            of(number).or_else(|| of(1 - number))
        });
        let at = place.map(|(at_ms, began)| begins + Micros((at_ms * 1_000.0) as u64).since(began));
        let (from, to) = (begins + from, begins + to);
        let story = story.clone().within(from, to).marked(at.filter(|at| (from..=to).contains(at)));
        let name = ["a", "b"][number];
        let _ = writeln!(out, "<div><div class=\"faint\">{name}</div>{}</div>", svg_timeline(&story));
    }
    out.push_str("</div>\n");
}

fn turns(out: &mut String, report: &Report) {
    if report.turns.is_empty() {
        return;
    }
    out.push_str("<h2>Turns</h2>\n<table><tr><th>turn</th><th></th><th>caller</th><th>heard</th><th>first sound</th><th>ended</th></tr>\n");
    for pair in &report.turns {
        for (name, turn) in [("a", &pair.a), ("b", &pair.b)] {
            let class = if pair.same { "" } else { " class=\"differs\"" };
            let number = if name == "a" { pair.turn.to_string() } else { String::new() };
            let _ = writeln!(out, "<tr{class}><td>{number}</td><td>{name}</td>{}</tr>", turn_cells(turn.as_ref()));
        }
    }
    out.push_str("</table>\n");
}

fn turn_cells(turn: Option<&TurnAccount>) -> String {
    let Some(turn) = turn else { return "<td colspan=\"4\" class=\"faint\">no such turn</td>".to_owned() };
    let first = turn.latency.as_ref().map_or("-".to_owned(), |it| format!("{} ms", it.first_audio_ms));
    let reason = turn.reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    let unheard = match turn.unheard_text.is_empty() {
        true => String::new(),
        false => format!(" <s class=\"faint\">{}</s>", escaped(&turn.unheard_text)),
    };
    format!(
        "<td>{}</td><td>{}{unheard}</td><td>{first}</td><td>{}{reason}</td>",
        escaped(&turn.user_text),
        escaped(&turn.heard_text),
        turn.terminal
    )
}

fn plan(out: &mut String, changes: &[PlanChange]) {
    if changes.is_empty() {
        return;
    }
    out.push_str("<h2>The plans differ</h2>\n<table><tr><th>field</th><th>a</th><th>b</th></tr>\n");
    for PlanChange { field, a, b } in changes {
        let shown = |value: &Option<String>| value.as_ref().map_or("(nothing)".to_owned(), |value| escaped(value));
        let (field, a, b) = (escaped(field), shown(a), shown(b));
        let _ =
            writeln!(out, "<tr><td><code>{field}</code></td><td><code>{a}</code></td><td><code>{b}</code></td></tr>");
    }
    out.push_str("</table>\n");
}

fn divergences(out: &mut String, report: &Report) {
    if report.divergences.is_empty() {
        return;
    }
    out.push_str("<h2>All divergences</h2>\n<table><tr><th>class</th><th>how</th><th>events</th></tr>\n");
    for divergence in report.divergences.iter().take(MAX_ROWS) {
        let class = divergence.class.name();
        let _ = writeln!(
            out,
            "<tr><td><span class=\"class {class}\">{class}</span></td><td>{}</td><td>{}</td></tr>",
            escaped(&divergence.detail),
            both(divergence)
        );
    }
    out.push_str("</table>\n");
    let left = report.counts.values().sum::<u64>().saturating_sub(MAX_ROWS as u64);
    if left > 0 {
        let _ = writeln!(out, "<p class=\"faint\">And {left} more.</p>");
    }
}

fn providers(out: &mut String, report: &Report) {
    out.push_str(
        "<h2>Providers</h2>\n<table><tr><th>kind</th><th>provider</th><th>asked in a</th><th>in b</th></tr>\n",
    );
    for pair in &report.providers {
        let class = if pair.a == pair.b { "" } else { " class=\"differs\"" };
        let (kind, binding) = (pair.kind, escaped(&pair.binding));
        let _ =
            writeln!(out, "<tr{class}><td>{kind}</td><td>{binding}</td><td>{}</td><td>{}</td></tr>", pair.a, pair.b);
    }
    out.push_str("</table>\n");
    if let (Some(a), Some(b)) = (report.a.cost, report.b.cost) {
        let _ = writeln!(out, "<p>Cost, estimated: {a:.4}, then {b:.4}.</p>");
    }
}
