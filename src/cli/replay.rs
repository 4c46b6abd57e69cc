//! `rspp replay`.

use std::io::{BufRead, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use rspp_adapters::again::Decisions;
use rspp_adapters::audio::{CALL_RATE_HZ, write_stereo};
use rspp_adapters::interrupt::Interrupt;
use rspp_adapters::recording::{Recording, RecordingFile, head};
use rspp_compiler::Registry;
use rspp_specs::time::Micros;
use rspp_specs::timeline::Record;

use super::corpus;
use super::diff::{TOLERANCE_MS, write};
use super::outcome::{Failure, Outcome};
use super::over::node_and_binding;
use super::recorded::{good, told, whole};
use super::run::json_of;
use crate::diff::{Call, Options, Report};
use crate::drawing::Live;
use crate::playback::sound;
use crate::replay::{
    Anew, AnewError, Cursor, Decided, Held, Mode, Place, SeekError, Step, Verdict, check_inputs, plan_of, verdict,
};
use crate::screen::Screen;

/// Replay a recorded call and compare all that comes out; or hold it anew, by another pipeline or with other providers.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Replay {
    /// The recording.
    #[arg(required_unless_present = "dir", conflicts_with = "dir")]
    recording: Option<PathBuf>,
    /// Who answers for the providers.
    #[arg(long, value_enum, default_value_t = Answers::Playback)]
    mode: Answers,
    /// What becomes of quotas, refusals, leases and what others had found out about providers.
    #[arg(long, value_enum, default_value_t = Deciders::Recorded)]
    decisions: Deciders,
    /// Hold the call by this pipeline instead of the recorded one.
    #[arg(long, value_name = "SPEC")]
    against: Option<PathBuf>,
    /// Bind a node to a provider that answers anew; may be given several times.
    #[arg(long, value_name = "NODE=BINDING", value_parser = node_and_binding)]
    bind: Vec<(String, String)>,
    /// The folder that paths in the recorded bindings are looked for in, if not the recording's own.
    #[arg(long, value_name = "DIR")]
    beside: Option<PathBuf>,
    /// How fast: so many times as fast as the call was, drawn while it runs; or `max`.
    #[arg(long, value_name = "N|max", default_value = "max", value_parser = speed)]
    speed: Speed,
    /// Stop at every event, and take orders from standard input.
    #[arg(long)]
    step: bool,
    /// Go on from a tick (82 or 82.3), a time (1.5s), a turn (turn:2), or a saved cursor.
    #[arg(long, value_name = "CURSOR")]
    from: Option<String>,
    /// Write the sound of it: stereo WAV, the caller left, the agent right.
    #[arg(long, value_name = "OUT.wav")]
    wav: Option<PathBuf>,
    /// Write what came out as a recording, for `rspp diff` and `rspp timeline`.
    #[arg(long, value_name = "OUT.rspp")]
    record: Option<PathBuf>,
    /// Times of a call that was held anew may differ by so many milliseconds.
    #[arg(long, value_name = "MS", default_value_t = TOLERANCE_MS)]
    tolerance: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    corpus: corpus::Many,
}

const EXAMPLES: &str = "Examples:
  rspp replay call.rspp                                the same call again, compared byte by byte
  rspp replay call.rspp --speed 1                      as fast as it was, drawn while it runs
  rspp replay call.rspp --step --from turn:2           event by event
  rspp replay call.rspp --mode resimulate              its providers asked again
  rspp replay call.rspp --against new.yaml --bind tts=tone:
  rspp replay --dir calls --against new.yaml --junit calls.xml

With --step: Enter or n, the next event; t, the rest of the tick; c, on to the end; p, where it stands;
save FILE; q, stop.

Of a recording of L0 or L1, what was decided is judged by the contract.

Exit code 0: identical, or the same within the tolerance. 1: it differs, or a file is damaged; the first
difference, or the damage, is named. 2: wrong usage or input.";

/// Who answers for the providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Answers {
    /// The recording, but for the nodes of --bind.
    Playback,
    /// The providers, asked again.
    Resimulate,
}

/// What becomes of others' decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Deciders {
    /// They come in again.
    Recorded,
    /// Anew: there is one session here, and room for it.
    Recompute,
}

/// How fast a replay is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speed {
    Max,
    Times(f64),
}

fn speed(text: &str) -> Result<Speed, &'static str> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let times: f64 = text.trim_end_matches('x').parse().map_err(|_| "write a number, or max")?;
    if (0.01..=10_000.0).contains(&times) { Ok(Speed::Times(times)) } else { Err("from 0.01 to 10000, or max") }
}

impl Replay {
    pub(super) fn run(&self, registry: &Registry, interrupt: &Interrupt) -> Outcome {
        // The recording may be of a simulated call, whose node types are in this program.
        let registry = &crate::sim::registry(registry);
        let Some(path) = &self.recording else {
            return self.corpus.run(&self.anew(Path::new("")), self.holds_anew(), self.tolerance, self.json, registry);
        };
        let place = self.from.as_deref().map(Place::read).transpose();
        let place = place.map_err(|error| Failure::Input(error.to_string()))?;
        if self.holds_anew() {
            return self.hold_anew(path, &whole(path)?, registry, interrupt);
        }
        let (recording, damage) = good(path)?;
        if let (Some(damage), None) = (&damage, plan_of(&recording.records)) {
            return Err(Failure::Run(format!("{}: {damage}; nothing stands before it", path.display())));
        }
        let text = if self.asks_for_nothing() && check_inputs(&recording).is_err() {
            self.judge(path, &recording)?
        } else {
            let cursor = Cursor::new(&recording, registry);
            let cursor = cursor.map_err(|error| Failure::Run(format!("{}: {error}", path.display())))?;
            let cursor = if damage.is_some() { cursor.breaking_off() } else { cursor };
            self.play_back(path, &recording, cursor, place.as_ref(), interrupt)?
        };
        told(path, text, damage)
    }

    /// Whether it is only to be told how the recording fares.
    fn asks_for_nothing(&self) -> bool {
        let plays = self.step || self.from.is_some() || self.speed != Speed::Max;
        !plays && self.wav.is_none() && self.record.is_none()
    }

    /// What was said is not in the recording: what was decided is, and is judged.
    fn judge(&self, path: &Path, recording: &Recording) -> Outcome {
        let fail = |error: &dyn std::fmt::Display| Failure::Run(format!("{}: {error}", path.display()));
        let decisions = Decided::of(recording).map_err(|error| fail(&error))?;
        if let Err(error) = check_inputs(recording) {
            eprintln!("note: {error}");
        }
        let text = if self.json { json_of(&decisions)? } else { format!("{decisions}\n") };
        if decisions.hold() { Ok(text) } else { Err(Failure::Unwell(text)) }
    }

    /// Whether there is anything that the recording does not answer.
    fn holds_anew(&self) -> bool {
        self.mode == Answers::Resimulate
            || self.decisions == Deciders::Recompute
            || self.against.is_some()
            || !self.bind.is_empty()
    }

    fn anew(&self, folder: &Path) -> Anew {
        let mode = match self.mode {
            Answers::Playback => Mode::Playback,
            Answers::Resimulate => Mode::Resimulate,
        };
        let decisions = match self.decisions {
            Deciders::Recorded => Decisions::Recorded,
            Deciders::Recompute => Decisions::Recompute,
        };
        let beside = self.beside.clone().unwrap_or_else(|| folder.to_owned());
        let bindings = self.bind.iter().cloned().collect();
        Anew { spec: self.against.clone(), bindings, mode, decisions, beside }
    }

    fn play_back(
        &self,
        path: &Path,
        recording: &Recording,
        mut cursor: Cursor<'_>,
        place: Option<&Place>,
        interrupt: &Interrupt,
    ) -> Outcome {
        let fail = |error: &dyn std::fmt::Display| Failure::Run(format!("{}: {error}", path.display()));
        if let Some(place) = place {
            cursor.seek(place).map_err(|error| match error {
                SeekError::Differs(_) => fail(&Verdict::from(error)),
                error => Failure::Input(format!("{}: {error}", path.display())),
            })?;
        }
        let told = match (self.step, self.speed) {
            (true, _) => step_through(&mut cursor, std::io::stdin().lock(), std::io::stdout().lock())?,
            (false, speed) => play(&mut cursor, speed, interrupt).map_err(|verdict| fail(&verdict))?,
        };
        self.leave(&recording.records)?;
        let verdict =
            told.unwrap_or(Verdict::Identical { ticks: recording.ticks().count(), records: recording.records.len() });
        match verdict {
            verdict @ Verdict::Identical { .. } if self.json => json_of(&verdict),
            verdict @ Verdict::Identical { .. } if self.step || interrupt.is_raised() => {
                Ok(format!("up to here {verdict}\n"))
            }
            verdict @ Verdict::Identical { .. } => Ok(format!("{verdict}\n")),
            verdict => Err(fail(&verdict)),
        }
    }

    fn hold_anew(&self, path: &Path, recording: &Recording, registry: &Registry, interrupt: &Interrupt) -> Outcome {
        if self.step || self.from.is_some() || self.speed != Speed::Max {
            let what = "--step, --from and --speed go through what was recorded; of a call that is held anew, write a \
                        recording with --record and step through that";
            return Err(Failure::Input(what.to_owned()));
        }
        check_inputs(recording).map_err(|error| Failure::Run(format!("{}: {error}", path.display())))?;
        let anew = self.anew(path.parent().unwrap_or(Path::new("")));
        let plan = anew.plan(registry).map_err(|error| failure(path, &error))?;
        let mut core = crate::core(registry.clone());
        let held = anew.hold(&mut core, &recording.records, plan.as_ref(), registry, interrupt);
        let held = held.map_err(|error| failure(path, &error))?;
        if let Some(wav) = &self.wav {
            write_wav(wav, &held.audio.caller, &held.audio.agent)?;
        }
        self.write_recording(&held.records)?;
        self.told(path, recording, &held)
    }

    fn told(&self, path: &Path, recording: &Recording, held: &Held) -> Outcome {
        let exactly = verdict(&recording.records, &held.records);
        if let (Verdict::Identical { .. }, false) = (&exactly, self.json) {
            return Ok(format!("{exactly}\n{}", recollected(held)));
        }
        let name = path.display().to_string();
        let options = Options { tolerance: Micros::from_ms(self.tolerance), prices: None };
        let before = Call { name: &name, records: &recording.records };
        let report = Report::of(before, Call { name: "held anew", records: &held.records }, options);
        let text = if self.json { json_of(&report)? } else { format!("{report}{}", recollected(held)) };
        if report.is_same() { Ok(text) } else { Err(Failure::Unwell(text)) }
    }

    fn leave(&self, records: &[Record]) -> Result<(), Failure> {
        if let Some(wav) = &self.wav {
            let (caller, agent) = sound(records);
            write_wav(wav, &caller, &agent)?;
        }
        self.write_recording(records)
    }

    fn write_recording(&self, records: &[Record]) -> Result<(), Failure> {
        let (Some(path), Some(plan)) = (&self.record, plan_of(records)) else { return Ok(()) };
        let session = path.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let written = RecordingFile::create(path, head(&session, plan, 0)).and_then(|mut file| {
            records.chunk_by(|a, b| a.tick == b.tick).try_for_each(|tick| file.append(tick))?;
            file.finish()
        });
        written.map_err(|error| Failure::Run(error.to_string()))
    }
}

/// What was answered from the recording, where that was not all.
fn recollected(held: &Held) -> String {
    let recollection = &held.recollection;
    let mut text = String::new();
    if recollection.partly > 0 {
        text +=
            &format!("note: {} answers are recorded in part, and end where they were cancelled\n", recollection.partly);
    }
    for unknown in &recollection.unknown {
        text += &format!("note: nobody recorded {unknown}; bind its node with --bind to have it answered\n");
    }
    text
}

pub(super) fn failure(path: &Path, error: &AnewError) -> Failure {
    let message = format!("{}: {error}", path.display());
    if error.is_wrong_usage() { Failure::Input(message) } else { Failure::Run(message) }
}

fn write_wav(path: &Path, caller: &[i16], agent: &[i16]) -> Result<(), Failure> {
    write_stereo(path, caller, agent, CALL_RATE_HZ).map_err(|error| Failure::Run(error.to_string()))
}

impl From<SeekError> for Verdict {
    fn from(error: SeekError) -> Self {
        match error {
            SeekError::Differs(difference) => Verdict::Differs(difference),
            SeekError::Unknown { .. } | SeekError::AnotherRecording { .. } => {
                Verdict::Identical { ticks: 0, records: 0 }
            }
        }
    }
}

/// To the end; drawn where somebody can follow.
fn play(cursor: &mut Cursor<'_>, speed: Speed, interrupt: &Interrupt) -> Result<Option<Verdict>, Verdict> {
    let mut screen = matches!(speed, Speed::Times(_)).then(Screen::stdout);
    let mut live = Live::default();
    let mut last = cursor.position().at_ms;
    let mut replayed = 0;
    while let Some(at) = cursor.next_at() {
        if let Speed::Times(times) = speed {
            let wait = Micros(at.0.saturating_sub(last * 1_000)).0 as f64 / times;
            std::thread::sleep(Duration::from_micros(wait as u64));
            last = at.as_ms();
        }
        if interrupt.is_raised() {
            let ticks = usize::try_from(cursor.position().tick).unwrap_or(usize::MAX);
            return Ok(Some(Verdict::Identical { ticks, records: replayed }));
        }
        let Some(records) = cursor.tick().map_err(Verdict::Differs)? else { break };
        replayed += records.len();
        if let Some(screen) = &mut screen {
            live.take(records).iter().for_each(|line| screen.live(line));
        }
    }
    Ok(None)
}

/// What somebody at the terminal wants.
enum Order {
    Events(NonZeroU32),
    Tick,
    GoOn,
    Where,
    Save(PathBuf),
    Stop,
}

impl Order {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let order = match (words.next().unwrap_or("n"), words.next()) {
            ("n", None) => Order::Events(NonZeroU32::MIN),
            ("n", Some(count)) => Order::Events(count.parse().ok()?),
            ("t", None) => Order::Tick,
            ("c", None) => Order::GoOn,
            ("p", None) => Order::Where,
            ("save", Some(path)) => Order::Save(PathBuf::from(path)),
            ("q", None) => Order::Stop,
            _ => return None,
        };
        words.next().is_none().then_some(order)
    }
}

/// Event by event, as orders come; without any more orders it stops where it stands.
fn step_through(
    cursor: &mut Cursor<'_>,
    orders: impl BufRead,
    mut out: impl Write,
) -> Result<Option<Verdict>, Failure> {
    let mut events = 0;
    let mut lines = orders.lines();
    while let Some(Ok(line)) = lines.next() {
        let steps = match Order::read(&line) {
            None => {
                let _ = writeln!(out, "? n [COUNT], t, c, p, save FILE, q");
                continue;
            }
            Some(Order::Stop) => break,
            Some(Order::Where) => {
                let position = cursor.position();
                let _ = writeln!(out, "at {} ms, tick {}, event {}", position.at_ms, position.tick, position.event);
                continue;
            }
            Some(Order::Save(path)) => {
                write(&path, json_of(&cursor.position())?.as_bytes())?;
                let _ = writeln!(out, "saved: go on with --from {}", path.display());
                continue;
            }
            Some(Order::Events(count)) => Steps::Count(count.get()),
            Some(Order::Tick) => Steps::Tick,
            Some(Order::GoOn) => Steps::All,
        };
        if let Some(verdict) = take_steps(cursor, steps, &mut events, &mut out) {
            return Ok(Some(verdict));
        }
        let _ = out.flush();
    }
    let ticks = usize::try_from(cursor.position().tick).unwrap_or(usize::MAX);
    Ok(Some(Verdict::Identical { ticks, records: events }))
}

/// How far to go.
#[derive(Clone, Copy)]
enum Steps {
    Count(u32),
    /// To the end of the tick.
    Tick,
    All,
}

/// Says each event; gives the verdict at the end, or where it differs.
fn take_steps(cursor: &mut Cursor<'_>, steps: Steps, events: &mut usize, out: &mut impl Write) -> Option<Verdict> {
    let mut taken = 0;
    loop {
        match steps {
            Steps::Count(count) if taken >= count => return None,
            Steps::Tick if taken > 0 && cursor.is_between_ticks() => return None,
            _ => {}
        }
        match cursor.step() {
            Step::Event(line) => {
                let _ = writeln!(out, "{line}");
                *events += 1;
                taken += 1;
            }
            Step::Differs(difference) => return Some(Verdict::Differs(difference)),
            Step::End => {
                let ticks = usize::try_from(cursor.position().tick).unwrap_or(usize::MAX);
                return Some(Verdict::Identical { ticks, records: *events });
            }
        }
    }
}
