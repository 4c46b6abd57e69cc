//! WAV files: read as a call, and written as a recording.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use hound::{SampleFormat, WavSpec, WavWriter};

use super::riff::{self, Encoding, Fault, Header};
use rspp_sound::Resampler;

use super::{AudioError, CALL_RATE_HZ, CallAudio, MAX_CALL_SECONDS, MAX_RATE_HZ, MAX_WAV_BYTES, MIN_RATE_HZ};
use crate::orphans::Passing;

/// A header that promises at least this much was written before the length was known, as programs do that write to
/// a pipe: espeak-ng promises exactly this, ffmpeg the largest number there is.
const OPEN_ENDED_BYTES: u32 = 0x7fff_f000;
/// Sample frames that are decoded at a time: the file is never in memory as a whole.
const BLOCK_FRAMES: usize = 4_096;
/// Of a stereo file that is written; its length has 32 bits, and its header 44 bytes.
const MAX_STEREO_FRAMES: u64 = (u32::MAX as u64 - 44) / 4;

/// Reads a WAV file as a caller's audio at 16 kHz, mono, 16 bits.
///
/// Integer PCM of 8, 16, 24 or 32 bits and 32-bit float are read, mono or stereo, from 8,000 to 48,000 Hz, at most
/// an hour and 1 GiB. `n` sample frames become `round(n * 16000 / rate)` samples, the first at the same time as in
/// the file. A file whose header leaves its length open, as programs write them to a pipe, is read to its end.
///
/// # Errors
///
/// [`AudioError`] names the file, what is wrong with it, and what to do.
pub fn read_call(path: impl AsRef<Path>) -> Result<CallAudio, AudioError> {
    let path = path.as_ref();
    let unreadable = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => AudioError::Missing { path: path.to_owned() },
        _ => AudioError::Unreadable { path: path.to_owned(), source },
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(AudioError::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(unreadable)?;
    decode(path, &mut BufReader::with_capacity(1 << 16, file), metadata.len())
}

/// The same for any source of `bytes` bytes; `path` is for the errors.
fn decode(path: &Path, source: &mut (impl Read + Seek), bytes: u64) -> Result<CallAudio, AudioError> {
    let path = || path.to_owned();
    if bytes == 0 {
        return Err(AudioError::Empty { path: path() });
    }
    if bytes > MAX_WAV_BYTES {
        return Err(AudioError::TooLarge { path: path(), bytes });
    }
    let header = riff::header(source).map_err(|fault| named(path(), fault))?;
    let Header { encoding, channels, rate_hz, .. } = header;
    if !(1..=2).contains(&channels) {
        return Err(AudioError::Channels { path: path(), channels });
    }
    if !(MIN_RATE_HZ..=MAX_RATE_HZ).contains(&rate_hz) {
        return Err(AudioError::Rate { path: path(), rate_hz });
    }
    let begin = source.stream_position().map_err(|source| AudioError::Unreadable { path: path(), source })?;
    let extent = Extent::of(path(), header.data_bytes, bytes.saturating_sub(begin))?;
    let frame_bytes = u64::from(encoding.bytes()) * u64::from(channels);
    let frames = extent.bytes / frame_bytes;
    if frames == 0 {
        return Err(AudioError::Empty { path: path() });
    }
    if frames > MAX_CALL_SECONDS * u64::from(rate_hz) {
        let seconds = frames.div_ceil(u64::from(rate_hz));
        return Err(AudioError::TooLong { path: path(), seconds, max_seconds: MAX_CALL_SECONDS });
    }
    let mut decoder = Decoder { header, clipped: 0, silenced: 0 };
    let samples =
        decoder.call(source, frames as usize).map_err(|source| AudioError::Unreadable { path: path(), source })?;
    let notes = decoder.notes(extent.open_ended, extent.bytes % frame_bytes);
    Ok(CallAudio { samples, notes })
}

fn named(path: PathBuf, fault: Fault) -> AudioError {
    match fault {
        Fault::Io(source) => AudioError::Unreadable { path, source },
        Fault::Cut => AudioError::HeaderCut { path },
        Fault::NotWav(reason) => AudioError::NotWav { path, reason },
        Fault::Encoding(found) => AudioError::Encoding { path, found },
    }
}

/// How many bytes of samples there are.
struct Extent {
    bytes: u64,
    open_ended: bool,
}

impl Extent {
    fn of(path: PathBuf, promised: u32, present_bytes: u64) -> Result<Self, AudioError> {
        let promised_bytes = u64::from(promised);
        if promised_bytes <= present_bytes {
            return Ok(Self { bytes: promised_bytes, open_ended: false });
        }
        if promised >= OPEN_ENDED_BYTES {
            return Ok(Self { bytes: present_bytes, open_ended: true });
        }
        Err(AudioError::Truncated { path, promised_bytes, present_bytes })
    }
}

/// From stored samples to those of a call.
struct Decoder {
    header: Header,
    /// Float samples beyond full scale.
    clipped: u64,
    /// Float samples that are no numbers.
    silenced: u64,
}

impl Decoder {
    fn call(&mut self, source: &mut impl Read, frames: usize) -> std::io::Result<Vec<i16>> {
        let sample_bytes = usize::from(self.header.encoding.bytes());
        let frame_bytes = sample_bytes * usize::from(self.header.channels);
        let mut resampler = Resampler::new(self.header.rate_hz, CALL_RATE_HZ);
        let mut samples = Vec::new();
        let mut stored = vec![0; BLOCK_FRAMES * frame_bytes];
        let mut left = frames;
        while left > 0 {
            let now = left.min(BLOCK_FRAMES);
            let stored = &mut stored[..now * frame_bytes];
            source.read_exact(stored)?;
            let mono: Vec<i16> = stored.chunks_exact(frame_bytes).map(|frame| self.mono(frame, sample_bytes)).collect();
            resampler.push(&mono, &mut samples);
            left -= now;
        }
        resampler.finish(&mut samples);
        Ok(samples)
    }

    /// The mean of a frame's one or two channels.
    fn mono(&mut self, frame: &[u8], sample_bytes: usize) -> i16 {
        let sum: i32 = frame.chunks_exact(sample_bytes).map(|stored| i32::from(self.sample(stored))).sum();
        (sum / i32::from(self.header.channels)) as i16
    }

    fn sample(&mut self, stored: &[u8]) -> i16 {
        match (self.header.encoding, stored) {
            (Encoding::Float, &[a, b, c, d]) => self.float(f32::from_le_bytes([a, b, c, d])),
            (_, &[a]) => (i16::from(a) - 128) << 8,
            (_, &[a, b]) => i16::from_le_bytes([a, b]),
            (_, &[a, b, c]) => rounded(i32::from_le_bytes([0, a, b, c])),
            (_, &[a, b, c, d]) => rounded(i32::from_le_bytes([a, b, c, d])),
            _ => 0,
        }
    }

    fn float(&mut self, value: f32) -> i16 {
        let scaled = libm::roundf(value * 32_768.0);
        self.silenced += u64::from(scaled.is_nan());
        // Exactly 1.0 is where exporters put full scale; it is no overload.
        self.clipped += u64::from(value.abs() > 1.0);
        // `as` clips, and makes 0 of what is not a number.
        scaled as i16
    }

    fn notes(&self, open_ended: bool, odd_bytes: u64) -> Vec<String> {
        let mut notes = Vec::new();
        match self.header.encoding {
            Encoding::Integer(2) => {}
            Encoding::Integer(bytes) => notes.push(format!("converted from {}-bit to 16-bit integer", bytes * 8)),
            Encoding::Float => notes.push("converted from 32-bit float to 16-bit integer".to_owned()),
        }
        if self.clipped > 0 {
            notes.push(format!("{} samples beyond full scale clipped", self.clipped));
        }
        if self.silenced > 0 {
            notes.push(format!("{} samples that are no numbers silenced", self.silenced));
        }
        if self.header.channels == 2 {
            notes.push("stereo downmixed to mono".to_owned());
        }
        if self.header.rate_hz != CALL_RATE_HZ {
            notes.push(format!("resampled from {} Hz to {CALL_RATE_HZ} Hz", self.header.rate_hz));
        }
        if open_ended {
            notes.push("length left open in the header, read to the end of the file".to_owned());
        }
        if odd_bytes > 0 {
            notes.push(format!("{odd_bytes} bytes after the last whole sample ignored"));
        }
        notes
    }
}

/// The upper half, rounded.
fn rounded(value: i32) -> i16 {
    (value.saturating_add(1 << 15) >> 16) as i16
}

/// Writes a stereo WAV file of 16 bits at `rate_hz`, from 8,000 to 48,000: the caller left and the agent right, say.
/// The shorter side is filled up with silence. The file is written under another name beside its own and renamed
/// when it is whole and on disk, replacing an older one: nobody sees half a file.
///
/// # Errors
///
/// [`AudioError::Rate`], [`AudioError::TooLong`] for more than 4 GiB, and [`AudioError::Unwritable`].
pub fn write_stereo(path: impl AsRef<Path>, left: &[i16], right: &[i16], rate_hz: u32) -> Result<(), AudioError> {
    let path = path.as_ref();
    if !(MIN_RATE_HZ..=MAX_RATE_HZ).contains(&rate_hz) {
        return Err(AudioError::Rate { path: path.to_owned(), rate_hz });
    }
    let frames = left.len().max(right.len());
    if frames as u64 > MAX_STEREO_FRAMES {
        let [seconds, max_seconds] = [frames as u64, MAX_STEREO_FRAMES].map(|frames| frames / u64::from(rate_hz));
        return Err(AudioError::TooLong { path: path.to_owned(), seconds, max_seconds });
    }
    let unwritable = |source: std::io::Error| AudioError::Unwritable { path: path.to_owned(), source };
    let partial = partial_name(path).map_err(unwritable)?;
    let _passing = Passing::new(&partial);
    let written = write_samples(&partial, frames, left, right, rate_hz).and_then(|()| fs::rename(&partial, path));
    written.map_err(|source| {
        // It may not be there at all, and the first error is the one to tell.
        let _ = fs::remove_file(&partial);
        unwritable(source)
    })
}

fn write_samples(path: &Path, frames: usize, left: &[i16], right: &[i16], rate_hz: u32) -> std::io::Result<()> {
    let file = File::create_new(path)?;
    write_to(BufWriter::new(&file), frames, (left, right), rate_hz).map_err(as_io)?;
    file.sync_all()
}

fn write_to(
    out: impl std::io::Write + Seek,
    frames: usize,
    (left, right): (&[i16], &[i16]),
    rate_hz: u32,
) -> Result<(), hound::Error> {
    let spec = WavSpec { channels: 2, sample_rate: rate_hz, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut writer = WavWriter::new(out, spec)?;
    for at in 0..frames {
        for side in [left, right] {
            writer.write_sample(side.get(at).copied().unwrap_or(0))?;
        }
    }
    writer.finalize()
}

/// The same as bytes, for calls of some hours at most.
///
/// # Panics
/// Where they are longer than a WAV file may be.
pub fn stereo_wav(left: &[i16], right: &[i16], rate_hz: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let frames = left.len().max(right.len());
    write_to(&mut bytes, frames, (left, right), rate_hz).expect("it fits, and memory refuses nothing");
    bytes.into_inner()
}

fn as_io(error: hound::Error) -> std::io::Error {
    match error {
        hound::Error::IoError(error) => error,
        other => std::io::Error::other(other),
    }
}

/// A name in the same folder that nobody else uses: a rename within a folder is whole or not at all.
fn partial_name(path: &Path) -> std::io::Result<PathBuf> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "the path names no file"));
    };
    let write = WRITES.fetch_add(1, Ordering::Relaxed);
    Ok(path.with_file_name(format!(".{}.{}-{write}.partial", name.to_string_lossy(), std::process::id())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    /// A WAV file in memory: `bits` of 32 with `float` are float samples, in -1 to 1.
    fn wav(channels: u16, rate_hz: u32, bits: u16, float: bool, samples: &[f64]) -> Vec<u8> {
        let sample_format = if float { SampleFormat::Float } else { SampleFormat::Int };
        let spec = WavSpec { channels, sample_rate: rate_hz, bits_per_sample: bits, sample_format };
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut bytes, spec).expect("memory can be written");
        for sample in samples {
            let full_scale = f64::from(1_u32 << (bits - 1));
            match float {
                true => writer.write_sample(*sample as f32),
                false => writer.write_sample((sample * full_scale) as i32),
            }
            .expect("memory can be written");
        }
        writer.finalize().expect("memory can be written");
        bytes.into_inner()
    }

    fn read(bytes: &[u8]) -> Result<CallAudio, AudioError> {
        decode(Path::new("call.wav"), &mut Cursor::new(bytes), bytes.len() as u64)
    }

    #[test]
    fn every_encoding_gives_the_same_samples() {
        let samples = [0.0, 0.25, -0.5, -1.0, 0.75];
        for (bits, float, note) in [
            (8, false, Some("converted from 8-bit to 16-bit integer")),
            (16, false, None),
            (24, false, Some("converted from 24-bit to 16-bit integer")),
            (32, false, Some("converted from 32-bit to 16-bit integer")),
            (32, true, Some("converted from 32-bit float to 16-bit integer")),
        ] {
            let call = read(&wav(1, 16_000, bits, float, &samples)).expect("the encoding is read");
            assert_eq!(call.samples, [0, 8_192, -16_384, -32_768, 24_576], "{bits} bits");
            assert_eq!(call.notes.first().map(String::as_str), note);
        }
    }

    #[test]
    fn stereo_at_another_rate_is_told_in_the_notes() {
        let call = read(&wav(2, 44_100, 16, false, &vec![0.5; 88_200])).expect("stereo is read");
        assert_eq!(call.samples.len(), 16_000);
        assert!(call.samples[100..15_900].iter().all(|sample| *sample == 16_384));
        assert_eq!(call.notes, ["stereo downmixed to mono", "resampled from 44100 Hz to 16000 Hz"]);
    }

    #[test]
    fn opposite_channels_cancel_and_wild_floats_are_clipped() {
        let call = read(&wav(2, 16_000, 16, false, &[0.5, -0.5, -1.0, -1.0])).expect("stereo is read");
        assert_eq!(call.samples, [0, -32_768]);
        let wild = [2.0, -2.0, f64::NAN, f64::INFINITY, 0.5];
        let call = read(&wav(1, 16_000, 32, true, &wild)).expect("floats are read");
        assert_eq!(call.samples, [32_767, -32_768, 0, 32_767, 16_384]);
        assert_eq!(call.notes[1..], ["3 samples beyond full scale clipped", "1 samples that are no numbers silenced"]);
    }

    #[test]
    fn a_length_left_open_is_read_to_the_end() {
        for open in [0x7fff_f000_u32, u32::MAX] {
            let mut bytes = wav(1, 16_000, 16, false, &[0.25; 10]);
            let at = bytes.len() - 24;
            bytes[at..at + 4].copy_from_slice(&open.to_le_bytes());
            bytes.push(1);
            let call = read(&bytes).expect("an open length is read");
            assert_eq!(call.samples, [8_192; 10]);
            assert_eq!(call.notes.len(), 2, "{:?}", call.notes);
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_the_file_and_the_remedy() {
        let good = wav(1, 16_000, 16, false, &[0.25; 100]);
        let mut mu_law = good.clone();
        mu_law[20] = 7;
        for (bytes, expect) in [
            (Vec::new(), "call.wav holds no audio: record it again"),
            (wav(1, 16_000, 16, false, &[]), "call.wav holds no audio: record it again"),
            (
                b"ID3 and more".to_vec(),
                "call.wav is not a WAV file that can be read (it does not begin with RIFF and WAVE): convert it",
            ),
            (b"RI".to_vec(), "call.wav is not a WAV file that can be read (it is too short): convert it"),
            (good[..30].to_vec(), "call.wav ends inside its header: copy"),
            (good[..100].to_vec(), "call.wav is cut short, its header promises 200 bytes of samples and 56 are there"),
            (mu_law, "call.wav is stored as mu-law, and only"),
            (wav(3, 16_000, 16, false, &[0.0; 3]), "call.wav has 3 channels, and only mono and stereo"),
            (wav(1, 96_000, 16, false, &[0.0; 3]), "call.wav: 96000 Hz is not between 8000 and 48000 Hz: convert it"),
        ] {
            let error = read(&bytes).expect_err("the file is bad").to_string();
            assert!(error.starts_with(expect), "{error}");
        }
    }

    #[test]
    fn the_limits_are_checked_before_anything_is_read() {
        let header = wav(1, 8_000, 8, false, &[0.0]);
        let huge = decode(Path::new("x"), &mut Cursor::new(&header), MAX_WAV_BYTES + 1);
        assert!(matches!(huge, Err(AudioError::TooLarge { .. })));
        let mut long = header;
        let at = long.len() - 5;
        long[at..at + 4].copy_from_slice(&(3_601 * 8_000_u32).to_le_bytes());
        let long = decode(Path::new("x"), &mut Cursor::new(&long), 3_602 * 8_000);
        assert!(matches!(long, Err(AudioError::TooLong { seconds: 3_601, .. })), "{long:?}");
    }

    #[test]
    fn what_is_no_file_is_told_apart() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        assert!(matches!(read_call(folder.path()), Err(AudioError::NotAFile { .. })));
        assert!(matches!(read_call(folder.path().join("none.wav")), Err(AudioError::Missing { .. })));
    }

    #[test]
    fn a_recording_is_whole_padded_and_alone_in_its_folder() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let path = folder.path().join("call.wav");
        for length in [3, 5] {
            write_stereo(&path, &[1, 2, 3, 4][..length.min(4)], &vec![9; length], 24_000).expect("it is written");
        }
        let mut reader = hound::WavReader::open(&path).expect("it is a WAV file");
        assert_eq!((reader.spec().channels, reader.spec().sample_rate), (2, 24_000));
        let samples: Vec<i16> = reader.samples().map(|sample| sample.expect("it is whole")).collect();
        assert_eq!(samples, [1, 9, 2, 9, 3, 9, 4, 9, 0, 9]);
        assert_eq!(fs::read_dir(folder.path()).expect("the folder is there").count(), 1);
        assert_eq!(read_call(&path).expect("it reads back").samples.len(), 3);
    }

    #[test]
    fn a_recording_that_fails_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let lost = write_stereo(folder.path().join("none").join("call.wav"), &[1], &[1], 16_000);
        assert!(matches!(lost, Err(AudioError::Unwritable { .. })));
        assert!(matches!(write_stereo(folder.path(), &[1], &[1], 16_000), Err(AudioError::Unwritable { .. })));
        assert!(matches!(write_stereo("call.wav", &[1], &[1], 0), Err(AudioError::Rate { .. })));
        assert_eq!(fs::read_dir(folder.path()).expect("the folder is there").count(), 0);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn no_damage_makes_it_panic(
            channels in 1..3_u16,
            form in prop::sample::select(vec![(8, false), (16, false), (24, false), (32, false), (32, true)]),
            cut in 0..400_usize,
            damage in prop::collection::vec((0..64_usize, any::<u8>()), 0..4),
        ) {
            let mut bytes = wav(channels, 8_000, form.0, form.1, &[0.25; 64]);
            bytes.truncate(cut);
            for (at, byte) in damage {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            let _ = read(&bytes);
        }

        #[test]
        fn a_cut_file_is_never_read_as_a_whole_one(cut in 0..243_usize) {
            let bytes = wav(1, 16_000, 16, false, &[0.25; 100]);
            prop_assert!(read(&bytes[..cut]).is_err());
        }
    }
}
