//! A short call in virtual time without any engine: captions in, the scripted responder's answer, tones out.

use std::sync::Arc;
use std::time::Instant;

use rspp_adapters::audio::{CALL_RATE_HZ, CallAudio};
use rspp_adapters::call::{Call, Pace, hold as hold_call, open};
use rspp_adapters::dialogue::RESTAURANT;
use rspp_adapters::interrupt::Interrupt;
use rspp_adapters::opener::Opener;
use rspp_compiler::{Registry, compile};

use crate::summary::Summary;

const SPEC: &str = "kind: PipelineSpec\nname: trial\nversion: 1\ntemplate: voice-assistant\n\
                    bind: {stt: 'captions:captions.yaml', llm: 'dialogue:dialogue.yaml', tts: 'tone:'}\n\
                    nodes: {vad: {type: vad, detector: energy}}\n";
const QUESTION: &str = "when do you open on monday";
/// When it is asked, in milliseconds of the call.
const ASKED: (usize, usize) = (400, 1_400);

/// Holds it; gives what it came to, or why it is not what it should be.
pub(super) fn hold() -> Result<String, String> {
    let started = Instant::now();
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let captions =
        format!("kind: Captions\ncaptions:\n  - {{from_ms: {}, to_ms: {}, words: {QUESTION}}}\n", ASKED.0, ASKED.1);
    for (name, text) in [("captions.yaml", captions.as_str()), ("dialogue.yaml", RESTAURANT)] {
        std::fs::write(folder.path().join(name), text).map_err(|error| error.to_string())?;
    }
    let plan = Arc::new(compile("trial", SPEC, &Registry::new()).map_err(|error| error.to_string())?);
    let opener = Opener::new(folder.path(), Some("dialogue:dialogue.yaml"));
    let mut opener = opener.map_err(|error| error.to_string())?;
    let providers = open(&plan, &mut opener).map_err(|error| error.to_string())?;
    let mut summary = Summary::default();
    let mut core = crate::core(Registry::new());
    let (audio, interrupt) = (caller(), Interrupt::default());
    let call = Call { session: "trial", audio: &audio, pace: Pace::Virtual, interrupt: &interrupt, recording: None };
    let held = hold_call(&mut core, &plan, &call, providers, |records, _| summary.take(records));
    held.map_err(|error| error.to_string())?;
    match summary.turns.as_slice() {
        [turn] if turn.user_text == QUESTION && turn.terminal == "commit" && turn.heard_text == turn.agent_text => {
            let (frames, ms) = (summary.counts.frames_in, started.elapsed().as_millis());
            Ok(format!("{:.1} s of call in {ms} ms, one question answered", frames as f64 / 50.0))
        }
        turns => Err(format!("a call of one question came to {} turns: {turns:?}", turns.len())),
    }
}

/// A caller who hums where the question is asked: the words are in the captions.
fn caller() -> CallAudio {
    let at_ms = |ms: usize| ms * CALL_RATE_HZ as usize / 1_000;
    let hum = |at: usize| if (at / 40).is_multiple_of(2) { 3_000 } else { -3_000 };
    let sample = |at: usize| if (at_ms(ASKED.0)..at_ms(ASKED.1)).contains(&at) { hum(at) } else { 0 };
    CallAudio { samples: (0..at_ms(ASKED.1 + 600)).map(sample).collect(), notes: Vec::new() }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_trial_call_goes_well() {
        let said = super::hold().expect("nothing but this program is needed");
        assert!(said.ends_with("one question answered"), "{said}");
    }
}
