//! Bad specs and what is said of them: one file each in `findings`, with the expected text behind it in a comment.
//! `RSPP_UPDATE_GOLDEN=1 cargo test -p rspp-compiler --test findings` writes the comments anew; read them.

use std::path::Path;

use rspp_compiler::{Registry, compile};

const MARK: &str = "# findings:\n";

#[test]
fn every_bad_spec_gets_its_findings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/findings");
    let mut judged = 0;
    for entry in std::fs::read_dir(folder).expect("the folder is part of the repository") {
        let path = entry.expect("the folder can be read").path();
        let text = std::fs::read_to_string(&path).expect("the file can be read");
        let (spec, expected) = text.split_once(MARK).unwrap_or((&text, ""));
        let found = match compile("spec.yaml", spec, &Registry::new()) {
            Ok(_) => panic!("{} has nothing wrong with it", path.display()),
            Err(findings) => findings.to_string().lines().map(|line| format!("# {line}\n")).collect::<String>(),
        };
        if std::env::var_os("RSPP_UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, format!("{spec}{MARK}{found}")).expect("the file can be written");
        } else {
            assert_eq!(found, expected, "{}", path.display());
        }
        judged += 1;
    }
    assert!(judged > 0);
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
