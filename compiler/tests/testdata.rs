//! Specs and what they come to, as data: each file of `testdata/good` ends with the plan in words, each of `testdata/bad`
//! with the findings that it must give. `RSPP_UPDATE_GOLDEN=1 cargo test -p rspp-compiler --test testdata` writes what
//! they are now: read the difference before you keep it.

use std::path::{Path, PathBuf};

use rspp_compiler::{Checked, Files, Registry, Request, compile, explain};

/// What stands between a spec and what it comes to.
const FINDINGS: &str = "# findings:\n";
const PLAN: &str = "# plan:\n";

/// The files of a folder, in order.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(folder);
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.sort();
    paths
}

/// As comments of the spec.
fn commented(text: &str) -> String {
    text.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect()
}

/// Checks one file against what stands at its end.
fn check(path: &Path, mark: &str, come_to: impl Fn(&str) -> String) {
    let text = std::fs::read_to_string(path).expect("the file can be read");
    let (spec, expected) = text.split_once(mark).unwrap_or((text.as_str(), ""));
    let found = commented(&come_to(spec));
    if std::env::var_os("RSPP_UPDATE_GOLDEN").is_some() {
        let separator = if spec.is_empty() || spec.ends_with('\n') { "" } else { "\n" };
        std::fs::write(path, format!("{spec}{separator}{mark}{found}")).expect("the file can be written");
    } else {
        assert_eq!(found, expected, "{}", path.display());
    }
}

/// The modules that specs here import.
struct Beside;

impl Files for Beside {
    fn read(&self, path: &str) -> Result<String, String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/beside").join(path);
        std::fs::read_to_string(path).map_err(|_| "no such file".to_owned())
    }
}

fn checked(spec: &str) -> Checked {
    Request::new("spec.yaml", spec).with_files(&Beside).check(&Registry::new())
}

#[test]
fn bad_specs_give_their_findings() {
    for path in files("bad") {
        check(&path, FINDINGS, |spec| {
            let Checked { plan, findings, .. } = checked(spec);
            assert!(!findings.0.is_empty(), "{} has no findings", path.display());
            assert!(plan.is_none() || !findings.has_errors(), "{}: no plan comes of what is wrong", path.display());
            findings.in_lines()
        });
    }
}

#[test]
fn good_specs_give_their_plans() {
    for path in files("good") {
        check(&path, PLAN, |spec| {
            let Checked { plan, findings, .. } = checked(spec);
            assert_eq!(findings.in_lines(), "", "{}", path.display());
            explain(&plan.expect("what is not wrong has a plan"))
        });
    }
}

#[test]
fn there_are_many() {
    let (good, bad) = (files("good").len(), files("bad").len());
    assert!(good + bad >= 120, "{good} good and {bad} bad");
}

#[test]
fn the_templates_spec_is_the_graph_it_stands_for() {
    let short = "kind: PipelineSpec\nname: x\nversion: 1\ntemplate: voice-assistant\nbind: {stt: a, llm: b, tts: c}\n";
    let long = "kind: PipelineSpec\nname: x\nversion: 1\nnodes:\n  caller: {type: caller}\n  vad: {type: vad}\n  \
                stt: {type: stt, bind: a}\n  utterance: {type: utterance}\n  user_turn: {type: user_turn}\n  \
                llm: {type: llm, bind: b}\n  segmenter: {type: segmenter}\n  tts: {type: tts, bind: c}\n  \
                playout: {type: playout}\nedges:\n  - tts -> playout\n  - segmenter -> tts\n  - llm -> segmenter\n  \
                - user_turn -> llm\n  - vad -> utterance.speech\n  - stt -> utterance.transcripts\n  \
                - caller -> stt.audio\n  - vad -> stt.speech\n  - caller -> vad\n";
    let plan = |text| compile("spec.yaml", text, &Registry::new()).unwrap_or_else(|findings| panic!("{findings}"));
    assert_eq!(plan(short).hash(), plan(long).hash(), "the order of edges in the text does not matter");
}
