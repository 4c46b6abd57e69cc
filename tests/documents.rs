//! Documents that are committed, and what the program makes of them: the published schemas and the reference are those
//! of the types, every document of `specs` is right and in form, every template runs a call, bundles are the same bytes
//! anywhere. `RSPP_UPDATE_GOLDEN=1 cargo test --test documents` writes what is generated.

#[path = "call/kept.rs"]
mod kept;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kept::check_kept;
use proptest::prelude::*;
use rspp::Registry;
use rspp::format::format;
use rspp::spec::{Beside, documents};
use rspp::templates::{TEMPLATES, create};
use rspp_checker::check;
use rspp_compiler::{Request, lint, markdown, schemas};

/// What the program said.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs the program in a folder.
fn rspp(folder: &Path, args: &[String]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rspp"));
    let output = command.args(args).current_dir(folder).stdin(Stdio::null()).output().expect("cargo has built it");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program writes UTF-8");
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_published_schemas_and_the_reference_are_those_of_the_types() {
    for schema in schemas() {
        let text = serde_json::to_string_pretty(&schema.schema).expect("a schema is JSON") + "\n";
        check_kept(&format!("specs/schemas/{}", schema.file), &text);
    }
    check_kept("docs/reference.md", &markdown());
}

#[test]
fn every_document_is_right_and_in_form() {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for path in documents(&repository().join("specs")).expect("the folder is there") {
        let text = std::fs::read_to_string(&path).expect("the file can be read");
        let name = path.display().to_string();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            assert_eq!(format(&name, &text).unwrap_or_else(|error| panic!("{error}")), text, "rspp fmt {name}");
        }
        let files = Beside::of(&path);
        let (kind, findings) = lint(&Request::new(&name, &text).with_files(&files), &Registry::new());
        let Some(kind) = kind else { continue };
        *kinds.entry(kind).or_default() += 1;
        assert!(findings.0.is_empty(), "{findings}");
        let own = path.components().any(|part| part.as_os_str() == "templates");
        let modeline = text.lines().next().and_then(|line| line.strip_prefix("# yaml-language-server: $schema="));
        assert!(modeline.is_some() || !own, "{name} does not name its schema");
        if let Some(schema) = modeline {
            let schema = path.parent().expect("it has a folder").join(schema);
            assert!(schema.is_file(), "{name}: there is no {}", schema.display());
        }
    }
    let kinds: Vec<&str> = kinds.into_keys().collect();
    let known: Vec<&str> = {
        let mut known: Vec<&str> = schemas().iter().map(|schema| schema.kind).collect();
        known.sort_unstable();
        known
    };
    assert_eq!(kinds, known, "there is an example of every kind");
}

/// What the caller hears, or what is said of the turn, in every template's call.
const SAYS: [(&str, &[&str]); 8] = [
    (
        "voice-assistant",
        &["On sunday we open at noon", "On friday we close at midnight", "abort (barge_in)", "is booked"],
    ),
    ("push-to-talk", &["turn_open turn=t1", "where are you", "turn_open turn=t2", "never mind"]),
    ("two-stt-vote", &["when do you close on friday", "for four at half past seven is booked"]),
    ("translator", &["Wann öffnen Sie am Sonntag?", "Wann schließen Sie am Freitag?"]),
    ("compliance-filter", &["we open at noon", "I am not allowed to promise that."]),
    ("tool-agent", &["On sunday we open at noon.", "A table for four at half past seven is booked."]),
    ("transcription", &["when do you open on sunday", "(no audio)", "commit"]),
    ("fallback-and-filler", &["One moment, please. On sunday we open at noon"]),
];

#[test]
fn every_template_can_be_made_checked_and_run() {
    let names: Vec<&str> = TEMPLATES.iter().map(|template| template.name).collect();
    assert_eq!(names, SAYS.map(|(name, _)| name), "every template has its call here");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let run = |args: &str| {
        let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        let ran = rspp(folder.path(), &args);
        assert_eq!(ran.code, Some(0), "{args:?}: {}{}", ran.stderr, ran.stdout);
        ran.stdout
    };
    for (template, says) in SAYS {
        let name = format!("my-{template}");
        let made = run(&format!("new {template} {name}"));
        let command =
            made.lines().find_map(|line| line.strip_prefix("try: rspp ")).expect("it says what to try").to_owned();
        assert!(run(&format!("lint {name}")).contains("nothing is wrong"));
        assert_eq!(run(&format!("fmt --check {name}")), "");
        let told = run(&command);
        for part in says {
            assert!(told.contains(part), "{template}: no `{part}` in:\n{told}");
        }
        assert!(run(&format!("explain --svg {name}/pipeline.yaml")).starts_with("<svg "));
    }
    assert!(run("new transcription further/down/heard").contains("try: rspp run further/down/heard/pipeline.yaml"));
    assert!(run("lint further/down/heard").contains("nothing is wrong"));
    let named = std::fs::read_to_string(folder.path().join("further/down/heard/pipeline.yaml")).expect("it was made");
    assert!(named.contains("\nname: heard\n"), "{named}");
    let taken = rspp(folder.path(), &["new".to_owned(), "translator".to_owned(), "my-translator".to_owned()]);
    assert!(taken.code == Some(2) && taken.stderr.contains("is there already"), "{}", taken.stderr);
}

#[test]
fn bundles_are_the_same_bytes_anywhere() {
    let bundle = |within: &Path| {
        create("voice-assistant", &within.join("voice-assistant")).expect("the folder is empty");
        let ran = rspp(within, &["bundle".to_owned(), "voice-assistant/pipeline.yaml".to_owned()]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stdout
    };
    let (one, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("another"));
    let text = bundle(one.path());
    assert_eq!(text, bundle(other.path()));
    check_kept("specs/bundles/voice-assistant.json", &text);
    let pinned: serde_json::Value = serde_json::from_str(&text).expect("a bundle is JSON");
    let digest = pinned["digest"].as_str().expect("a bundle has a digest");
    let canary =
        std::fs::read_to_string(repository().join("specs/rollouts/canary.yaml")).expect("the rollout is there");
    let now = canary
        .lines()
        .map(|line| if line.starts_with("bundle: ") { format!("bundle: {digest}\n") } else { format!("{line}\n") });
    check_kept("specs/rollouts/canary.yaml", &now.collect::<String>());
    // Another letter in any file is another bundle.
    let dialogue = one.path().join("voice-assistant/dialogue.yaml");
    let changed = std::fs::read_to_string(&dialogue).expect("it was written").replace("at noon", "at one");
    std::fs::write(dialogue, changed).expect("it can be written");
    let ran = rspp(one.path(), &["bundle".to_owned(), "voice-assistant/pipeline.yaml".to_owned()]);
    assert!(!ran.stdout.contains(digest), "{}", ran.stdout);
}

#[test]
fn a_published_version_is_not_changed_by_a_bundle() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    create("voice-assistant", &folder.path().join("mine")).expect("the folder is empty");
    let bundle = |more: &str| {
        let args = format!("bundle mine/pipeline.yaml{more}");
        rspp(folder.path(), &args.split(' ').map(str::to_owned).collect::<Vec<_>>())
    };
    let first = bundle(" --output first.json");
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert_eq!(bundle(" --previous first.json").code, Some(0), "the same is no change");
    let spec = folder.path().join("mine/pipeline.yaml");
    let text = std::fs::read_to_string(&spec).expect("it was written");
    let changed = text.replace("tts: \"tone:\"", "tts: \"say:x\"");
    assert_ne!(text, changed, "the template has a voice");
    std::fs::write(&spec, &changed).expect("it can be written");
    let refused = bundle(" --previous first.json --output second.json");
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""));
    for part in ["error[RSPP0071]", "mine/pipeline.yaml:5:10", "a minor change: write `version: 2`"] {
        assert!(refused.stderr.contains(part), "no `{part}` in:\n{}", refused.stderr);
    }
    assert!(!folder.path().join("second.json").exists(), "nothing is published");
    std::fs::write(&spec, changed.replace("version: 1", "version: 2")).expect("it can be written");
    assert_eq!(bundle(" --previous first.json --output second.json").code, Some(0));
}

#[test]
fn a_bundle_is_warned_of_what_goes_and_refused_when_it_has_gone() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("it can be written");
    write(
        "compat.yaml",
        "kind: CompatibilityPolicy\nname: x\nversion_skew: 1\ncompatible: []\ndeprecations:\n  - {path: \
         PipelineSpec.prompt, instead: \"`nodes.llm.prompt`\", warned_from: \"2026-01-01\", refused_from: \
         \"2026-07-01\", removed_in: \"0.3\"}\n",
    );
    write(
        "a.yaml",
        "kind: PipelineSpec\nname: a\nversion: 1\ntemplate: voice-assistant\n\
         bind: {stt: \"tone:\", llm: \"say:b\", tts: \"tone:\"}\nprompt: Be kind.\n",
    );
    for (day, code, says) in [
        ("2025-12-31", Some(0), ""),
        ("2026-06-30", Some(0), "warning[RSPP0067]: prompt goes: it is refused from 2026-07-01 on"),
        ("2026-07-01", Some(2), "error[RSPP0068]: prompt is not taken any more"),
    ] {
        let args = ["bundle", "a.yaml", "--compat", "compat.yaml", "--date", day].map(str::to_owned);
        let ran = rspp(folder.path(), &args);
        assert_eq!(ran.code, code, "{day}: {}", ran.stderr);
        assert!(ran.stderr.contains(says) && ran.stderr.is_empty() == says.is_empty(), "{day}: {}", ran.stderr);
        assert_eq!(ran.stdout.is_empty(), code == Some(2), "{day}");
    }
}

#[test]
fn differences_say_which_version_they_need() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let write = |name: &str, version: u32, more: &str| {
        let text = format!(
            "# {name}\nkind: PipelineSpec\nname: x\nversion: {version}\ntemplate: voice-assistant\n\
             bind: {{stt: \"captions:a\", llm: \"say:b\", tts: \"tone:\"}}\n{more}"
        );
        std::fs::write(folder.path().join(name), text).expect("it can be written");
    };
    let diff = |new: &str| {
        let ran = rspp(folder.path(), &["diff-spec".to_owned(), "old.yaml".to_owned(), new.to_owned()]);
        (ran.code, ran.stdout)
    };
    write("old.yaml", 1, "");
    for (version, more, code, says) in [
        (1, "metadata: {owner: me}\n", 0, "nothing that a session does is different"),
        (1, "nodes: {vad: {hangover_ms: 700}}\n", 1, "patch  nodes.vad.vad.hangover: 480 ms became 700 ms"),
        (2, "nodes: {vad: {hangover_ms: 700}}\n", 0, "version 1 becomes 2"),
        (2, "nodes: {vad: {detector: energy}}\n", 0, "minor"),
        (1, "tools: [{name: a, effect: write, binding: \"stdio:a\"}]\n", 1, "give the new one version 2"),
        (2, "turn: {interruption: ignore}\n", 0, "minor  turn.interruption: \"hold\" became \"ignore\""),
    ] {
        write("new.yaml", version, more);
        let (found, told) = diff("new.yaml");
        assert!(found == Some(code) && told.contains(says), "{more}: {found:?} {told}");
    }
}

#[test]
fn lint_tells_people_programs_and_ci() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::write(folder.path().join("a.yaml"), "kind: PipelineSpec\nname: x\nversion: 1\ntemplat: y\n")
        .expect("written");
    std::fs::write(folder.path().join("b.yaml"), "kind: Deployment\nname: x\n").expect("written");
    std::fs::write(folder.path().join("c.json"), "{\"kind\": \"RolloutManifest\"}").expect("written");
    let lint = |args: &[&str]| rspp(folder.path(), &args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>());
    let ran = lint(&["lint", "."]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stdout.contains(" --> ./a.yaml:4:1") && ran.stdout.contains("2 documents"), "{}", ran.stdout);
    let ran = lint(&["lint", "b.yaml"]);
    assert!(ran.stdout.contains("no kind of document is named Deployment"), "{}", ran.stdout);
    let json: serde_json::Value = serde_json::from_str(&lint(&["lint", ".", "--json"]).stdout).expect("it is JSON");
    assert_eq!(
        (json["findings"][0]["line"].as_u64(), json["findings"][0]["code"].as_str()),
        (Some(4), Some("RSPP0040"))
    );
    let sarif: serde_json::Value = serde_json::from_str(&lint(&["lint", ".", "--sarif"]).stdout).expect("it is JSON");
    let place = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!((sarif["version"].as_str(), place["region"]["startLine"].as_u64()), (Some("2.1.0"), Some(4)));
}

/// The texts of all good specs.
fn good() -> Vec<(PathBuf, String)> {
    let paths = documents(&repository().join("compiler/testdata/good")).expect("the folder is there");
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).expect("it can be read"))).collect()
}

#[test]
fn formatting_is_stable_and_changes_nothing_that_is_said() {
    for (path, text) in good() {
        let name = path.display().to_string();
        let once = format(&name, &text).unwrap_or_else(|error| panic!("{error}"));
        let twice = format(&name, &once).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(once, twice, "{name}");
        assert!(
            text.lines().filter(|line| line.starts_with('#')).all(|line| once.contains(line.trim_end())),
            "{name}: comments stay"
        );
    }
}

/// A pipeline that answers typed text: branches of models between the turn and the voice, brought together again.
fn answering(branches: &[Vec<bool>]) -> String {
    let mut nodes = "  user_turn: {type: user_turn}\n  all: {type: merge}\n  tts: {type: tts, bind: scripted}\n  playout: {type: playout}\n".to_owned();
    let mut edges = "  - all -> tts\n  - tts -> playout\n".to_owned();
    for (branch, cuts) in branches.iter().enumerate() {
        nodes += &format!("  m{branch}: {{type: llm, bind: scripted}}\n");
        edges += &format!("  - user_turn -> m{branch}\n");
        let mut last = format!("m{branch}");
        for (at, filter) in cuts.iter().enumerate() {
            let kind = if *filter { "filter, deny: [never]" } else { "segmenter" };
            nodes += &format!("  b{branch}-{at}: {{type: {kind}}}\n");
            edges += &format!("  - {last} -> b{branch}-{at}\n");
            last = format!("b{branch}-{at}");
        }
        edges += &format!("  - {last} -> all\n");
    }
    format!("kind: PipelineSpec\nname: random\nversion: 1\nnodes:\n{nodes}edges:\n{edges}")
}

/// Two typed turns, the second over the first's answer; models and voices answer in the order in which they are asked.
fn call_of(branches: usize) -> String {
    let models = "    - [{after_ms: 50, text: \"One. Two.\"}, {after_ms: 70, end: success}]\n".repeat(branches * 2);
    let voices = "    - [{after_ms: 20, audio_ms: 400}, {after_ms: 40, end: success}]\n".repeat(branches * 6);
    format!(
        "kind: Scenario\nname: random\nspec: random.yaml\nuntil_ms: 20000\ninputs:\n  \
         - {{at_ms: 100, user_text: \"one\"}}\n  - {{at_ms: 400, user_text: \"two\"}}\nproviders:\n  \
         llm:\n{models}  tts:\n{voices}"
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_graphs_hold_a_short_call_and_keep_the_lifecycle(
        branches in prop::collection::vec(prop::collection::vec(any::<bool>(), 0..4), 1..5),
    ) {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let text = answering(&branches);
        std::fs::write(folder.path().join("random.yaml"), &text).expect("it can be written");
        let scenario = folder.path().join("call.yaml");
        std::fs::write(&scenario, call_of(branches.len())).expect("it can be written");
        let traced = rspp::trace::trace(&scenario, &Registry::new()).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let violations = check(&traced.lines);
        prop_assert!(violations.is_empty(), "{text}\n{violations:?}");
        let opened = traced.lines.iter().filter(|line| line.to_string().contains("turn_open ")).count();
        prop_assert!(opened >= 1, "no turn opened\n{text}");
        prop_assert!(traced.lines.iter().any(|line| line.to_string().contains("output_accepted")), "nothing was said\n{text}");
    }
}
