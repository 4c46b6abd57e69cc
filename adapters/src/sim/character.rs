//! Who a session is: drawn once, and the same in each of its calls.

use std::sync::Arc;

use rspp_specs::plan::{Detector, NodeKind, Plan};
use rspp_specs::time::Micros;

use super::draws::{Concern, Draws, Origin};
use super::fault::{Fault, Faults};
use super::speech::Sound;

/// A pipeline that sessions run, and how many of them.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Its plan.
    pub plan: Arc<Plan>,
    /// Its share of the sessions, against the other weights.
    pub weight: u32,
}

/// How a caller behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Speaks, listens to the end, speaks.
    Talker,
    /// Speaks into answers.
    Interrupter,
    /// Says "uh-huh" into answers.
    Backchanneler,
    /// Speaks into answers, and hangs up when it likes.
    HangerUp,
    /// Says nothing, coughs now and then.
    Silent,
    /// Types, also into answers.
    Typer,
    /// Sends audio faster than it is spoken, and floods of text.
    Flooder,
}

/// How the network between caller and worker behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quality {
    /// Every frame and every acknowledgement comes.
    Acknowledging,
    /// Nothing is acknowledged.
    Unacknowledging,
    /// Frames and acknowledgements get lost, and acknowledgements come twice.
    Lossy,
    /// It stands still for a while, and then everything comes at once.
    Stalling,
    /// It is gone, and perhaps comes back.
    Disconnecting,
    /// The caller switches off, or the device sends nothing for a while; what is sent to it arrives.
    Muting,
}

/// Who a session is.
#[derive(Clone, Debug)]
pub(super) struct Character {
    pub(super) plan: Arc<Plan>,
    pub(super) manner: Manner,
    pub(super) quality: Quality,
    pub(super) sound: Sound,
    /// Whether the pipeline takes the caller's audio.
    pub(super) hears: bool,
    /// When the first call begins.
    pub(super) begins: Micros,
    /// Everything happens at multiples of this. Where many sessions wait on one beat, a tick takes them together.
    pub(super) beat: Micros,
    /// Frames of the synthetic voice.
    pub(super) voice_rate_hz: u32,
    pub(super) voice_frame_ms: u64,
    /// How long frames wait between the core and the transport.
    pub(super) bridge: Micros,
    /// Data that the shell offers to one tick. What is over the core's own bound, the core gives back.
    pub(super) door: usize,
}

/// What the shell offers to one tick of a session whose caller does not flood.
const DOOR: usize = 24;

impl Character {
    /// The first beat at this time or after it.
    pub(super) fn on_the_beat(&self, at: Micros) -> Micros {
        Micros(at.0.next_multiple_of(self.beat.0))
    }

    pub(super) fn draw(seed: u64, session: u32, faults: Faults, pipelines: &[Pipeline]) -> Self {
        let mut draws = Draws::new(Origin { seed, session, call: 0 }, Concern::Character);
        let shares: Vec<(u32, usize)> = pipelines.iter().zip(0..).map(|(of, place)| (of.weight, place)).collect();
        let plan = Arc::clone(&pipelines[draws.weighted(&shares)].plan);
        let hears = plan.find(|kind| matches!(kind, NodeKind::Caller)).is_some();
        let manner = draw_manner(&mut draws, faults, hears);
        let voice_rate_hz = draws.weighted(&[(80, 16_000), (8, 24_000), (6, 8_000), (6, 48_000)]);
        Self {
            manner,
            hears,
            sound: sound_for(&plan),
            plan,
            quality: draw_quality(&mut draws, faults),
            begins: Micros::from_ms(20 * draws.below(100)),
            beat: Micros(draws.weighted(&[(994, 20_000), (3, 1_000), (3, 1)])),
            voice_rate_hz,
            voice_frame_ms: draws.weighted(&[(85, 20), (10, 40), (5, 100)]),
            bridge: Micros::from_ms(draws.weighted(&[(70, 0), (20, 20), (10, 40)])),
            door: if manner == Manner::Flooder { usize::MAX } else { DOOR },
        }
    }
}

/// A detector that knows speech from noise hears nothing in a loud line.
fn sound_for(plan: &Plan) -> Sound {
    let neural = |kind: &NodeKind| matches!(kind, NodeKind::Vad(params) if params.detector == Detector::Earshot);
    if plan.find(neural).is_some() { Sound::Recorded } else { Sound::Loud }
}

fn draw_manner(draws: &mut Draws, faults: Faults, hears: bool) -> Manner {
    use Manner::{Backchanneler, Flooder, HangerUp, Interrupter, Silent, Talker, Typer};
    let floods = if faults.has(Fault::EdgeOverflow) { 6 } else { 0 };
    let manner = [
        (30, Talker),
        (25, Interrupter),
        (15, Backchanneler),
        (8, HangerUp),
        (6, Silent),
        (10, Typer),
        (floods, Flooder),
    ];
    let manner = draws.weighted(&manner);
    if hears || manner == Flooder { manner } else { Typer }
}

fn draw_quality(draws: &mut Draws, faults: Faults) -> Quality {
    use Quality::{Acknowledging, Disconnecting, Lossy, Muting, Stalling, Unacknowledging};
    let bad = if faults.has(Fault::TransportLoss) { 20 } else { 0 };
    let qualities = [
        (60, Acknowledging),
        (15, Unacknowledging),
        (bad, Lossy),
        (bad, Stalling),
        (bad, Disconnecting),
        (bad / 2, Muting),
    ];
    draws.weighted(&qualities)
}
