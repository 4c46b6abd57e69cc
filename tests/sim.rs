//! The simulator, on the seeds of `tests/sim/seeds` and on itself: what it finds is there, and what is there it finds.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use rspp::adapters::sim::{Fault, Faults};
use rspp::sim::{Options, Report, corpus, run, run_and_replay};
use rspp::specs::event::{Payload, PortType};
use rspp::specs::ids::PortIndex;
use rspp::specs::trace::{Line, Section, parse};
use rspp::{Context, Node, NodeType, Registry};

fn options(line: &str) -> Options {
    let runs = corpus(line).unwrap_or_else(|error| panic!("{error}"));
    runs.into_iter().next().expect("a line that is not empty is a run")
}

fn simulate(options: &Options) -> Report {
    run(options, &Registry::new(), None).unwrap_or_else(|error| panic!("{error}"))
}

fn json(report: &Report) -> String {
    serde_json::to_string_pretty(report).expect("a report is JSON")
}

/// A trace that stays in memory.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panics with it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The trace of each call, under the comment that names it.
fn traces(options: &Options) -> Vec<(String, String)> {
    let kept = Kept::default();
    let report = run(options, &Registry::new(), Some(Box::new(kept.clone()))).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.violations, 0, "{report}");
    let text = String::from_utf8(kept.0.lock().expect("nobody panics with it").clone()).expect("lines are text");
    let mut traces: Vec<(String, String)> = Vec::new();
    let mut place = 0;
    for line in text.lines() {
        if line.starts_with('#') {
            place = traces.iter().position(|(name, _)| name == line).unwrap_or(traces.len());
            traces.resize(traces.len().max(place + 1), (line.to_owned(), String::new()));
        } else {
            traces[place].1 += line;
            traces[place].1.push('\n');
        }
    }
    traces
}

/// With everything, every record comes out again to the byte; without words and audio, control flow and decisions do.
#[test]
fn every_call_replays_at_l2_and_at_l0() {
    let ran = run_and_replay(&options("4021 6 1 all"), &Registry::new());
    let (report, replayed) = ran.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((report.violations, replayed.different()), (0, 0), "{report}{replayed}");
    assert!(replayed.calls >= 6 && replayed.records > 10_000, "{replayed}");
    assert!(replayed.bytes_l0 < replayed.bytes_l2, "L0 keeps less: {replayed}");
}

/// On every seed, and over all of them every class of failure that there is.
#[test]
fn the_seeds_break_nothing() {
    let seeds = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sim/seeds"));
    let seeds = seeds.expect("the seeds are part of the repository");
    let lines: Vec<&str> = seeds.lines().filter(|line| !line.starts_with('#')).collect();
    let reports: Vec<Report> = std::thread::scope(|scope| {
        let begin = |line: &&str| {
            let options = options(line);
            scope.spawn(move || simulate(&options))
        };
        let running: Vec<_> = lines.iter().map(begin).collect();
        running.into_iter().map(|run| run.join().expect("a simulation does not panic")).collect()
    });
    for (line, report) in lines.iter().zip(&reports) {
        assert_eq!(report.violations, 0, "{line}\n{report}");
        let of_one = options(line).only.is_some();
        assert!(of_one || report.turns_opened > 10 && report.gates.cancels_accepted > 0, "{line}\n{report}");
        assert_eq!(report.gates.cancels_accepted, report.terminals.abort.get("cancelled").copied().unwrap_or(0));
        assert_eq!(report.crowded_ticks, 0, "{line}");
    }
    for fault in Fault::ALL {
        let injected: u64 = reports.iter().map(|report| report.faults[fault.name()]).sum();
        assert!(injected > 0, "{}: never injected", fault.name());
    }
}

/// Graphs with which the compiler is tested, and that no pipeline of the simulator's own is like.
const GRAPHS: [&str; 10] = [
    "conditional-branches",
    "fallback-edge-of-a-fallback-edge",
    "fallback-edge-with-a-buffer",
    "filter",
    "join-by-watermark",
    "merge",
    "select",
    "select-by-a-condition",
    "transcription-only",
    "when-at-least",
];

/// Pipelines that are built otherwise than those that are simulated mostly: the templates, and these graphs.
#[test]
fn other_pipelines_break_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let templates = std::fs::read_dir(root.join("specs/templates")).expect("they are part of the repository");
    let templates = templates.map(|entry| entry.expect("readable").path().join("pipeline.yaml"));
    let graphs = GRAPHS.map(|name| root.join("compiler/testdata/good").join(name).with_extension("yaml"));
    let specs: Vec<PathBuf> = templates.filter(|path| path.exists()).chain(graphs).collect();
    assert!(specs.len() > GRAPHS.len() + 5);
    for spec in specs {
        let report = simulate(&Options { spec: Some(spec.clone()), ..options("5 2 1 all") });
        assert!(report.violations == 0 && report.turns_opened > 0, "{}\n{report}", spec.display());
    }
}

#[test]
fn a_seed_says_everything() {
    let first = options("11 3 1 all");
    assert_eq!(json(&simulate(&first)), json(&simulate(&first)));
    let second = Options { seed: 12, ..first.clone() };
    let (mut first, second) = (simulate(&first), simulate(&second));
    first.seed = 12;
    assert_ne!(json(&first), json(&second), "more differs than the seed's own number");
}

#[test]
fn a_session_alone_does_what_it_does_among_others() {
    let together = options("13 5 1 all");
    let all = traces(&together);
    for session in [0, 4] {
        let alone = traces(&Options { only: Some(session), ..together.clone() });
        assert!(!alone.is_empty());
        let of_session = |(name, _): &&(String, String)| name.starts_with(&format!("# session {session},"));
        let among: Vec<_> = all.iter().filter(of_session).collect();
        assert_eq!(alone.iter().collect::<Vec<_>>(), among, "session {session}");
    }
}

/// What the runtime must say, and what it must say once.
const MUST_BE_SAID: [(Section, &str); 13] = [
    (Section::Signal, "admit"),
    (Section::Signal, "turn_open"),
    (Section::Signal, "output_accepted"),
    (Section::Signal, "cancel_accepted"),
    (Section::Signal, "fence_applied"),
    (Section::Signal, "abort"),
    (Section::Signal, "commit"),
    (Section::Signal, "close"),
    (Section::Signal, "late_after_cancel"),
    (Section::Signal, "refused"),
    (Section::Effect, "invoke"),
    (Section::Effect, "cancel_invocation"),
    (Section::Effect, "transmit"),
];

/// The checker that finds nothing in a simulated call finds every line that is taken out of it or said twice.
#[test]
fn a_trace_that_is_broken_is_found_out() {
    let traces = traces(&options("17 8 1 F2,F3"));
    let traces: Vec<Vec<Line>> = traces.iter().map(|(_, text)| parse(text).expect("lines of a trace")).collect();
    for (section, name) in MUST_BE_SAID {
        let is_it = |line: &Line| line.section == section && line.name == name;
        let trace = traces.iter().find(|trace| trace.iter().any(is_it));
        let trace = trace.unwrap_or_else(|| panic!("no call has a line {name}: take another seed"));
        let place = trace.iter().position(is_it).expect("it was found a moment ago");
        let (mut without, mut twice) = (trace.clone(), trace.clone());
        without.remove(place);
        twice.insert(place, trace[place].clone());
        assert!(!rspp_checker::check(&without).is_empty(), "nobody misses {name}");
        // A second refusal is a word too many, and no breach.
        assert!(name == "refused" || !rspp_checker::check(&twice).is_empty(), "nobody minds a second {name}");
    }
}

/// A node that never lets go of a turn.
struct Hoarder;

impl Node for Hoarder {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        cx.emit(payload);
    }

    fn holds(&self) -> bool {
        true
    }
}

#[test]
fn a_turn_that_never_ends_is_found_and_shown_again() {
    let registry =
        || Registry::new().with("hoarder", NodeType::new(PortType::Text, PortType::Text, |_| Ok(Box::new(Hoarder))));
    let spec = "kind: PipelineSpec\nname: hoarded\nversion: 1\nnodes:\n  user_turn: {type: user_turn}\n  \
                llm: {type: llm, bind: any}\n  hoarder: {type: hoarder}\n  tts: {type: tts, bind: any}\n  \
                playout: {type: playout}\nedges: [user_turn -> llm, llm -> hoarder, hoarder -> tts, tts -> playout]\n";
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("hoarded.yaml");
    std::fs::write(&path, spec).expect("it can be written");
    let options = Options { spec: Some(path), ..options("1 3 1 none") };
    let report = run(&options, &registry(), None).unwrap_or_else(|error| panic!("{error}"));
    let found = report.found.first().unwrap_or_else(|| panic!("nothing was found: {report}"));
    assert_eq!(found.rule, "progress");
    assert!(!found.last_events.is_empty());
    assert!(
        found.reproduce.contains(&format!("--seed 1 --sessions 3 --minutes 1 --faults none --only {}", found.session))
    );
    let alone = Options { only: Some(found.session), ..options };
    let again = run(&alone, &registry(), None).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again.found.first(), Some(found));
}

fn rspp(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_rspp")).args(arguments).output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("what it prints is text");
    (output.status.code().expect("it exits"), text(output.stdout), text(output.stderr))
}

#[test]
fn the_command_takes_any_spec_and_writes_traces() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let trace: PathBuf = folder.path().join("session.trace");
    let shown = trace.display().to_string();
    let small = ["sim", "--sessions", "2", "--minutes", "1", "--json"];
    let (code, out, aside) = rspp(&[&small[..], &["--faults", "F8,F3", "--only", "1", "--trace", &shown]].concat());
    assert_eq!(code, 0, "{aside}");
    let report: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(report["faults"]["F1"], 0, "it was not asked for");
    assert!(aside.contains("times as fast"), "{aside}");
    let lines = parse(&std::fs::read_to_string(&trace).expect("it was written")).expect("lines of a trace");
    assert_eq!(report["lines"], lines.len());

    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/scripted.yaml").display().to_string();
    let (code, out, aside) = rspp(&[&small[..], &["--spec", &spec]].concat());
    assert_eq!(code, 0, "{out}{aside}");
}

#[test]
fn many_seeds_are_one_command() {
    let small = ["sim", "--sessions", "2", "--minutes", "1", "--json", "--seeds", "3..4"];
    let (code, out, aside) = rspp(&small);
    assert_eq!(code, 0, "{aside}");
    let batch: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let each: Vec<Report> = [3, 4].map(|seed| simulate(&options(&format!("{seed} 2 1 all")))).into();
    assert_eq!(batch["runs"], 2);
    assert_eq!(batch["turns_opened"], each.iter().map(|report| report.turns_opened).sum::<u64>());
    assert_eq!(batch["lines"], each.iter().map(|report| report.lines).sum::<u64>());
    assert!(aside.contains("2 of 2 seeds, 0 of them with violations"), "{aside}");

    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("seeds").display().to_string();
    std::fs::write(&path, "# two\n3 2 1 all\n4 2 1 all\n").expect("it can be written");
    assert_eq!(rspp(&["sim", "--json", "--corpus", &path]).1, out, "a corpus of the same runs says the same");
    for wrong in ["3 2 1\n", "3 2 1 all 2\n"] {
        std::fs::write(&path, wrong).expect("it can be written");
        let (code, _, aside) = rspp(&["sim", "--corpus", &path]);
        assert!(code == 2 && aside.contains("line 1"), "{aside}");
    }
}

#[test]
fn wrong_usage_is_told() {
    for (arguments, says) in [
        (["--only", "2", "--sessions", "2"], "sessions are numbered from 0 to 1"),
        (["--faults", "F9", "--sessions", "2"], "`F9` is no class of failure"),
        (["--spec", "nowhere.yaml", "--sessions", "2"], "nowhere.yaml"),
        (["--seeds", "9..7", "--sessions", "2"], "has no seed"),
    ] {
        let (code, _, aside) = rspp(&[&["sim"], &arguments[..]].concat());
        assert_eq!(code, 2, "{aside}");
        assert!(aside.contains(says), "{aside}");
    }
    assert!("F1,F2".parse::<Faults>().is_ok());
}
