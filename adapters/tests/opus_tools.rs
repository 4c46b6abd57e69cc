//! Opus against libopus, through its own programs `opusenc` and `opusdec` (Debian: opus-tools).
//!
//! `cargo test --workspace --test opus_tools -- --ignored`, which `.ci/run` does where the programs are.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;
use std::process::Command;

use opus_pure::{OggOpusReader, OggOpusWriter, OpusHead};
use rspp_adapters::audio::{OpusReader, OpusWriter};

const RATE_HZ: u32 = 48_000;

/// A voice that glides, with a pause.
fn voice() -> Vec<i16> {
    let mut angle = 0.0_f64;
    let sample = |n: u32| {
        let time = f64::from(n) / f64::from(RATE_HZ);
        angle += (140.0 + 60.0 * (time * 3.0).sin()) * std::f64::consts::TAU / f64::from(RATE_HZ);
        let loud = if (1.0..1.3).contains(&time) { 0.0 } else { 1.0 };
        ((angle.sin() * 6_000.0 + (3.0 * angle).sin() * 2_000.0 + (7.0 * angle).sin() * 700.0) * loud) as i16
    };
    (0..2 * RATE_HZ).map(sample).collect()
}

fn write_wav(path: &Path, samples: &[i16]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE_HZ,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).expect("a file can be made");
    samples.iter().for_each(|sample| writer.write_sample(*sample).expect("it can be written"));
    writer.finalize().expect("it can be ended");
}

fn run(program: &str, arguments: &[&str], folder: &Path) {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{program} (Debian: opus-tools): {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

fn decoded_by_libopus(folder: &Path) -> Vec<i16> {
    run("opusdec", &["--quiet", "--rate", "48000", "--no-dither", "a.opus", "a.wav"], folder);
    let reader = hound::WavReader::open(folder.join("a.wav")).expect("opusdec wrote it");
    reader.into_samples::<i16>().map(|sample| sample.expect("16 bits")).collect()
}

/// The file decoded by ours, without what its header says to leave out.
fn decoded_by_ours(folder: &Path) -> Vec<i16> {
    let file = BufReader::new(File::open(folder.join("a.opus")).expect("it was written"));
    let mut ogg = OggOpusReader::new(file).expect("it is Ogg Opus");
    let skip = usize::from(ogg.head().pre_skip);
    let (mut reader, mut samples) = (OpusReader::new(RATE_HZ).expect("a rate of Opus"), Vec::new());
    while let Some(packet) = ogg.read_packet().expect("it is whole") {
        reader.push(&packet.data, &mut samples).expect("it is a packet");
    }
    samples.split_off(skip)
}

/// How far what was found is below what was wanted, in dB.
fn difference_db(found: &[i16], wanted: &[i16]) -> f64 {
    let power = |of: &mut dyn Iterator<Item = f64>| of.map(|sample| sample * sample).sum::<f64>().max(1e-9);
    let error = power(&mut found.iter().zip(wanted).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    10.0 * (error / power(&mut wanted.iter().map(|sample| f64::from(*sample)))).log10()
}

#[test]
#[ignore = "needs opus-tools"]
fn what_libopus_writes_is_read_as_libopus_reads_it() {
    for kilobits in ["12", "24", "64"] {
        let folder = tempfile::tempdir().expect("a folder can be made");
        write_wav(&folder.path().join("in.wav"), &voice());
        run("opusenc", &["--quiet", "--bitrate", kilobits, "in.wav", "a.opus"], folder.path());
        let (ours, theirs) = (decoded_by_ours(folder.path()), decoded_by_libopus(folder.path()));
        assert!(ours.len().abs_diff(theirs.len()) < 2_000, "{} and {}", ours.len(), theirs.len());
        let difference = difference_db(&ours, &theirs);
        eprintln!("{kilobits} kbit/s: {difference:.1} dB");
        assert!(difference < -60.0, "{kilobits} kbit/s: {difference:.1} dB");
    }
}

#[test]
#[ignore = "needs opus-tools"]
fn what_is_written_here_libopus_reads_as_we_do() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = BufWriter::new(File::create(folder.path().join("a.opus")).expect("a file can be made"));
    let head = OpusHead::new(1, RATE_HZ).expect("mono is good");
    let mut ogg = OggOpusWriter::new(file, head).expect("a header can be written");
    let (mut writer, wave) = (OpusWriter::new(RATE_HZ).expect("a rate of Opus"), voice());
    for piece in wave.chunks(777) {
        writer.push(piece, |packet| ogg.write_packet(packet).expect("it can be written"));
    }
    writer.finish(|packet| ogg.write_packet(packet).expect("it can be written"));
    ogg.finish().expect("it can be ended");
    run("opusinfo", &["a.opus"], folder.path());
    let (ours, theirs) = (decoded_by_ours(folder.path()), decoded_by_libopus(folder.path()));
    let difference = difference_db(&ours, &theirs);
    eprintln!("ours by libopus and by us: {difference:.1} dB");
    assert!(difference < -60.0, "{difference:.1} dB");
    // And it is as much like what was said as what libopus's own encoder makes of it.
    write_wav(&folder.path().join("in.wav"), &wave);
    run("opusenc", &["--quiet", "--speech", "--bitrate", "24", "--comp", "5", "in.wav", "a.opus"], folder.path());
    let (ours, libopus) = (likeness_db(&theirs, &wave), likeness_db(&decoded_by_libopus(folder.path()), &wave));
    eprintln!("what was said, by our encoder and by libopus's: {ours:.1} and {libopus:.1} dB");
    assert!(ours < libopus + 2.0, "{ours:.1} and {libopus:.1} dB");
}

/// The difference at the delay that fits best.
fn likeness_db(found: &[i16], said: &[i16]) -> f64 {
    let at = |late: usize| difference_db(&found[late..late + 40_000], &said[..40_000]);
    (0..1_000).step_by(2).map(at).fold(0.0, f64::min)
}
