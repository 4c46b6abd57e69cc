//! Both lanes of a tick go through the dataflow together where nothing is revoked: what control releases in an operator is
//! still before the data of its tick, in all operators behind it.

use std::sync::Arc;

use rspp::specs::dataflow::Directive;
use rspp::specs::event::{AudioFrame, Payload, PortType};
use rspp::specs::ids::PortIndex;
use rspp::specs::time::Micros;
use rspp::specs::timeline::{Entry, Input, Record, SessionOpen, Signal};
use rspp::{Batch, Context, Node, NodeType, Registry, compile, core};

const SPEC: &str = "kind: PipelineSpec
name: lanes
version: 1
nodes:
  caller: {type: caller}
  late: {type: late}
  pass: {type: pass}
  order: {type: order}
edges: [caller -> late, late -> pass, pass -> order]
";

/// Passes audio on, and an echo of one sample when its time has come.
struct Late;

impl Node for Late {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        cx.wake_at(cx.now() + Micros::from_ms(20));
        cx.emit(payload);
    }

    fn on_directive(&mut self, cx: &mut Context<'_>, directive: &Directive) {
        if matches!(directive, Directive::Wake(_)) {
            cx.emit(Payload::Audio(frame(1)));
        }
    }
}

struct Pass;

impl Node for Pass {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        cx.emit(payload);
    }
}

/// Says after each frame what has come so far: a digit for each frame, its length.
#[derive(Default)]
struct Order(u32);

impl Node for Order {
    fn on_event(&mut self, cx: &mut Context<'_>, _port: PortIndex, payload: Payload) {
        let Payload::Audio(frame) = payload else { return };
        self.0 = self.0 * 10 + frame.samples.len() as u32;
        cx.dropped(self.0, "so far");
    }
}

fn frame(samples: usize) -> AudioFrame {
    AudioFrame { samples: vec![0; samples].into(), rate_hz: 16_000, spoken_by: None }
}

fn registry() -> Registry {
    let of = |make: fn() -> Box<dyn Node>| NodeType::new(PortType::Audio, PortType::Audio, move |_| Ok(make()));
    Registry::new()
        .with("late", of(|| Box::new(Late)))
        .with("pass", of(|| Box::new(Pass)))
        .with("order", of(|| Box::<Order>::default()))
}

fn said(records: &[Record]) -> Option<u32> {
    let mut said = records.iter().filter_map(|record| match &record.entry {
        Entry::Signal(_, Signal::DropNotice { dropped, .. }) => Some(dropped.items),
        _ => None,
    });
    said.next_back()
}

#[test]
fn what_control_releases_is_before_the_data_of_its_tick() {
    let plan = compile("lanes.yaml", SPEC, &registry()).unwrap_or_else(|findings| panic!("{findings}"));
    let mut core = core(registry());
    let slot = core.reserve().expect("there is room");
    let (mut batch, mut records) = (Batch::default(), Vec::new());
    let open = SessionOpen::new("lanes", Arc::new(plan));
    batch.push(slot, Input::SessionOpen(Box::new(open))).expect("control always fits");
    for (at_ms, length, so_far) in [(0, 5, 5), (20, 6, 516), (40, 7, 51_617)] {
        batch.push(slot, Input::CallerAudio(frame(length))).expect("there is room for a frame");
        core.tick(Micros::from_ms(at_ms), &mut batch, &mut records);
        assert_eq!(said(&records), Some(so_far), "at {at_ms} ms");
    }
}
