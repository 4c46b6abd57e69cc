//! A scenario: a call as data. What the caller does, what providers answer and when; run headless, in virtual time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rspp_engine::{Core, View};
use rspp_specs::admission::{AdmissionSnapshot, ConnectionState};
use rspp_specs::event::{AudioFrame, Talk};
use rspp_specs::ids::{InvocationId, LeaseEpoch, NodeIndex};
use rspp_specs::limits::{FRAME_MS, MAX_SPEC_BYTES};
use rspp_specs::outcome::{CancelReason, Cancellation};
use rspp_specs::plan::Plan;
use rspp_specs::recording::RecorderReport;
use rspp_specs::time::{Micros, WallReading};
use rspp_specs::timeline::{Input, Observation, Prompt, Record, Resume, SessionOpen, Takeover};
use serde::Deserialize;

use crate::drive::{Schedule, VirtualClock, run};
use crate::input_file::{InputFileError, read_text};
use crate::scripted::{Script, ScriptError, ScriptedPeers};
use crate::transport::TransportTimes;

/// A scenario document.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// `Scenario`.
    pub kind: String,
    /// For people.
    pub name: String,
    /// The pipeline, as a path beside the scenario.
    pub spec: PathBuf,
    /// When it is over.
    pub until_ms: u64,
    /// Where the session goes on.
    #[serde(default)]
    pub resume: Resume,
    /// The caller's audio.
    #[serde(default)]
    pub caller: Caller,
    /// What else comes in from outside.
    #[serde(default)]
    pub inputs: Vec<ScenarioInput>,
    /// Scripts of `stt`, `llm`, `tts` and of tools by name, in the order of invocation.
    #[serde(default)]
    pub providers: BTreeMap<String, Vec<Script>>,
    /// The transport's times.
    #[serde(default = "scripted_transport")]
    pub transport: TransportTimes,
}

fn scripted_transport() -> TransportTimes {
    TransportTimes::SCRIPTED
}

/// The caller's audio: loud where there is speech, silent elsewhere.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// From here on there is no more audio at all.
    #[serde(default)]
    pub until_ms: u64,
    /// Speech, as [from, to) in session time.
    #[serde(default)]
    pub speech_ms: Vec<(u64, u64)>,
    /// Where nothing comes at all, as [from, to) in session time.
    #[serde(default)]
    pub silent_line_ms: Vec<(u64, u64)>,
}

/// Something that comes in from outside: exactly one of the fields beside `at_ms`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioInput {
    /// In session time.
    pub at_ms: u64,
    /// The caller types.
    #[serde(default)]
    pub user_text: Option<String>,
    /// The agent is to speak unasked.
    #[serde(default)]
    pub prompt: Option<Prompt>,
    /// The turn is to be cancelled, at once.
    #[serde(default)]
    pub cancel: Option<CancelReason>,
    /// Something is to be cancelled, in whatever way.
    #[serde(default)]
    pub cancellation: Option<Cancellation>,
    /// The caller's button.
    #[serde(default)]
    pub talk: Option<Talk>,
    /// A detector outside saw something.
    #[serde(default)]
    pub observed: Option<Observation>,
    /// Another writer holds the lease.
    #[serde(default)]
    pub authority_revoked: bool,
    /// The caller is gone.
    #[serde(default)]
    pub transport_lost: bool,
    /// The session is to end.
    #[serde(default)]
    pub session_end: bool,
    /// The session is to end when its turn has.
    #[serde(default)]
    pub session_drain: bool,
    /// How the caller is connected from now on.
    #[serde(default)]
    pub connection: Option<ConnectionState>,
    /// What there is for new turns.
    #[serde(default)]
    pub admission: Option<AdmissionSnapshot>,
    /// The lease's new epoch.
    #[serde(default)]
    pub lease_rotated: Option<LeaseEpoch>,
    /// Somebody types under this epoch, which is not the session's.
    #[serde(default)]
    pub stale_epoch: Option<LeaseEpoch>,
    /// What others have found out about a provider.
    #[serde(default)]
    pub provider_health: Option<Health>,
    /// The worker has no room for this invocation.
    #[serde(default)]
    pub dispatch_refused: Option<InvocationId>,
    /// Another worker goes on with the session.
    #[serde(default)]
    pub takeover: Option<Takeover>,
    /// The recorder fares better or worse, or somebody asks something of it.
    #[serde(default)]
    pub recorder: Option<RecorderReport>,
    /// A node has computed for long.
    #[serde(default)]
    pub node_overrun: Option<Overrun>,
    /// The clock on the wall says so many milliseconds since 1970.
    #[serde(default)]
    pub wall_clock_ms: Option<u64>,
}

/// A node has computed for long.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overrun {
    /// Which, by its index in the plan.
    pub node: NodeIndex,
    /// How long.
    pub took_ms: u64,
}

/// What others have found out about a provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Which, by its binding.
    pub binding: String,
    /// Whether it is fit to be called.
    pub healthy: bool,
}

/// Why a scenario can't be read or run.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file can't be read.
    #[error(transparent)]
    File(#[from] InputFileError),
    /// The document can't be read.
    #[error("{path}: {message}")]
    Document {
        /// Which.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// An input that says nothing, or too much.
    #[error(
        "the input at {at_ms} ms needs exactly one of user_text, cancel, cancellation, talk, observed, authority_revoked, transport_lost, \
         session_end, session_drain, connection, admission, lease_rotated, stale_epoch, provider_health, dispatch_refused, takeover, \
         recorder, node_overrun, wall_clock_ms"
    )]
    Input {
        /// When it was to come in.
        at_ms: u64,
    },
    /// A script ran out.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The worker has no room for a session.
    #[error("the worker is full")]
    Full,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// Names the file and the place in it.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let text = read_text(path, "a scenario")?;
        let fail = |message: String| ScenarioError::Document { path: path.to_owned(), message };
        if text.len() > MAX_SPEC_BYTES {
            return Err(fail(format!("larger than {MAX_SPEC_BYTES} bytes")));
        }
        let scenario: Scenario = serde_saphyr::from_str(&text).map_err(|error| fail(error.to_string()))?;
        if scenario.kind != "Scenario" {
            return Err(fail(format!("kind is {}, not Scenario", scenario.kind)));
        }
        Ok(scenario)
    }

    /// Where the pipeline's spec is, given where the scenario is.
    pub fn spec_path(&self, scenario: &Path) -> PathBuf {
        scenario.parent().unwrap_or(Path::new("")).join(&self.spec)
    }

    /// Everything that comes in from outside, at its time.
    ///
    /// # Errors
    /// Names an input that says nothing, or too much.
    pub fn schedule(&self, plan: &Arc<Plan>) -> Result<Schedule, ScenarioError> {
        let mut schedule = Schedule::default();
        let open =
            SessionOpen { resume: self.resume.clone(), ..SessionOpen::new(self.name.as_str(), Arc::clone(plan)) };
        schedule.put(Micros(0), Input::SessionOpen(Box::new(open)));
        for input in &self.inputs {
            schedule.put(Micros::from_ms(input.at_ms), input.input()?);
        }
        for end_ms in (1..=self.caller.until_ms / FRAME_MS).map(|frame| frame * FRAME_MS) {
            let starts = end_ms - FRAME_MS;
            if self.caller.silent_line_ms.iter().any(|(from, to)| (*from..*to).contains(&starts)) {
                continue;
            }
            let speaks = self.caller.speech_ms.iter().any(|(from, to)| (*from..*to).contains(&starts));
            let level: i16 = if speaks { 4_000 } else { 0 };
            let samples = (0..16 * FRAME_MS).map(|sample| if sample % 2 == 0 { level } else { -level }).collect();
            let frame = AudioFrame { samples, rate_hz: 16_000, spoken_by: None };
            schedule.put(Micros::from_ms(end_ms), Input::CallerAudio(frame));
        }
        Ok(schedule)
    }

    /// Runs the scenario; `on_tick` sees what each tick wrote.
    ///
    /// # Errors
    /// A script that ran out, or an input that makes no sense.
    pub fn run(
        &self,
        core: &mut Core,
        plan: &Arc<Plan>,
        on_tick: impl FnMut(&[Record], Option<&View>),
    ) -> Result<(), ScenarioError> {
        let mut schedule = self.schedule(plan)?;
        let mut peers = ScriptedPeers::new(self.providers.clone(), self.transport);
        let slot = core.reserve().ok_or(ScenarioError::Full)?;
        let until = Micros::from_ms(self.until_ms);
        run(core, slot, &mut schedule, &mut peers, &mut VirtualClock::default(), until, on_tick)?;
        Ok(())
    }
}

impl ScenarioInput {
    fn input(&self) -> Result<Input, ScenarioError> {
        let mut inputs = Vec::new();
        inputs.extend(self.user_text.as_deref().map(|text| Input::UserText(text.into())));
        inputs.extend(self.prompt.clone().map(Input::Prompt));
        inputs.extend(self.cancel.map(Cancellation::of_turn).map(Input::Cancel));
        inputs.extend(self.cancellation.map(Input::Cancel));
        inputs.extend(self.talk.map(Input::Talk));
        inputs.extend(self.observed.map(Input::Observed));
        inputs.extend(self.authority_revoked.then_some(Input::AuthorityRevoked));
        inputs.extend(self.transport_lost.then_some(Input::TransportLost));
        inputs.extend(self.session_end.then_some(Input::SessionEnd));
        inputs.extend(self.session_drain.then_some(Input::SessionDrain));
        inputs.extend(self.connection.map(Input::Connection));
        inputs.extend(self.admission.map(Input::Admission));
        inputs.extend(self.lease_rotated.map(Input::LeaseRotated));
        inputs.extend(self.stale_epoch.map(|epoch| Input::StaleEpoch { epoch, input: "user_text".into() }));
        inputs.extend(
            self.provider_health.as_ref().map(|health| Input::ProviderHealth {
                binding: health.binding.as_str().into(),
                healthy: health.healthy,
            }),
        );
        inputs.extend(self.dispatch_refused.map(Input::DispatchRefused));
        inputs.extend(self.takeover.clone().map(Input::Takeover));
        inputs.extend(self.recorder.map(Input::Recorder));
        let overrun = |Overrun { node, took_ms }| Input::NodeOverrun { node, took: Micros::from_ms(took_ms) };
        inputs.extend(self.node_overrun.map(overrun));
        let at = Micros::from_ms(self.at_ms);
        inputs.extend(self.wall_clock_ms.map(|ms| Input::WallClock(WallReading { unix_us: ms * 1_000, at })));
        match (inputs.pop(), inputs.is_empty()) {
            (Some(input), true) => Ok(input),
            _ => Err(ScenarioError::Input { at_ms: self.at_ms }),
        }
    }
}
