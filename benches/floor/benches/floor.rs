//! What it costs to write an event with 640 bytes of audio down and to read it back: by the wire (protobuf, the lean envelope of
//! a worker's log), and by `abomonation`, which copies memory as it lies there and is the floor of what any codec can cost.
//! `cargo bench --bench recording` in the repository has bincode, columnar and plain copying.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rspp_specs::event::AudioFrame;
use rspp_specs::ids::{InvocationId, RuntimeSequence, Slot, TurnId};
use rspp_specs::time::Micros;
use rspp_specs::timeline::{Effect, EgressEpoch, Entry, Input, Record};
use rspp_specs::wire;

criterion_group!(benches, floor);
criterion_main!(benches);

const EVENTS: u32 = 1_000;

/// What there is to copy of an event with audio: slot, tick, time, kind, turn, place, samples.
type Flat = (u32, u64, u64, u8, u32, u64, Vec<i16>);

fn samples() -> Vec<i16> {
    (0..320_i32).map(|at| (at * 7_919 % 20_011) as i16).collect()
}

fn flat(number: u32) -> Flat {
    (number / 2, 2, 40_000, (number % 2) as u8, number % 2, u64::from(number % 2) * 640, samples())
}

fn record(number: u32) -> Record {
    let frame = AudioFrame { samples: samples().into(), rate_hz: 16_000, spoken_by: Some(InvocationId(3)) };
    let entry = match number % 2 {
        0 => Entry::Input(RuntimeSequence(2), Input::CallerAudio(frame)),
        _ => Entry::Effect(Effect::Transmit { turn: TurnId(1), epoch: EgressEpoch(0), from_sample: 640, frame }),
    };
    Record { slot: Slot(number / 2), tick: 2, at: Micros::from_ms(40), entry }
}

fn buffer() -> Vec<u8> {
    Vec::with_capacity(2 << 20)
}

fn floor(criterion: &mut Criterion) {
    let records: Vec<Record> = (0..EVENTS).map(record).collect();
    let flats: Vec<Flat> = (0..EVENTS).map(flat).collect();
    let mut group = criterion.benchmark_group("codec, an event with 640 bytes");
    group.throughput(Throughput::Elements(u64::from(EVENTS)));
    group.bench_function("protobuf, lean", |bencher| {
        bencher.iter_batched_ref(buffer, |out| records.iter().for_each(|it| protobuf(it, out)), BatchSize::LargeInput);
    });
    group.bench_function("protobuf, lean, both ways", |bencher| {
        let there_and_back = |out: &mut Vec<u8>| {
            for record in &records {
                out.clear();
                protobuf(record, out);
                black_box(wire::decode_lean(out).expect("it was encoded"));
            }
        };
        bencher.iter_batched_ref(buffer, there_and_back, BatchSize::LargeInput);
    });
    group.bench_function("abomonation", |bencher| {
        bencher.iter_batched_ref(buffer, |out| flats.iter().for_each(|it| copied(it, out)), BatchSize::LargeInput);
    });
    group.bench_function("abomonation, both ways", |bencher| {
        let there_and_back = |out: &mut Vec<u8>| {
            for flat in &flats {
                out.clear();
                copied(flat, out);
                // It was written by this very program, and nobody has touched it since.
                let read = unsafe { abomonation::decode::<Flat>(out) };
                black_box(read.expect("it was encoded").0.6.len());
            }
        };
        bencher.iter_batched_ref(buffer, there_and_back, BatchSize::LargeInput);
    });
}

fn protobuf(record: &Record, out: &mut Vec<u8>) {
    wire::encode_lean(record, None, out).expect("within the limits");
}

/// It copies padding, too, which is why it is `unsafe`; nothing reads the bytes as bytes.
fn copied(flat: &Flat, out: &mut Vec<u8>) {
    unsafe { abomonation::encode(flat, out) }.expect("memory takes everything");
}
