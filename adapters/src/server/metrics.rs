//! The page that Prometheus reads.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use super::House;
use crate::onlooker::Count;

/// Everything that is counted, in Prometheus' text format.
pub(super) fn page(house: &House) -> String {
    let (counts, traffic) = (house.bridge.counts(), &house.traffic);
    let mut page = String::new();
    let mut one = |name: &str, kind: &str, says: &str, value: u64| {
        let _ = writeln!(page, "# HELP rspp_{name} {says}\n# TYPE rspp_{name} {kind}\nrspp_{name} {value}");
    };
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    one("sessions", "gauge", "Sessions that are open.", counts.sessions.load(Ordering::Relaxed) as u64);
    one("sessions_parked", "gauge", "Sessions whose connection is lost and may come back.", house.parking.len() as u64);
    one("connections", "gauge", "Connections.", traffic.connections.load(Ordering::Relaxed) as u64);
    one("provider_threads", "gauge", "Threads of providers.", house.pipeline.pool.threads() as u64);
    one("inbox", "gauge", "Inputs that wait for a worker.", house.bridge.waiting() as u64);
    for (name, says, counter) in [
        ("sessions_opened_total", "Sessions that began.", &counts.opened),
        ("sessions_refused_total", "Sessions for which no worker had room.", &counts.refused),
        ("sessions_taken_over_total", "Sessions that came from another worker.", &counts.taken_over),
        ("sessions_not_rebuilt_total", "Sessions that another worker's journal did not rebuild.", &counts.not_rebuilt),
        ("sessions_refused_by_journal_total", "Sessions that others had taken meanwhile.", &counts.stale_writes),
        ("sessions_not_kept_total", "Sessions that could not be kept for others.", &counts.unkept),
        ("sessions_resumed_total", "Sessions whose connection came back.", &traffic.resumed),
        ("connections_total", "Connections that were taken.", &traffic.accepted),
        ("ticks_total", "Ticks of all workers.", &counts.ticks),
        ("inputs_total", "Inputs from transports and providers.", &counts.inputs),
        ("inputs_out_of_bounds_total", "Inputs that kept to no limit.", &counts.out_of_bounds),
        ("frames_out_total", "Frames of audio handed to transports.", &counts.frames_out),
        ("clears_total", "Times that transports were told to clear.", &counts.clears),
        ("frames_fenced_total", "Frames that the last gate stopped at a socket.", &traffic.fenced),
        ("turns_total", "Turns that opened.", &counts.turns),
        ("cancels_total", "Turns that were cancelled.", &counts.cancels),
        ("provider_errors_total", "Provider invocations that ended badly.", &counts.provider_errors),
        ("node_overruns_total", "Reactions of nodes that computed for long.", &counts.overruns),
        ("dispatches_refused_total", "Invocations for which there was no room.", &counts.dispatches_refused),
        ("turns_refused_total", "Turns that were put off or shed for want of room.", &counts.turns_refused),
        ("stalls_total", "Times that a peer did not read.", &counts.stalls),
        ("messages_in_total", "Messages from peers.", &traffic.messages_in),
        ("messages_out_total", "Messages to peers.", &traffic.messages_out),
        ("bytes_in_total", "Bytes in messages from peers.", &traffic.bytes_in),
        ("bytes_out_total", "Bytes in messages to peers.", &traffic.bytes_out),
        ("recorded_events_total", "Events that are in the workers' logs.", &counts.logged),
        ("recorded_events_left_out_total", "Events that the logs had no room for.", &counts.left_out),
        ("recorded_evidence_lost_total", "Turns of which not even evidence was kept.", &counts.evidence_lost),
        ("log_failures_total", "Writes to the logs that the system refused.", &counts.log_failures),
        ("log_slow_writes_total", "Ticks that waited for the disk for longer than a frame.", &counts.slow_writes),
        ("recordings_exported_total", "Recordings that are with the store.", &counts.exported),
        ("recording_exports_failed_total", "Tries at the store that failed.", &counts.export_tries_failed),
        ("recording_exports_given_up_total", "Recordings that the store did not take.", &counts.exports_given_up),
        ("worker_busy_microseconds_total", "Time that workers spent in ticks.", &counts.busy_us),
    ] {
        one(name, "counter", says, of(counter));
    }
    for Count { name, says, value } in house.bridge.looked_on() {
        one(name, "counter", says, value);
    }
    parts(house, &mut page);
    page
}

/// What there is of each provider, node, edge, gate and refusal.
fn parts(house: &House, page: &mut String) {
    let says = "Invocations that wait for a thread of a provider.";
    let _ = writeln!(page, "# HELP rspp_provider_waiting {says}\n# TYPE rspp_provider_waiting gauge");
    for waiting in house.pipeline.pool.waiting() {
        let _ = writeln!(page, "rspp_provider_waiting{{node=\"{}\"}} {}", waiting.node, waiting.invocations);
    }
    *page += &house.bridge.meters().page();
    let _ = writeln!(page, "# HELP rspp_refusals_total What was refused, by code.\n# TYPE rspp_refusals_total counter");
    for (code, number) in house.traffic.refusals() {
        let _ = writeln!(page, "rspp_refusals_total{{code=\"{code}\"}} {number}");
    }
}
