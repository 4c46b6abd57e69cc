//! What a spec of 200 nodes costs until it runs: `rspp lint` at most 50 ms; compiling it, lowering it and beginning its first
//! session, together, at most 20 ms.

mod large;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use large::models;
use rspp::specs::time::Micros;
use rspp::specs::timeline::{Input, SessionOpen};
use rspp::{Batch, Registry, compile, core};
use rspp_compiler::{Request, lint};

/// As many as the limits are for.
const NODES: usize = 200;

criterion_group!(benches, whole_spec);
criterion_main!(benches);

fn whole_spec(criterion: &mut Criterion) {
    let (text, registry) = (models(NODES), Registry::new());
    let mut group = criterion.benchmark_group("spec of 200 nodes");
    group.bench_function("lint", |bencher| {
        bencher.iter(|| black_box(lint(&Request::new("large.yaml", &text), &registry)));
    });
    let compiled = || compile("large.yaml", &text, &registry).unwrap_or_else(|findings| panic!("{findings}"));
    group.bench_function("compile", |bencher| bencher.iter(|| black_box(compiled())));
    group.bench_function("compile, lower and begin", |bencher| {
        bencher.iter(|| {
            let mut core = core(registry.clone());
            let slot = core.reserve().expect("a worker has room for one session");
            let (mut batch, mut timeline) = (Batch::default(), Vec::new());
            let open = SessionOpen::new("call", Arc::new(compiled()));
            batch.push(slot, Input::SessionOpen(Box::new(open))).expect("control always fits");
            core.tick(Micros(0), &mut batch, &mut timeline);
            black_box(timeline.len())
        });
    });
    group.finish();
}
