//! Two calls that differ by one change made by hand are told apart by the right class, at the right event.

#[path = "call/golden.rs"]
mod calls;
#[path = "call/kept.rs"]
mod kept;

use std::path::Path;
use std::sync::Arc;

use kept::check_kept;
use rspp::adapters::scenario::Scenario;
use rspp::diff::{Call, Class, Options, Report};
use rspp::spec::Over;
use rspp::specs::event::ProviderResult;
use rspp::specs::plan::Plan;
use rspp::specs::time::Micros;
use rspp::specs::timeline::{Entry, Input, Record};
use rspp::trace::{read_plan, read_plan_under};
use rspp::{Registry, compile};

fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn scenario(name: &str) -> Scenario {
    Scenario::read(&golden(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn parsed(text: &str) -> Scenario {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}

fn plan(spec: &str) -> Arc<Plan> {
    Arc::new(compile("test.yaml", spec, &Registry::new()).unwrap_or_else(|error| panic!("{error}")))
}

fn run(scenario: &Scenario, plan: &Arc<Plan>) -> Vec<Record> {
    let mut all = Vec::new();
    let mut core = rspp::core(Registry::new());
    let ran = scenario.run(&mut core, plan, |records, _| all.extend_from_slice(records));
    ran.unwrap_or_else(|error| panic!("{error}"));
    all
}

fn compared(a: &[Record], b: &[Record]) -> Report {
    let options = Options { tolerance: Micros::from_ms(20), prices: None };
    Report::of(Call { name: "a", records: a }, Call { name: "b", records: b }, options)
}

/// The class, and the two events; `-` for none.
fn first(report: &Report) -> (Class, String, String) {
    let first = report.first().unwrap_or_else(|| panic!("they are the same: {report}"));
    let shown = |place: &Option<rspp::diff::Place>| place.as_ref().map_or("-".to_owned(), |place| place.event.clone());
    (first.class, shown(&first.a), shown(&first.b))
}

fn check(report: &Report, class: Class, a: &str, b: &str) {
    let found = first(report);
    assert_eq!(found.0, class, "{report}");
    assert!(found.1.contains(a), "no `{a}` in {}", found.1);
    assert!(found.2.contains(b), "no `{b}` in {}", found.2);
}

/// Short pieces go two ways, which meet again.
const MEETING: &str = "kind: PipelineSpec\nname: meeting\nversion: 1\nnodes:\n  user_turn: {type: user_turn}\n  \
    llm: {type: llm, bind: scripted}\n  words: {type: segmenter}\n  both: {type: merge, order: ORDER}\n  \
    tts: {type: tts, bind: scripted}\n  playout: {type: playout}\nedges:\n  - user_turn -> llm\n  - llm -> words\n  \
    - words -> both\n  - {edge: llm -> both, when: {attribute: length, below: 12}}\n  - both -> tts\n  - tts -> playout\n";
const TWO_PIECES: &str = "kind: Scenario\nname: meeting\nspec: none\nuntil_ms: 3000\n\
    inputs: [{at_ms: 1000, user_text: say it}]\nproviders:\n  \
    llm: [[{after_ms: 100, text: \"One here. \"}, {after_ms: 100, text: \"Three. \"}, {after_ms: 100, end: success}]]\n  \
    tts: [[{after_ms: 50, audio_ms: 40}, {after_ms: 50, end: success}], [{after_ms: 50, audio_ms: 40}, {after_ms: 50, end: success}], \
    [{after_ms: 50, audio_ms: 40}, {after_ms: 50, end: success}], [{after_ms: 50, audio_ms: 40}, {after_ms: 50, end: success}]]\n";

/// One plan goes by causes, the other by the order of the edges: the second piece of the one way comes before the first of
/// the other. That the words are heard in another order follows from it.
#[test]
fn another_merge_rule_is_an_ordering() {
    let scenario = parsed(TWO_PIECES);
    let by = |order: &str| run(&scenario, &plan(&MEETING.replace("ORDER", order)));
    let report = compared(&by("by_cause/v1"), &by("by_port/v1"));
    check(
        &report,
        Class::Ordering,
        "invoke id=tts#3 binding=scripted text=\"One here. \"",
        "id=tts#3 binding=scripted text=Three.",
    );
    assert_eq!(report.counts["ORDERING"], 1, "{report}");
    assert!(report.plan_changes.iter().any(|change| change.field.ends_with("order")), "{report}");
}

/// The same where what came in has changed places.
#[test]
fn the_same_in_another_order_is_an_ordering() {
    let records = calls::traced("branches").records;
    let mut merged = records.clone();
    let is_text =
        |record: &Record| matches!(&record.entry, Entry::Input(_, Input::Provider(_, ProviderResult::Text(_))));
    let first = merged.iter().position(is_text).expect("the model says something");
    assert!(is_text(&merged[first + 1]) && merged[first].tick == merged[first + 1].tick, "two pieces in one tick");
    merged.swap(first, first + 1);
    let report = compared(&records, &merged);
    check(&report, Class::Ordering, "text=\"One here.\"", "text=\"Two is long enough.\"");
    assert_eq!((report.counts["ORDERING"], report.counts.values().sum::<u64>()), (1, 1), "{report}");
}

#[test]
fn another_provider_is_a_plan() {
    let scenario = scenario("plain-call.yaml");
    let bound = |bindings: &[(&str, &str)]| {
        let bindings = bindings.iter().map(|(node, binding)| ((*node).to_owned(), (*binding).to_owned())).collect();
        let over = Over { bindings, ..Over::default() };
        let plan = read_plan_under(&golden("scripted.yaml"), &over, &Registry::new());
        run(&scenario, &plan.unwrap_or_else(|error| panic!("{error}")))
    };
    let report = compared(&bound(&[]), &bound(&[("llm", "another")]));
    check(&report, Class::Plan, "invoke id=llm#2 binding=scripted", "invoke id=llm#2 binding=another");
    assert_eq!(report.counts["PLAN"], 1);
    assert_eq!(report.counts.values().sum::<u64>(), 1, "nothing else came of it: {report}");
    assert!(report.providers.iter().any(|pair| pair.binding == "another" && (pair.a, pair.b) == (0, 1)));
}

#[test]
fn a_slower_budget_is_a_timing() {
    let spec = std::fs::read_to_string(golden("scripted-fallback.yaml")).expect("it is there");
    let scenario = scenario("provider-stall.yaml");
    let with = |stall: &str| run(&scenario, &plan(&spec.replace("stall_ms: 600", stall)));
    let report = compared(&with("stall_ms: 600"), &with("stall_ms: 800"));
    check(&report, Class::Timing, "result_of=llm#1", "result_of=llm#1");
    assert!(report.first().is_some_and(|first| first.detail.starts_with("200 ms later")), "{report}");
    assert!(report.divergences.iter().all(|it| it.class == Class::Timing), "the same happens, later: {report}");
}

#[test]
fn a_stale_epoch_is_an_authority() {
    let text = std::fs::read_to_string(golden("text-over-answer.yaml")).expect("it is there");
    let stale = text.replace("inputs:\n", "inputs:\n  - {at_ms: 300, stale_epoch: 0}\n");
    let plan = read_plan(&golden("scripted.yaml"), &Registry::new());
    let plan = plan.unwrap_or_else(|error| panic!("{error}"));
    let report = compared(&run(&parsed(&text), &plan), &run(&parsed(&stale), &plan));
    check(&report, Class::Authority, "-", "C stale_epoch");
    assert_eq!((report.counts["AUTHORITY"], report.counts.values().sum::<u64>()), (1, 1), "{report}");
}

#[test]
fn another_answer_is_an_outcome() {
    let text = std::fs::read_to_string(golden("plain-call.yaml")).expect("it is there");
    let plan = read_plan(&golden("scripted.yaml"), &Registry::new());
    let plan = plan.unwrap_or_else(|error| panic!("{error}"));
    let other = text.replace("at noon.", "at ten.");
    let report = compared(&run(&parsed(&text), &plan), &run(&parsed(&other), &plan));
    check(&report, Class::Outcome, "text=\"at noon.\"", "text=\"at ten.\"");
    let turn = report.turns.first().expect("there is a turn");
    assert!(!turn.same);
    check_kept("tests/recorded/outcome.diff.txt", &report.to_string());
    let (a, b) = (run(&parsed(&text), &plan), run(&parsed(&other), &plan));
    let page = report.html(&a, &b);
    assert_eq!(page.matches("<svg ").count(), 2, "both timelines");
    assert!(
        page.contains("OUTCOME") && page.contains("at ten.") && !page.contains("http://") || page.contains("w3.org")
    );
}

#[test]
fn a_call_is_the_same_as_itself_and_times_within_the_tolerance_are() {
    for name in ["plain-call", "interruption", "takeover", "provider-switch", "buffer-credit"] {
        let records = calls::traced(name).records;
        let report = compared(&records, &records);
        assert!(report.is_same(), "{name}: {report}");
        let mut later = records.clone();
        let wait = |records: &mut [Record]| records.iter_mut().for_each(|it| it.at = it.at + Micros::from_ms(15));
        wait(&mut later[1..]);
        assert!(compared(&records, &later).is_same(), "{name}");
        wait(&mut later[1..]);
        assert_eq!(first(&compared(&records, &later)).0, Class::Timing, "{name}");
        // Another day.
        let mut later = records.clone();
        later.iter_mut().for_each(|record| record.at = record.at + Micros::from_ms(3_600_000));
        let report = compared(&records, &later);
        assert!(report.is_same(), "{name}: {report}");
    }
}

#[test]
fn plans_that_differ_without_a_consequence_are_told() {
    let scenario = parsed(TWO_PIECES);
    let spec = MEETING.replace("ORDER", "by_cause/v1");
    let report =
        compared(&run(&scenario, &plan(&spec)), &run(&scenario, &plan(&spec.replace("version: 1", "version: 2"))));
    check(&report, Class::Plan, "session_open", "session_open");
    assert!(report.first().is_some_and(|first| first.detail.contains("nothing came of it")));
}
