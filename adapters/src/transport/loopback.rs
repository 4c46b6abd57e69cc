//! WAV on the contract of transports: the peer is a file, played and recorded in the worker's own time.
//!
//! Its messages are audio, 16-bit little-endian PCM at 16 kHz: the caller's in, and out what the caller hears, with the word
//! `clear` where that is cut. It plays what it is given at once, and knows to the sample what was heard.

use std::sync::Arc;

use rspp_specs::event::AudioFrame;
use rspp_specs::ids::TurnId;
use rspp_specs::time::Micros;
use rspp_specs::timeline::{EgressEpoch, Input};

use super::{
    Audio, Bind, Bound, Capabilities, Ended, Exchange, MemoryTransport, Message, Refusal, RefusalCode, Transport,
};
use crate::audio::CALL_RATE_HZ;
use crate::drive::Schedule;
use crate::transport::TransportTimes;

/// A WAV file's line.
#[derive(Debug)]
pub struct Loopback {
    memory: MemoryTransport,
    acks: Schedule,
    bound: bool,
}

impl Loopback {
    /// Plays into memory.
    pub fn new() -> Self {
        Self { memory: MemoryTransport::new(TransportTimes::WAV), acks: Schedule::default(), bound: false }
    }

    /// All that was heard, from time 0 on.
    pub fn into_heard(self) -> Vec<i16> {
        self.memory.into_played()
    }

    fn hand_over(&mut self, now: Micros, out: &mut Exchange) {
        while let Some(input) = self.acks.pop_until(now) {
            out.give(input);
        }
    }
}

impl Default for Loopback {
    fn default() -> Self {
        Self::new()
    }
}

impl Transport for Loopback {
    fn capabilities(&self) -> Capabilities {
        Capabilities { name: "loopback", acknowledges: true, clears: true, tells: false, streams: true, resumes: false }
    }

    fn on_open(&mut self, _now: Micros, out: &mut Exchange) {
        out.bind(Bind::default());
    }

    fn on_bound(&mut self, _now: Micros, _bound: &Bound, _out: &mut Exchange) {
        self.bound = true;
    }

    fn on_message(&mut self, _now: Micros, message: Message, out: &mut Exchange) -> Result<(), Refusal> {
        let Message::Binary(bytes) = message else {
            return Err(Refusal::mild(RefusalCode::Unknown, "a loopback takes audio and no text"));
        };
        if !self.bound {
            return Err(Refusal::mild(RefusalCode::OutOfOrder, "there is no session yet"));
        }
        out.give(Input::CallerAudio(pcm_frame(&bytes, CALL_RATE_HZ)?));
        Ok(())
    }

    fn send(&mut self, now: Micros, audio: &Audio, out: &mut Exchange) {
        self.memory.play(now, audio.turn, audio.epoch, audio.from_sample, &audio.frame, &mut self.acks);
        out.say_bytes(pcm_bytes(&audio.frame.samples));
        self.hand_over(now, out);
    }

    fn fence(&mut self, now: Micros, turn: TurnId, epoch: EgressEpoch, out: &mut Exchange) {
        self.memory.clear(now, turn, epoch, &mut self.acks);
        out.say("clear");
        self.hand_over(now, out);
    }

    fn next_at(&self) -> Option<Micros> {
        self.acks.next_at()
    }

    fn on_time(&mut self, now: Micros, out: &mut Exchange) {
        self.hand_over(now, out);
    }

    fn refuse(&mut self, _now: Micros, _refusal: &Refusal, _out: &mut Exchange) {}

    fn on_end(&mut self, _now: Micros, _ended: &Ended, _out: &mut Exchange) {}
}

/// A frame of 16-bit little-endian PCM, within the core's limits.
///
/// # Errors
/// Half a sample, no sample, or more than one frame may have.
pub fn pcm_frame(bytes: &[u8], rate_hz: u32) -> Result<AudioFrame, Refusal> {
    if !bytes.len().is_multiple_of(2) {
        return Err(Refusal::mild(RefusalCode::Malformed, "PCM of 16 bits has an even number of bytes"));
    }
    let samples: Arc<[i16]> = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    let frame = AudioFrame { samples, rate_hz, spoken_by: None };
    frame.check().map_err(|what| Refusal::mild(RefusalCode::Unsupported, what))?;
    Ok(frame)
}

/// 16-bit little-endian PCM.
pub fn pcm_bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::conformance::{Peer, Reads, check};

    struct File;

    impl Peer for File {
        fn hello(&self) -> Vec<Message> {
            Vec::new()
        }

        fn speech(&self) -> Message {
            Message::Binary(vec![0; 640].into())
        }

        fn played(&self, _sent: &[Message]) -> Vec<Message> {
            Vec::new()
        }

        fn cleared(&self, _sent: &[Message]) -> Vec<Message> {
            Vec::new()
        }

        fn goodbye(&self) -> Option<Message> {
            None
        }

        fn reads(&self, message: &Message) -> Reads {
            match message {
                Message::Binary(bytes) => Reads::Audio(Micros::of_samples(bytes.len() as u64 / 2, CALL_RATE_HZ)),
                Message::Text(_) => Reads::Clear,
            }
        }

        fn nonsense(&self) -> Vec<Message> {
            vec![Message::Binary(Vec::new().into())]
        }
    }

    #[test]
    fn a_wav_file_keeps_the_contract() {
        check(&|| Box::new(Loopback::new()), &File);
    }
}
