//! A call as the tests of `rspp run` see it: the program, the caller's side, and what a call left behind.

mod heard;
mod program;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rspp::adapters::recording::Recording;
use serde_json::Value;

pub(crate) use heard::check_cancelled_turns;
pub(crate) use program::rspp;

pub(crate) const RATE_HZ: u32 = 16_000;

/// The repository, where the bundled engines are looked for.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn silence(ms: usize) -> Vec<i16> {
    vec![0; ms * RATE_HZ as usize / 1_000]
}

pub(crate) fn write_caller(path: &Path, samples: &[i16]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE_HZ,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).expect("the folder is there");
    samples.iter().for_each(|sample| writer.write_sample(*sample).expect("there is room"));
    writer.finalize().expect("there is room");
}

/// A call that was held.
pub(crate) struct Call {
    pub(crate) json: String,
    pub(crate) answer: PathBuf,
    pub(crate) recording: PathBuf,
}

impl Call {
    /// Holds a call, which must succeed; what it leaves goes into `folder`.
    pub(crate) fn hold(spec: &Path, input: &Path, folder: &Path, options: &[&str]) -> Self {
        std::fs::create_dir_all(folder).expect("a folder can be made");
        let (answer, recording) = (folder.join("answer.wav"), folder.join("call.rspp"));
        let mut args: Vec<&OsStr> = ["run", "--json"].map(AsRef::as_ref).to_vec();
        args.push(spec.as_ref());
        for (option, path) in [("--input", input), ("--output", &answer), ("--record", &recording)] {
            args.extend([option.as_ref(), path.as_os_str()]);
        }
        args.extend(options.iter().map(OsStr::new));
        let ran = rspp(repository(), &args);
        assert_eq!(ran.code, Some(0), "{}: {}", input.display(), ran.stderr);
        assert_eq!(ran.stderr, "", "a call that went well has nothing to complain about");
        Self { json: ran.stdout, answer, recording }
    }

    /// The one object that `--json` prints.
    pub(crate) fn report(&self) -> Value {
        serde_json::from_str(&self.json).unwrap_or_else(|error| panic!("{error}: {}", self.json))
    }

    pub(crate) fn turns(&self) -> Vec<Turn> {
        let report = self.report();
        let turns = report["turns"].as_array().unwrap_or_else(|| panic!("no list of turns: {}", self.json));
        turns.iter().map(|turn| serde_json::from_value(turn.clone()).expect("a turn has its fields")).collect()
    }

    pub(crate) fn recorded(&self) -> Recording {
        Recording::open(&self.recording).unwrap_or_else(|error| panic!("{}: {error}", self.recording.display()))
    }

    /// What the caller heard: the right channel.
    pub(crate) fn heard(&self) -> Vec<i16> {
        let mut reader = hound::WavReader::open(&self.answer).expect("the call was written");
        let spec = reader.spec();
        assert_eq!((spec.channels, spec.sample_rate, spec.bits_per_sample), (2, RATE_HZ, 16));
        reader.samples::<i16>().skip(1).step_by(2).map(|sample| sample.expect("the file is whole")).collect()
    }

    /// Every byte of what a call leaves.
    pub(crate) fn bytes(&self) -> [Vec<u8>; 3] {
        let read = |path: &Path| std::fs::read(path).expect("the call left it");
        [self.json.clone().into_bytes(), read(&self.answer), read(&self.recording)]
    }

    /// Replays the recording, which must go the same way.
    pub(crate) fn check_replay(&self) {
        let ran = rspp(repository(), &[OsStr::new("replay"), self.recording.as_os_str()]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        assert!(ran.stdout.starts_with("identical"), "{}", ran.stdout);
    }
}

/// One turn of `--json`: these fields and no other.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Turn {
    pub(crate) turn: u32,
    pub(crate) terminal: String,
    pub(crate) reason: Option<String>,
    pub(crate) user_text: String,
    pub(crate) agent_text: String,
    pub(crate) heard_text: String,
    pub(crate) first_audio_ms: Option<f64>,
    pub(crate) cancelled_at_ms: Option<f64>,
}

impl Turn {
    /// The turn was committed, and the caller heard all of it.
    pub(crate) fn check_heard_out(&self) {
        assert_eq!((self.terminal.as_str(), &self.reason, self.cancelled_at_ms), ("commit", &None, None), "{self:?}");
        assert_eq!(self.heard_text, self.agent_text, "turn {}", self.turn);
        assert!(self.first_audio_ms.is_some_and(|ms| ms > 0.0), "{self:?}");
    }

    /// The turn was cut short by the caller, and what was heard of it ends with a whole word.
    pub(crate) fn check_cut(&self) {
        assert_eq!((self.terminal.as_str(), self.reason.as_deref()), ("abort", Some("barge_in")), "{self:?}");
        assert!(self.cancelled_at_ms.is_some(), "{self:?}");
        assert!(!self.heard_text.is_empty(), "the caller heard something: {self:?}");
        let unheard = self.agent_text.strip_prefix(&self.heard_text);
        let unheard = unheard.unwrap_or_else(|| panic!("what was heard begins what was said: {self:?}"));
        assert!(unheard.starts_with(' ') && unheard.trim().len() > 1, "whole words, and not all of them: {self:?}");
    }
}
