//! Audio in and out of files and wires, and between rates: WAV to a call's 16 kHz mono and back, any stream of PCM to
//! 20 ms frames, and what transports carry ([`Inbound`], [`Outbound`]) with its losses ([`Jitter`], [`Concealer`]).
//!
//! Everything here but Opus is whole-number arithmetic on samples, so the same file gives the same samples on every
//! machine: what a call was fed is part of what a replay compares. All of it is outside the door: what is logged is the
//! PCM that the core saw.

mod border;
mod conceal;
mod decay;
mod jitter;
mod keypad;
mod opus;
mod riff;
mod wav;

use std::path::PathBuf;
use std::sync::Arc;

use rspp_specs::event::AudioFrame;
use rspp_specs::limits::FRAME_MS;
use thiserror::Error;

pub use border::{Encoding, Inbound, MAX_WIRE_AUDIO_BYTES, Outbound, WireAudioError, WireFormat};
pub use conceal::Concealer;
pub use decay::{MAX_DECAY_MS, decay};
pub use jitter::{Arrival, Jitter, JitterCounts, JitterProfile, Next};
pub use keypad::{Digit, MAX_DIALLED_DIGITS, dial};
pub use opus::{MAX_OPUS_PACKET_BYTES, OpusError, OpusReader, OpusWriter, opus_samples};
pub use rspp_sound::{Law, Rechunker, UnsupportedRate};
pub use rspp_specs::limits::{MAX_RATE_HZ, MIN_RATE_HZ};
pub use wav::{read_call, stereo_wav, write_stereo};

/// Samples a second of the audio that a call is made of.
pub const CALL_RATE_HZ: u32 = 16_000;
/// The longest call that is read from a file.
pub const MAX_CALL_SECONDS: u64 = 3_600;
/// The largest file that is opened.
pub const MAX_WAV_BYTES: u64 = 1 << 30;

/// Samples in one frame of a call.
const CALL_FRAME_SAMPLES: usize = (CALL_RATE_HZ as u64 * FRAME_MS / 1_000) as usize;

const _: () = {
    assert!(MIN_RATE_HZ <= CALL_RATE_HZ && CALL_RATE_HZ <= MAX_RATE_HZ);
    assert!(CALL_FRAME_SAMPLES <= rspp_specs::limits::MAX_FRAME_SAMPLES);
    // An hour of stereo as it is usually recorded passes the limit on bytes.
    assert!(MAX_CALL_SECONDS * MAX_RATE_HZ as u64 * 4 <= MAX_WAV_BYTES);
};

/// The caller's side of a call: mono, 16 bits, [`CALL_RATE_HZ`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallAudio {
    /// The samples, from the first of the file on.
    pub samples: Vec<i16>,
    /// What was converted on the way in, one sentence each, for people to read; empty when nothing was.
    pub notes: Vec<String>,
}

/// A call cut into frames of 20 ms, each 320 samples: the last one is filled up with silence. No frame carries a
/// stamp, because no speech invocation made it.
pub fn frames(call: &CallAudio) -> impl Iterator<Item = AudioFrame> + '_ {
    call.samples.chunks(CALL_FRAME_SAMPLES).map(|chunk| {
        let mut samples = chunk.to_vec();
        samples.resize(CALL_FRAME_SAMPLES, 0);
        AudioFrame { samples: Arc::from(samples), rate_hz: CALL_RATE_HZ, spoken_by: None }
    })
}

/// Why a file was not read or written: what is wrong, with which file, and what to do about it.
#[derive(Debug, Error)]
pub enum AudioError {
    /// Nothing has this name.
    #[error("there is no file {}: check the path", path.display())]
    Missing {
        /// The file asked for.
        path: PathBuf,
    },
    /// A folder, a device or a pipe: its length cannot be known beforehand.
    #[error("{} is not an ordinary file: give the path of a WAV file", path.display())]
    NotAFile {
        /// What was asked for.
        path: PathBuf,
    },
    /// The system refused to read it.
    #[error("{} cannot be read ({source}): check its permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// No byte, or a good header without a sample behind it.
    #[error("{} holds no audio: record it again", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It does not have the form of a WAV file.
    #[error("{} is not a WAV file that can be read ({reason}): convert it, for example with \
        `ffmpeg -i INPUT -ar 16000 -ac 1 -c:a pcm_s16le OUTPUT.wav`", path.display())]
    NotWav {
        /// The file.
        path: PathBuf,
        /// What was wrong with its form.
        reason: &'static str,
    },
    /// A WAV file whose samples are stored in a way that is not read, such as mu-law.
    #[error("{} is stored as {found}, and only integer PCM of 8, 16, 24 or 32 bits and 32-bit float are read: \
        convert it, for example with `ffmpeg -i INPUT -c:a pcm_s16le OUTPUT.wav`", path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
        /// How its samples are stored.
        found: String,
    },
    /// Neither mono nor stereo.
    #[error("{} has {channels} channels, and only mono and stereo are read: convert it, for example with \
        `ffmpeg -i INPUT -ac 1 OUTPUT.wav`", path.display())]
    Channels {
        /// The file.
        path: PathBuf,
        /// How many channels it has.
        channels: u16,
    },
    /// Outside [`MIN_RATE_HZ`] to [`MAX_RATE_HZ`].
    #[error("{}: {rate_hz} Hz is not between {MIN_RATE_HZ} and {MAX_RATE_HZ} Hz: convert it, for example with \
        `ffmpeg -i INPUT -ar 16000 OUTPUT.wav`", path.display())]
    Rate {
        /// The file.
        path: PathBuf,
        /// Its samples a second.
        rate_hz: u32,
    },
    /// It ends before its samples begin.
    #[error("{} ends inside its header: copy or record it again", path.display())]
    HeaderCut {
        /// The file.
        path: PathBuf,
    },
    /// It ends before all the samples that its header promises.
    #[error("{} is cut short, its header promises {promised_bytes} bytes of samples and {present_bytes} are there: \
        copy or record it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// What the header says.
        promised_bytes: u64,
        /// What the file has.
        present_bytes: u64,
    },
    /// Over [`MAX_WAV_BYTES`].
    #[error("{} has {bytes} bytes, and at most {MAX_WAV_BYTES} are read: cut it into shorter calls", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// To be read: over [`MAX_CALL_SECONDS`]. To be written: more than a WAV file can hold.
    #[error("{} would hold {seconds} s of audio, and at most {max_seconds} s fit: cut it into shorter calls",
        path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// How long the audio plays, in whole seconds.
        seconds: u64,
        /// How long it may play, in whole seconds.
        max_seconds: u64,
    },
    /// The system refused to write it.
    #[error("{} cannot be written ({source}): check that its folder exists, may be written and has room",
        path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_frame_is_filled_up_with_silence() {
        let call = CallAudio { samples: vec![7; 321], notes: Vec::new() };
        let frames: Vec<AudioFrame> = frames(&call).collect();
        assert_eq!(frames.len(), 2);
        assert!(frames.iter().all(|frame| frame.samples.len() == 320 && frame.rate_hz == 16_000));
        assert_eq!(frames[1].samples[..2], [7, 0]);
        assert_eq!(frames[1].spoken_by, None);
    }

    #[test]
    fn a_call_without_samples_has_no_frames() {
        assert_eq!(frames(&CallAudio { samples: Vec::new(), notes: Vec::new() }).count(), 0);
    }
}
