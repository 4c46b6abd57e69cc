//! What 20 ms of a caller's audio cost at the border: rates, codecs, and making up what is lost.

use criterion::{Criterion, criterion_group, criterion_main};
use rspp_adapters::audio::{Concealer, Encoding, Inbound, Law, Outbound, WireFormat};
use rspp_specs::event::AudioFrame;
use std::hint::black_box;

criterion_group!(benches, from_wires, to_wires, losses);
criterion_main!(benches);

const FORMATS: [(&str, WireFormat); 7] = [
    ("mu-law 8 kHz", WireFormat::MU_LAW),
    ("A-law 8 kHz", WireFormat { encoding: Encoding::G711(Law::A), rate_hz: 8_000 }),
    ("PCM 16 kHz", WireFormat::pcm(16_000)),
    ("PCM 24 kHz", WireFormat::pcm(24_000)),
    ("PCM 48 kHz", WireFormat::pcm(48_000)),
    ("Opus 16 kHz", WireFormat { encoding: Encoding::Opus, rate_hz: 16_000 }),
    ("Opus 48 kHz", WireFormat { encoding: Encoding::Opus, rate_hz: 48_000 }),
];

fn frame() -> AudioFrame {
    let samples = (0..320).map(|n| ((f64::from(n) * 0.11).sin() * 9_000.0) as i16).collect();
    AudioFrame { samples, rate_hz: 16_000, spoken_by: None }
}

fn from_wires(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("20 ms from a wire");
    for (name, format) in FORMATS {
        let mut out = Outbound::new(format).expect("a good format");
        let packet = out.push(&frame()).expect("16 kHz is a good rate").concat();
        let mut inbound = Inbound::new(format, 16_000).expect("a good format");
        group
            .bench_function(name, |bencher| bencher.iter(|| inbound.push(black_box(&packet)).expect("it was written")));
    }
}

fn to_wires(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("20 ms to a wire");
    for (name, format) in FORMATS {
        let (frame, mut out) = (frame(), Outbound::new(format).expect("a good format"));
        group.bench_function(name, |bencher| {
            bencher.iter(|| out.push(black_box(&frame)).expect("16 kHz is a good rate"));
        });
    }
}

fn losses(criterion: &mut Criterion) {
    let frame = frame();
    criterion.bench_function("20 ms lost, made up", |bencher| {
        bencher.iter(|| {
            let (mut stream, mut heard) = (Concealer::new(16_000), Vec::with_capacity(1_600));
            (0..3).for_each(|_| stream.push(&frame.samples, &mut heard));
            stream.lost(320, &mut heard);
            heard
        });
    });
}
