//! Pictures of the golden calls, kept as files: `RSPP_UPDATE_GOLDEN=1 cargo test --test drawing` draws them anew; look
//! at what has changed before you keep it. `docs/images/call.svg`, which the README shows, is one of them.

#[path = "call/kept.rs"]
mod kept;

use std::path::Path;

use rspp::Registry;
use rspp::drawing::{Canvas, Charset, Live, LiveLine, Story, Text, lanes, svg, svg_timeline, timeline, waits};
use rspp::specs::ids::TurnId;
use rspp::specs::timeline::Record;

use kept::check_kept;

const WIDE: Canvas = Canvas { columns: 80, charset: Charset::Unicode };

fn records(scenario: &str) -> Vec<Record> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(scenario).with_extension("yaml");
    rspp::trace::trace(&path, &Registry::new()).unwrap_or_else(|error| panic!("{error}")).records
}

fn plain(lines: &[Text]) -> String {
    lines.iter().map(|line| line.plain() + "\n").collect()
}

/// All that is drawn of a call: the lines while it runs, as a file gets them, then the pictures.
fn drawn(records: &[Record], canvas: Canvas) -> String {
    let mut live = Live::default();
    let mut text = String::new();
    for tick in records.chunk_by(|earlier, later| earlier.tick == later.tick) {
        for line in live.take(tick).into_iter().filter(|line| !line.passing) {
            text += &plain(&line.text.wrapped(canvas.columns, LiveLine::INDENT));
        }
    }
    let (lanes, waits) = (plain(&lanes(live.story(), canvas)), plain(&waits(live.story(), canvas)));
    format!("{text}\n{lanes}\n{waits}")
}

#[test]
fn golden_calls_are_drawn_as_they_were() {
    for scenario in
        ["plain-call", "interruption", "false-interruption", "tool-interrupted", "provider-failure", "immediate"]
    {
        check_kept(&format!("tests/drawing/{scenario}.txt"), &drawn(&records(scenario), WIDE));
    }
}

#[test]
fn a_terminal_without_unicode_gets_the_same_picture() {
    let canvas = Canvas { columns: 60, charset: Charset::Ascii };
    let text = drawn(&records("interruption"), canvas);
    assert!(text.lines().all(|line| line.is_ascii() && line.len() <= 60), "{text}");
    check_kept("tests/drawing/interruption-ascii.txt", &text);
}

#[test]
fn every_line_of_a_picture_fits() {
    let records = records("false-interruption");
    let story = Story::of(&records);
    for columns in [40, 57, 80, 133, 200] {
        let canvas = Canvas { columns, ..WIDE };
        for line in [lanes(&story, canvas), waits(&story, canvas), timeline(&story, canvas)].iter().flatten() {
            let line = line.plain();
            assert!(line.chars().count() <= columns, "{columns}: {line}");
        }
    }
}

#[test]
fn the_readmes_picture_is_that_of_the_golden_interruption() {
    check_kept("docs/images/call.svg", &svg(&Story::of(&records("interruption"))));
}

#[test]
fn timelines_tell_what_was_cancelled_dropped_late_and_switched() {
    for scenario in ["interruption", "provider-switch", "provider-stall", "buffer-block", "takeover", "tool-committed"]
    {
        let story = Story::of(&records(scenario));
        check_kept(&format!("tests/drawing/timeline-{scenario}.txt"), &plain(&timeline(&story, WIDE)));
    }
    check_kept("docs/images/timeline.svg", &svg_timeline(&Story::of(&records("provider-switch"))));
}

#[test]
fn one_turn_is_a_part_of_the_timeline() {
    let story = Story::of(&records("interruption"));
    let part = story.of_turn(TurnId(2)).expect("there is a second turn");
    assert_eq!(part.turns.len(), 1);
    let (from, to) = part.window().expect("something happens in it");
    assert!(story.window().is_some_and(|(first, last)| from > first && to < last));
    check_kept("tests/drawing/timeline-turn-2.txt", &plain(&timeline(&part, WIDE)));
    assert!(svg_timeline(&part).ends_with("</svg>\n"));
    assert_eq!(story.of_turn(TurnId(9)), None);
}

#[test]
fn a_call_in_which_nothing_happens_has_no_picture() {
    let records = records("plain-call");
    let opened = Story::of(&records[..2]);
    assert_eq!((lanes(&opened, WIDE), waits(&opened, WIDE)), (Vec::new(), Vec::new()));
    assert!(svg(&opened).ends_with("</svg>\n"));
}
