//! `rspp run`: a call from a WAV file, through a pipeline, into a WAV file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rspp_adapters::audio::{AudioError, CALL_RATE_HZ, CallAudio, read_call, write_stereo};
use rspp_adapters::call::{Call, CallError, Pace, Providers, hold, open};
use rspp_adapters::interrupt::Interrupt;
use rspp_adapters::opener::Opener;
use rspp_adapters::provider::ProviderError;
use rspp_adapters::recording::{Recorder, RecordingError, RecordingFile};
use rspp_compiler::Registry;
use rspp_specs::plan::{NodeKind, Plan, RecordingLevel};
use rspp_specs::timeline::{Record, SessionOpen};

use crate::account::caller_words;
use crate::spec::Over;
use crate::summary::Summary;
use crate::trace::{TraceError, read_plan_under};

/// What to run.
#[derive(Clone, Debug)]
pub struct Run {
    /// The pipeline.
    pub spec: PathBuf,
    /// What is laid over it, and which nodes are bound to other providers than it says.
    pub over: Over,
    /// The caller's side.
    pub input: PathBuf,
    /// Where the call goes: the caller left, the agent right.
    pub output: PathBuf,
    /// Where the recording goes, if one is wanted.
    pub record: Option<PathBuf>,
    /// At which level, where it is not the spec that says so.
    pub record_level: Option<RecordingLevel>,
    /// By the clock on the wall.
    pub realtime: bool,
}

/// Why a call could not be held.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The spec.
    #[error(transparent)]
    Spec(#[from] TraceError),
    /// The caller's side.
    #[error(transparent)]
    Input(AudioError),
    /// A provider's binding, or a file that it needs.
    #[error(transparent)]
    Binding(ProviderError),
    /// The call broke.
    #[error(transparent)]
    Call(CallError),
    /// The result has no place.
    #[error("{path} can't be written: check that its folder exists")]
    Folder {
        /// The output.
        path: PathBuf,
    },
    /// The result can't be written.
    #[error(transparent)]
    Output(AudioError),
    /// It was told to end, and an engine did not answer in time.
    #[error(
        "stopped in the middle of an answer: an engine did not end it in time; what was recorded is good up to there"
    )]
    Interrupted {
        /// By this signal.
        signal: i32,
    },
    /// The recording can't be written.
    #[error(transparent)]
    Recording(#[from] RecordingError),
}

impl RunError {
    /// 2 for wrong usage or input, 1 for what ran and failed; for what was told to end, as shells have it.
    pub fn exit_code(&self) -> u8 {
        let provider = match self {
            RunError::Spec(_) | RunError::Input(_) => return 2,
            RunError::Binding(error) | RunError::Call(CallError::Open { error, .. }) => error,
            RunError::Interrupted { signal } => return rspp_adapters::interrupt::exit_code(*signal),
            RunError::Call(_) | RunError::Folder { .. } | RunError::Output(_) | RunError::Recording(_) => return 1,
        };
        if provider.is_wrong_usage() { 2 } else { 1 }
    }
}

/// A call that was held.
pub struct Held {
    /// What it came to.
    pub summary: Summary,
    /// What was done to the caller's side so that it fits.
    pub notes: Vec<String>,
    /// The signal that ended it before its time, if one did.
    pub interrupted_by: Option<i32>,
}

/// Holds a call.
///
/// # Errors
/// Says what, where and what to do; nothing half-written is left at the output's path. The recording of a call that
/// broke is kept, as far as it goes.
pub fn run(options: &Run, registry: &Registry, interrupt: &Interrupt) -> Result<Held, RunError> {
    let plan = read_plan_under(&options.spec, &options.over, registry)?;
    let call = read_call(&options.input).map_err(RunError::Input)?;
    check_folder(&options.output)?;
    let folder = options.spec.parent().unwrap_or(Path::new(""));
    let mut opener = Opener::new(folder, dialogue_of(&plan).as_deref()).map_err(RunError::Binding)?;
    let mut providers = open(&plan, &mut opener).map_err(RunError::Call)?;
    providers.on_note(|note| eprintln!("note: {note}"));
    let session = options.input.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let pace = if options.realtime { Pace::RealTime } else { Pace::Virtual };
    let files = Files { answer: &options.output, recording: options.record.as_deref() };
    Ready { plan, session, audio: call, providers, pace, recording: options.record_level }.hold(
        &files,
        registry,
        interrupt,
        |_| {},
    )
}

/// A call of which everything is there.
pub(crate) struct Ready {
    pub(crate) plan: Arc<Plan>,
    pub(crate) session: String,
    pub(crate) audio: CallAudio,
    pub(crate) providers: Providers,
    pub(crate) pace: Pace,
    /// At which level it is recorded, where it is not the plan that says so.
    pub(crate) recording: Option<RecordingLevel>,
}

/// Where a call goes.
pub(crate) struct Files<'a> {
    pub(crate) answer: &'a Path,
    pub(crate) recording: Option<&'a Path>,
}

impl Ready {
    /// Holds the call; `on_tick` sees what each tick wrote, when it is in the recording.
    pub(crate) fn hold(
        self,
        files: &Files<'_>,
        registry: &Registry,
        interrupt: &Interrupt,
        mut on_tick: impl FnMut(&[Record]),
    ) -> Result<Held, RunError> {
        let Self { plan, session, audio, providers, pace, recording } = self;
        let open = SessionOpen { recording, ..SessionOpen::new(&*session, Arc::clone(&plan)) };
        let file = files.recording.map(|path| RecordingFile::create(path, Recorder::head(&open)));
        let mut held = Recorded { summary: Summary::default(), file: file.transpose()?, unwritten: None };
        let _ending = interrupt.ending();
        let mut core = crate::core(registry.clone());
        let call = Call { session: &session, audio: &audio, pace, interrupt, recording };
        let result = hold(&mut core, &plan, &call, providers, |records, _| {
            held.take(records);
            on_tick(records);
        });
        let Recorded { mut summary, file, unwritten } = held;
        match (file, result.is_ok() && unwritten.is_none()) {
            (Some(file), true) => file.finish()?,
            (Some(file), false) => file.abandon()?,
            (None, _) => {}
        }
        if let Some(error) = unwritten {
            return Err(error.into());
        }
        let result = match (result, interrupt.signal()) {
            (Err(_), Some(signal)) => return Err(RunError::Interrupted { signal }),
            (result, _) => result.map_err(RunError::Call)?,
        };
        summary.counts.fenced += result.fenced_frames;
        write_stereo(files.answer, &result.caller, &result.agent, CALL_RATE_HZ).map_err(RunError::Output)?;
        Ok(Held { summary, notes: audio.notes, interrupted_by: interrupt.signal() })
    }
}

/// What a call leaves while it is held.
struct Recorded {
    summary: Summary,
    file: Option<RecordingFile>,
    unwritten: Option<RecordingError>,
}

impl Recorded {
    /// What a tick wrote is in the file before any of its effects leaves.
    fn take(&mut self, records: &[Record]) {
        self.summary.take(records);
        if let (Some(file), None) = (&mut self.file, &self.unwritten) {
            self.unwritten = file.append_as_declared(records).err();
        }
    }
}

/// Better now than after an hour's call.
fn check_folder(output: &Path) -> Result<(), RunError> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() { Ok(()) } else { Err(RunError::Folder { path: output.to_owned() }) }
}

/// What the pipeline's model is bound to.
pub(crate) fn dialogue_of(plan: &Plan) -> Option<String> {
    let models = plan.nodes().iter().filter(|node| matches!(node.kind, NodeKind::Llm { .. }));
    let bindings: Vec<&str> = models
        .flat_map(|node| node.kind.binding().into_iter().chain(node.provider.fallback.iter().map(String::as_str)))
        .collect();
    let scripted = bindings.iter().find(|binding| binding.starts_with("dialogue:"));
    scripted.or(bindings.first()).map(|binding| (*binding).to_owned())
}

/// What a call came to, in words.
pub fn describe(held: &Held, options: &Run) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for note in &held.notes {
        let _ = writeln!(text, "note: {note}");
    }
    for turn in &held.summary.turns {
        let _ = writeln!(text, "turn {}: caller: {}", turn.turn, caller_words(&turn.user_text, turn.unasked));
        let first = match turn.first_audio_ms {
            Some(ms) => format!("after {ms} ms"),
            None if turn.unasked => "unasked".to_owned(),
            None => "no audio".to_owned(),
        };
        let _ = writeln!(text, "        agent ({first}): {}", turn.agent_text);
        if turn.heard_text != turn.agent_text {
            let _ = writeln!(text, "        heard: {}", turn.heard_text);
        }
        let reason = turn.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
        let _ = writeln!(text, "        {}{reason}", turn.terminal);
    }
    let counts = held.summary.counts;
    let _ = writeln!(
        text,
        "{} frames in, {} out, {} fenced, {} dropped; the call is in {}",
        counts.frames_in,
        counts.frames_out,
        counts.fenced,
        counts.drops,
        options.output.display()
    );
    if let Some(record) = &options.record {
        let _ = writeln!(text, "recorded; try: rspp replay {}", record.display());
    }
    text
}
