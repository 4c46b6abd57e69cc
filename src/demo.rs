//! `rspp demo`: a bundled call with three questions and one interruption, held with the best engines that can be had
//! here. The pipeline, the dialogue and the caller's side are in the program, so that it runs from any folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rspp_adapters::audio::read_call;
use rspp_adapters::call::{Pace, open};
use rspp_adapters::engines::{Found, Machine, choose};
use rspp_adapters::interrupt::Interrupt;
use rspp_adapters::loudspeaker::{Loudspeaker, NoSound};
use rspp_adapters::opener::Opener;
use rspp_adapters::orphans::Passing;
use rspp_adapters::provider::Kind;
use rspp_compiler::{Registry, compile_bound};
use rspp_specs::plan::{Plan, RecordingLevel};
use rspp_specs::timeline::Record;
use serde::Serialize;

use crate::run::{Files, Held, Ready, RunError, dialogue_of};

const SPEC: &str = "pipelines/voice-assistant.yaml";
const CALLER: &str = "examples/restaurant.caller.wav";
const CAPTIONS: &str = "../examples/restaurant.captions.yaml";
/// What the call needs, where it lies in `specs`.
const BUNDLED: [(&str, &[u8]); 4] = [
    (SPEC, include_bytes!("../specs/pipelines/voice-assistant.yaml")),
    ("examples/restaurant.dialogue.yaml", include_bytes!("../specs/examples/restaurant.dialogue.yaml")),
    ("examples/restaurant.captions.yaml", include_bytes!("../specs/examples/restaurant.captions.yaml")),
    (CALLER, include_bytes!("../specs/examples/restaurant.caller.wav")),
];
/// Its name in the recording.
const SESSION: &str = "demo";

/// How to hold the demo.
#[derive(Clone, Debug)]
pub struct Demo {
    /// The folder that `answer.wav` and `call.rspp` go to; it is made if it is not there.
    pub output: PathBuf,
    /// In virtual time, and silent.
    pub fast: bool,
    /// Out loud, if it can be.
    pub sound: bool,
}

/// A demo of which everything is there.
pub struct Prepared {
    ready: Ready,
    /// Where the call goes.
    pub answer: PathBuf,
    /// Where its recording goes.
    pub recording: PathBuf,
    /// What it is heard through, or why it is not; nothing if nobody wants to hear it.
    pub sound: Option<Result<Loudspeaker, NoSound>>,
    /// The bundled files, as long as the call runs.
    _folder: (Passing, tempfile::TempDir),
}

/// What holds the demo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Engines {
    /// What the recogniser is bound to.
    pub stt: String,
    /// What the voice is bound to.
    pub tts: String,
    /// What was chosen and why, and what could not be had: a sentence each.
    pub notes: Vec<String>,
    /// What stands in for an engine that could not be had.
    pub warning: Option<String>,
}

impl Engines {
    /// The best of this machine. If there is no recogniser or no voice, `install` may get them first: it is given the
    /// machine, and says what came of it. What still is not there is stood in for by captions, and by tones.
    pub fn here(mut install: impl FnMut(&Machine) -> Vec<String>) -> Self {
        let machine = Machine::this();
        let mut found = Found::on(&machine);
        let mut notes = Vec::new();
        if [Kind::Recogniser, Kind::Voice].iter().any(|kind| found.working(*kind).next().is_none()) {
            notes = install(&machine);
            found = Found::on(&machine);
        }
        let chosen = choose(&found, Some(CAPTIONS));
        notes.extend(chosen.notes);
        let stt = chosen.stt.unwrap_or_else(|| format!("captions:{CAPTIONS}"));
        Self { stt, tts: chosen.tts, notes, warning: chosen.warning }
    }
}

impl Demo {
    /// Opens the engines that were chosen.
    ///
    /// # Errors
    /// An engine that does not start, or a folder that can't be written to.
    pub fn prepare(&self, engines: &Engines, registry: &Registry) -> Result<Prepared, RunError> {
        let unwritable = |path: &Path| RunError::Folder { path: path.to_owned() };
        std::fs::create_dir_all(&self.output).map_err(|_| unwritable(&self.output))?;
        let made = tempfile::Builder::new().prefix("rspp-demo-").tempdir();
        let made = made.map_err(|_| unwritable(&std::env::temp_dir()))?;
        let passing = Passing::new(made.path());
        for (name, bytes) in BUNDLED {
            let path = made.path().join(name);
            let written =
                path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, bytes));
            written.map_err(|_| unwritable(&path))?;
        }
        let plan = plan(engines, registry)?;
        let folder = made.path().join("pipelines");
        let mut opener = Opener::new(&folder, dialogue_of(&plan).as_deref()).map_err(RunError::Binding)?;
        let providers = open(&plan, &mut opener).map_err(RunError::Call)?;
        let audio = read_call(made.path().join(CALLER)).map_err(RunError::Input)?;
        let pace = if self.fast { Pace::Virtual } else { Pace::RealTime };
        Ok(Prepared {
            ready: Ready {
                plan,
                session: SESSION.to_owned(),
                audio,
                providers,
                pace,
                recording: Some(RecordingLevel::L2),
            },
            answer: self.output.join("answer.wav"),
            recording: self.output.join("call.rspp"),
            sound: (self.sound && !self.fast).then(Loudspeaker::open),
            _folder: (passing, made),
        })
    }
}

/// The bundled pipeline with these engines.
fn plan(engines: &Engines, registry: &Registry) -> Result<Arc<Plan>, RunError> {
    let text = std::str::from_utf8(BUNDLED[0].1).unwrap_or_default();
    let bindings = [("stt".to_owned(), engines.stt.clone()), ("tts".to_owned(), engines.tts.clone())].into();
    let plan = compile_bound(&format!("specs/{SPEC}"), text, &bindings, registry);
    Ok(Arc::new(plan.map_err(crate::trace::TraceError::from)?))
}

impl Prepared {
    /// How long the caller's side is.
    pub fn seconds(&self) -> u64 {
        self.ready.audio.samples.len() as u64 / u64::from(rspp_adapters::audio::CALL_RATE_HZ)
    }

    /// Holds the call. `on_tick` sees what each tick wrote.
    ///
    /// # Errors
    /// As [`run`](crate::run::run).
    pub fn hold(
        self,
        registry: &Registry,
        interrupt: &Interrupt,
        mut on_tick: impl FnMut(&[Record]),
    ) -> Result<Held, RunError> {
        let Self { ready, answer, recording, sound, .. } = self;
        let mut sound = sound.and_then(Result::ok);
        let files = Files { answer: &answer, recording: Some(&recording) };
        let held = ready.hold(&files, registry, interrupt, |records| {
            if let Some(sound) = &mut sound {
                sound.take(records);
            }
            on_tick(records);
        })?;
        if let Some(sound) = sound.filter(|_| held.interrupted_by.is_none()) {
            sound.finish(&answer);
        }
        Ok(held)
    }
}
