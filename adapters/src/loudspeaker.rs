//! A call out loud, while it is held: what its timeline says was spoken and played, to a program that plays PCM. No
//! sound library is linked; the programs are those that desktops have.
//!
//! Each frame of the caller goes out beside the 20 ms of the agent that play with it, so that what is heard is the
//! call, a player's own delay later. What playout takes back is never given to the player.

use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use rspp_specs::event::AudioFrame;
use rspp_specs::timeline::{Effect, Entry, Input, Record};

use crate::audio::CALL_RATE_HZ;
use crate::orphans::{self, Group};

/// A program that plays what it is given on its standard input: 16-bit stereo at 16 kHz.
struct Player {
    program: &'static str,
    arguments: &'static [&'static str],
    /// Whether it wants to be told the form of the sound by the head of a WAV file.
    wants_head: bool,
}

const PLAYERS: [Player; 5] = [
    Player {
        program: "pw-cat",
        arguments: &["--playback", "--raw", "--rate=16000", "--channels=2", "--format=s16", "-"],
        wants_head: false,
    },
    Player {
        program: "paplay",
        arguments: &["--raw", "--format=s16le", "--rate=16000", "--channels=2", "--latency-msec=100"],
        wants_head: false,
    },
    Player {
        program: "aplay",
        arguments: &["-q", "-t", "raw", "-f", "S16_LE", "-r", "16000", "-c", "2", "-"],
        wants_head: false,
    },
    Player {
        program: "ffplay",
        arguments: &["-nodisp", "-autoexit", "-loglevel", "error", "-f", "wav", "-i", "-"],
        wants_head: true,
    },
    Player {
        program: "play",
        arguments: &["-q", "-t", "raw", "-r", "16000", "-e", "signed", "-b", "16", "-c", "2", "-"],
        wants_head: false,
    },
];

/// A program that plays files only: what macOS has.
const FILE_PLAYER: &str = "afplay";
/// A player that finds no device says so within this time; one that runs longer has found one.
const TRIAL: Duration = Duration::from_millis(300);
/// How long a player may take to play what it has when the call is over.
const REST: Duration = Duration::from_secs(2);
/// Frames that may wait for a player; one that is further behind misses some.
const QUEUED_FRAMES: usize = 250;
/// Samples of the agent that wait for their time: what playout may be ahead.
const MAX_AHEAD_SAMPLES: usize = CALL_RATE_HZ as usize * 5;

/// Why a call can't be heard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSound {
    /// Nothing that plays.
    #[error("there is no program that plays sound (pw-cat, paplay, aplay, ffplay, play or afplay)")]
    NoPlayer,
    /// They are there, and end at once.
    #[error("{} found no sound device", .0.join(", "))]
    NoDevice(Vec<&'static str>),
}

/// What a call is heard through.
pub struct Loudspeaker {
    program: &'static str,
    stream: Option<Stream>,
    agent: VecDeque<i16>,
}

/// To a player that is given the call while it is held.
struct Stream {
    frames: Sender<Vec<u8>>,
    child: Child,
    group: Group,
    writer: JoinHandle<()>,
}

impl Loudspeaker {
    /// The first player that is there and finds a device. Takes up to a third of a second for each that does not.
    ///
    /// # Errors
    /// None is there, or none finds a device.
    pub fn open() -> Result<Self, NoSound> {
        let mut deaf = Vec::new();
        for player in &PLAYERS {
            match Stream::open(player) {
                None => {}
                Some(Ok(stream)) => {
                    return Ok(Self { program: player.program, stream: Some(stream), agent: VecDeque::new() });
                }
                Some(Err(())) => deaf.push(player.program),
            }
        }
        // It needs a file to say anything of a device.
        if cfg!(target_os = "macos") {
            return Ok(Self { program: FILE_PLAYER, stream: None, agent: VecDeque::new() });
        }
        Err(if deaf.is_empty() { NoSound::NoPlayer } else { NoSound::NoDevice(deaf) })
    }

    /// The player's name.
    pub fn program(&self) -> &'static str {
        self.program
    }

    /// Whether the call is heard while it is held, and not after it.
    pub fn is_live(&self) -> bool {
        self.stream.is_some()
    }

    /// Plays what one tick wrote.
    pub fn take(&mut self, records: &[Record]) {
        for record in records {
            match &record.entry {
                Entry::Input(_, Input::CallerAudio(frame)) => self.play(frame),
                Entry::Effect(Effect::Transmit { frame, .. }) if self.agent.len() < MAX_AHEAD_SAMPLES => {
                    self.agent.extend(frame.samples.iter());
                }
                Entry::Effect(Effect::ClearTransport { .. }) => self.agent.clear(),
                _ => {}
            }
        }
    }

    /// The caller left, the agent right.
    fn play(&mut self, caller: &AudioFrame) {
        let Some(stream) = &self.stream else { return };
        let mut bytes = Vec::with_capacity(caller.samples.len() * 4);
        for sample in caller.samples.iter() {
            bytes.extend(sample.to_le_bytes());
            bytes.extend(self.agent.pop_front().unwrap_or(0).to_le_bytes());
        }
        // A player that is behind, or gone, must not hold the call up.
        let _ = stream.frames.try_send(bytes);
    }

    /// The call is over: what the player has is still played, within a limit. A player of files plays it now, if it is
    /// given one.
    pub fn finish(self, answer: &Path) {
        match self.stream {
            Some(stream) => stream.finish(),
            None => {
                let mut command = Command::new(self.program);
                command.arg(answer).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                if let Ok((mut child, _group)) = orphans::spawn(&mut command) {
                    let _ = child.wait();
                }
            }
        }
    }
}

impl Stream {
    /// `None` if there is no such player, an error if it has ended already.
    fn open(player: &Player) -> Option<Result<Self, ()>> {
        let mut command = Command::new(player.program);
        command.args(player.arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let (mut child, group) = orphans::spawn(&mut command).ok()?;
        let stdin = child.stdin.take()?;
        let (frames, receiver) = bounded::<Vec<u8>>(QUEUED_FRAMES);
        let writer = thread::spawn(move || write(stdin, &receiver));
        if player.wants_head {
            let _ = frames.try_send(head());
        }
        // A player opens its device when the first sound comes.
        let _ = frames.try_send(vec![0; CALL_RATE_HZ as usize / 5 * 4]);
        let stream = Self { frames, child, group, writer };
        Some(stream.tried())
    }

    fn tried(mut self) -> Result<Self, ()> {
        if ends_within(&mut self.child, TRIAL) { Err(()) } else { Ok(self) }
    }

    fn finish(mut self) {
        drop(self.frames);
        if !ends_within(&mut self.child, REST) {
            drop(self.group);
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        let _ = self.writer.join();
    }
}

fn write(mut stdin: ChildStdin, frames: &crossbeam_channel::Receiver<Vec<u8>>) {
    for bytes in frames {
        if stdin.write_all(&bytes).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

fn ends_within(child: &mut Child, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < deadline => thread::park_timeout(Duration::from_millis(5)),
            Ok(None) => return false,
            Ok(Some(_)) | Err(_) => return true,
        }
    }
}

/// The head of a WAV file that leaves its length open: 16-bit stereo.
fn head() -> Vec<u8> {
    let (channels, bytes) = (2_u16, 2_u16);
    let rate = CALL_RATE_HZ;
    let mut head = Vec::new();
    head.extend(b"RIFF");
    head.extend(u32::MAX.to_le_bytes());
    head.extend(b"WAVEfmt ");
    head.extend(16_u32.to_le_bytes());
    head.extend(1_u16.to_le_bytes());
    head.extend(channels.to_le_bytes());
    head.extend(rate.to_le_bytes());
    head.extend((rate * u32::from(channels * bytes)).to_le_bytes());
    head.extend((channels * bytes).to_le_bytes());
    head.extend((bytes * 8).to_le_bytes());
    head.extend(b"data");
    head.extend(u32::MAX.to_le_bytes());
    head
}
