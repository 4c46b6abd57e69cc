//! Strategies for every record that the core can write.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use rspp_specs::admission::{AdmissionPoint, AdmissionSnapshot, ConnectionState, Quota, Refusal, RejectReason};
use rspp_specs::budget::{BudgetOutcome, CircuitState, DegradeStep, SwitchCause, TurnBudget, TurnPart};
use rspp_specs::buffer::{
    BranchFault, BufferSpec, Dropped, EdgeSync, FlowControl, Held, Shed, SyncDrop, SyncGroup, WatermarkLevel, XonCause,
};
use rspp_specs::event::{AudioFrame, ContextEntry, PortType, ProviderResult, Request, ToolCall, Transcript};
use rspp_specs::event::{Talk, ToolEffect, Understanding, WordEnd};
use rspp_specs::ids::{
    EdgeIndex, Generation, InvocationId, LeaseEpoch, NodeIndex, PortIndex, RuntimeSequence, Slot, TurnId, UtteranceId,
};
use rspp_specs::outcome::{AbortReason, CancelReason, CancelScope, Cancellation, Outcome};
use rspp_specs::plan::{
    AdmissionPolicy, Comparison, Condition, Lifetime, Metadata, NodeKind, Otherwise, Plan, PlanEdge, PlanHash,
    PlanNode, PlanParts, ProviderPolicy, RecordingLevel, RecordingPolicy,
};
use rspp_specs::plan::{ToolSpec, TurnPolicy, VadParams};
use rspp_specs::port::Port;
use rspp_specs::recording::{LevelCause, RecorderReport};
use rspp_specs::time::{Clock, Lane, Micros, Skew, WallReading};
use rspp_specs::timeline::{
    AckOccasion, Confirmation, Derived, Effect, EgressEpoch, Entry, Input, Observation, Opener, PlayoutAck, Prompt,
    Record, Resume, SessionOpen, Signal, Takeover, TimerKey, TurnProposal, TurnState,
};

fn text() -> BoxedStrategy<Arc<str>> {
    prop_oneof![Just(""), Just("what time do you open"), Just("Größe \u{1f600}\0\n"), Just("a=\"b\"")]
        .prop_map(Arc::from)
        .boxed()
}

fn micros() -> BoxedStrategy<Micros> {
    (0u64..1 << 48).prop_map(Micros).boxed()
}

fn samples() -> BoxedStrategy<u64> {
    (0u64..=1 << 40).boxed()
}

fn turn() -> BoxedStrategy<TurnId> {
    any::<u32>().prop_map(TurnId).boxed()
}

fn invocation() -> BoxedStrategy<InvocationId> {
    any::<u32>().prop_map(InvocationId).boxed()
}

fn node() -> BoxedStrategy<NodeIndex> {
    (0u16..64).prop_map(NodeIndex).boxed()
}

fn outcome() -> BoxedStrategy<Outcome> {
    select(Outcome::ALL.to_vec()).boxed()
}

fn cancel_reason() -> BoxedStrategy<CancelReason> {
    select(vec![CancelReason::BargeIn, CancelReason::UserCancel, CancelReason::Policy, CancelReason::Shutdown]).boxed()
}

fn cancellation() -> BoxedStrategy<Cancellation> {
    let of = prop_oneof![
        Just(CancelScope::Turn),
        Just(CancelScope::Session),
        node().prop_map(CancelScope::Node),
        invocation().prop_map(CancelScope::Invocation),
    ];
    (cancel_reason(), of, any::<bool>()).prop_map(|(reason, of, soft)| Cancellation { reason, of, soft }).boxed()
}

fn abort_reason() -> BoxedStrategy<AbortReason> {
    select(vec![
        AbortReason::AuthorityLoss,
        AbortReason::Cancelled,
        AbortReason::BudgetExhausted,
        AbortReason::NodeTimeoutOrFailure,
        AbortReason::ProviderFailure,
        AbortReason::TransportDisconnectOrStall,
        AbortReason::RecordingEvidenceUnavailable,
    ])
    .boxed()
}

fn frame() -> BoxedStrategy<AudioFrame> {
    let samples = prop_oneof![vec(any::<i16>(), 0..400), vec(Just(0), 0..400)];
    (samples, 1u32..=48_000, option::of(invocation()))
        .prop_map(|(samples, rate_hz, spoken_by)| AudioFrame { samples: samples.into(), rate_hz, spoken_by })
        .boxed()
}

fn call() -> BoxedStrategy<ToolCall> {
    (text(), text(), text()).prop_map(|(key, name, arguments)| ToolCall { key, name, arguments }).boxed()
}

fn transcript() -> BoxedStrategy<Transcript> {
    let understanding =
        select(vec![Understanding::Partial, Understanding::Words, Understanding::Rejected, Understanding::Empty]);
    (any::<u32>(), understanding, text(), micros())
        .prop_map(|(utterance, understanding, text, watermark)| Transcript {
            utterance: UtteranceId(utterance),
            understanding,
            text,
            watermark,
        })
        .boxed()
}

fn result() -> BoxedStrategy<ProviderResult> {
    prop_oneof![
        transcript().prop_map(ProviderResult::Transcript),
        text().prop_map(ProviderResult::Text),
        call().prop_map(ProviderResult::ToolCall),
        frame().prop_map(ProviderResult::Audio),
        text().prop_map(ProviderResult::ToolResult),
        vec((any::<u32>(), samples()), 0..5).prop_map(|ends| {
            let end = |(chars, samples)| WordEnd { chars, samples };
            ProviderResult::WordEnds(ends.into_iter().map(end).collect())
        }),
        outcome().prop_map(ProviderResult::End),
    ]
    .boxed()
}

fn finite() -> BoxedStrategy<f64> {
    prop_oneof![any::<f64>().prop_filter("JSON has no others", |x| x.is_finite()), Just(0.1), Just(1e300)].boxed()
}

fn comparison() -> BoxedStrategy<Comparison> {
    prop_oneof![
        finite().prop_map(Comparison::AtLeast),
        finite().prop_map(Comparison::Below),
        finite().prop_map(|number| Comparison::Equals(number.into())),
        text().prop_map(|text| Comparison::Differs(text.as_ref().into())),
    ]
    .boxed()
}

fn plan() -> BoxedStrategy<Arc<Plan>> {
    (comparison(), any::<u32>(), 0.0f32..1.0, finite(), micros())
        .prop_map(|(is, version, onset_probability, number, commit_point)| {
            let vad = VadParams { onset_probability, ..VadParams::default() };
            let tool = ToolSpec {
                name: "book".into(),
                effect: ToolEffect::Write,
                binding: "desk".into(),
                description: Some("Books a table.".into()),
                parameters: Some(serde_json::json!({"type": "object", "properties": {"people": {"minimum": 0.5}}})),
            };
            let llm = NodeKind::Llm { binding: "fast".into(), tools: vec![tool], prompt: Some("Be brief.".into()) };
            let custom = NodeKind::Custom {
                type_name: "mine".into(),
                config: serde_json::json!({"z": number, "a": [null, true, {"k": "v"}]}),
            };
            let port = |name| vec![Port::new(name, PortType::Any)];
            let node = |name: &str, kind| PlanNode {
                name: name.to_owned(),
                kind,
                lifetime: Lifetime::Turn,
                inputs: port("in"),
                outputs: port("out"),
                provider: ProviderPolicy { attempts: 3, ..ProviderPolicy::default() },
            };
            let edge = PlanEdge {
                from: NodeIndex(0),
                from_port: PortIndex(0),
                to: NodeIndex(2),
                to_port: PortIndex(0),
                when: Some(Condition { attribute: "confidence".into(), is }),
                buffer: Some(Arc::new(BufferSpec {
                    max_items: 7,
                    max_bytes: 4_096,
                    max_queue: Some(Micros::from_ms(900)),
                    max_latency: None,
                    max_block: Some(Micros::from_ms(100)),
                    shed: Shed::Sample { every: 3 },
                    high_percent: 70,
                    low_percent: 20,
                    flow: FlowControl::Hybrid,
                    defaulted: vec!["max_bytes".into()],
                })),
                sync: Some(Box::new(EdgeSync {
                    group: SyncGroup { id: "lips".into(), domain: "media".into() },
                    on_drop: SyncDrop::AtomicDrop,
                })),
            };
            let parts = PlanParts {
                name: "reception".into(),
                version,
                profile: "simple/v1".into(),
                nodes: vec![node("vad", NodeKind::Vad(vad)), node("llm", llm), node("mine", custom)],
                edges: vec![edge],
                turn: TurnPolicy { commit_point, ..TurnPolicy::default() },
                admission: AdmissionPolicy { snapshot_max_age: Some(commit_point), otherwise: Otherwise::Reject },
                recording: RecordingPolicy { level: RecordingLevel::L1, ..RecordingPolicy::default() },
                metadata: Metadata::from([("owner".to_owned(), "desk".into())]),
            };
            Arc::new(Plan::new(parts).expect("the invariants hold"))
        })
        .boxed()
}

fn observation() -> BoxedStrategy<Observation> {
    prop_oneof![
        any::<bool>().prop_map(|new_utterance| Observation::Onset { new_utterance }),
        select(vec![Observation::Sustained, Observation::Pause, Observation::Words, Observation::Backchannel]),
    ]
    .boxed()
}

fn acknowledgement() -> BoxedStrategy<PlayoutAck> {
    let occasion =
        select(vec![AckOccasion::Started, AckOccasion::Progress, AckOccasion::Drained, AckOccasion::Cleared]);
    (turn(), samples(), occasion)
        .prop_map(|(turn, heard_samples, occasion)| PlayoutAck { turn, heard_samples, occasion })
        .boxed()
}

fn opener() -> BoxedStrategy<Opener> {
    select(vec![Opener::Caller, Opener::Say, Opener::Ask]).boxed()
}

fn derived() -> BoxedStrategy<Derived> {
    let times = (option::of(micros()), option::of(micros()));
    let proposal = (text(), opener(), any::<bool>(), times, any::<bool>()).prop_map(
        |(text, opener, understood, (speech_end, waits_since), backchannel)| {
            Derived::TurnOpenProposed(TurnProposal { text, opener, understood, speech_end, backchannel, waits_since })
        },
    );
    let by = select(vec![Confirmation::Words, Confirmation::Speech, Confirmation::Onset]);
    prop_oneof![
        proposal,
        turn().prop_map(Derived::InterruptionProposed),
        (turn(), by).prop_map(|(turn, by)| Derived::InterruptionConfirmed(turn, by)),
        turn().prop_map(Derived::InterruptionDismissed),
        turn().prop_map(Derived::PlaybackCut),
        (turn(), abort_reason()).prop_map(|(turn, reason)| Derived::TurnFailed(turn, reason)),
        (turn(), node()).prop_map(|(turn, node)| Derived::NodeLost(turn, node)),
    ]
    .boxed()
}

fn turn_budget() -> BoxedStrategy<TurnBudget> {
    select(vec![TurnBudget::FirstSpeakable, TurnBudget::FirstAudio, TurnBudget::Whole]).boxed()
}

fn budget_outcome() -> BoxedStrategy<BudgetOutcome> {
    select(vec![BudgetOutcome::Continue, BudgetOutcome::Degrade, BudgetOutcome::Fallback, BudgetOutcome::Terminate])
        .boxed()
}

fn turn_part() -> BoxedStrategy<TurnPart> {
    prop_oneof![
        node().prop_map(TurnPart::Node),
        (0u16..16).prop_map(TurnPart::Path),
        (0u16..256).prop_map(|edge| TurnPart::Edge(EdgeIndex(edge))),
    ]
    .boxed()
}

fn degrade_step() -> BoxedStrategy<DegradeStep> {
    prop_oneof![
        node().prop_map(DegradeStep::Provider),
        node().prop_map(DegradeStep::Skip),
        (node(), any::<u32>()).prop_map(|(node, sentences)| DegradeStep::Shorten { node, sentences }),
    ]
    .boxed()
}

fn epoch() -> BoxedStrategy<LeaseEpoch> {
    any::<u64>().prop_map(LeaseEpoch).boxed()
}

fn admission() -> BoxedStrategy<AdmissionSnapshot> {
    let quota = prop_oneof![
        Just(Quota::Available),
        micros().prop_map(|retry_after| Quota::Deferred { retry_after }),
        Just(Quota::Exhausted),
        Just(Quota::Shedding),
    ];
    (any::<u64>(), any::<u32>(), epoch(), quota)
        .prop_map(|(version, form, epoch, quota)| AdmissionSnapshot { version, form, epoch, quota })
        .boxed()
}

fn connection() -> BoxedStrategy<ConnectionState> {
    select(vec![
        ConnectionState::Connected,
        ConnectionState::Disconnected,
        ConnectionState::Stalled,
        ConnectionState::Silent,
        ConnectionState::Muted,
    ])
    .boxed()
}

fn reject_reason() -> BoxedStrategy<RejectReason> {
    select(vec![
        RejectReason::TurnActive,
        RejectReason::Draining,
        RejectReason::Suspended,
        RejectReason::NoQuota,
        RejectReason::SnapshotMissing,
        RejectReason::SnapshotStale,
        RejectReason::SnapshotIncompatible,
        RejectReason::Backchannel,
        RejectReason::NoCapacity,
        RejectReason::QueueFull,
        RejectReason::Expired,
    ])
    .boxed()
}

fn refusal() -> BoxedStrategy<Refusal> {
    let point = select(vec![AdmissionPoint::Enqueue, AdmissionPoint::Dequeue, AdmissionPoint::Dispatch]);
    (reject_reason(), point, text())
        .prop_map(|(reason, point, fairness_key)| Refusal { reason, point, fairness_key })
        .boxed()
}

fn takeover() -> BoxedStrategy<Input> {
    (epoch(), vec(invocation(), 0..4))
        .prop_map(|(epoch, lost)| Input::Takeover(Takeover { epoch, lost: lost.into() }))
        .boxed()
}

fn timer() -> BoxedStrategy<TimerKey> {
    prop_oneof![
        node().prop_map(TimerKey::Node),
        turn().prop_map(TimerKey::CommitPoint),
        turn().prop_map(TimerKey::PlayoutAckWait),
        invocation().prop_map(TimerKey::Result),
        invocation().prop_map(TimerKey::Retry),
        (turn(), turn_budget()).prop_map(|(turn, budget)| TimerKey::Budget(turn, budget)),
        (turn(), turn_part()).prop_map(|(turn, part)| TimerKey::Part(turn, part)),
        Just(TimerKey::Reconnect),
        turn().prop_map(TimerKey::Hold),
        turn().prop_map(TimerKey::CancelGrace),
        node().prop_map(TimerKey::Buffers),
        Just(TimerKey::Deferred),
        node().prop_map(TimerKey::NodeStart),
        Just(TimerKey::Silence),
    ]
    .boxed()
}

fn session_open() -> BoxedStrategy<Input> {
    let resume = (any::<[u32; 4]>(), any::<[u64; 2]>(), vec(context_entry(), 0..5)).prop_map(|(few, many, context)| {
        let ([turns, invocations, generations, clears], [ticks, sequence]) = (few, many);
        Resume { turns, invocations, ticks, sequence, generations, clears, context: context.into() }
    });
    (text(), plan(), resume, epoch(), text(), option::of(level()))
        .prop_map(|(session, plan, resume, epoch, fairness_key, recording)| {
            Input::SessionOpen(Box::new(SessionOpen { session, plan, resume, epoch, fairness_key, recording }))
        })
        .boxed()
}

fn level() -> BoxedStrategy<RecordingLevel> {
    select(vec![RecordingLevel::L0, RecordingLevel::L1, RecordingLevel::L2]).boxed()
}

fn recorder() -> BoxedStrategy<Input> {
    let plain =
        [RecorderReport::Relaxed, RecorderReport::Strained, RecorderReport::Overloaded, RecorderReport::NoEvidence];
    prop_oneof![select(plain.to_vec()), level().prop_map(RecorderReport::Asked)].prop_map(Input::Recorder).boxed()
}

fn level_change() -> BoxedStrategy<Signal> {
    let causes = [LevelCause::Pressure, LevelCause::Relief, LevelCause::Asked];
    (level(), select(causes.to_vec())).prop_map(|(level, cause)| Signal::RecordingLevel { level, cause }).boxed()
}

fn input() -> BoxedStrategy<Input> {
    prop_oneof![
        session_open(),
        select(vec![Input::SessionEnd, Input::SessionDrain, Input::AuthorityRevoked, Input::TransportLost]),
        epoch().prop_map(Input::LeaseRotated),
        recorder(),
        (epoch(), text()).prop_map(|(epoch, input)| Input::StaleEpoch { epoch, input }),
        admission().prop_map(Input::Admission),
        connection().prop_map(Input::Connection),
        (text(), any::<bool>()).prop_map(|(binding, healthy)| Input::ProviderHealth { binding, healthy }),
        cancellation().prop_map(Input::Cancel),
        select(vec![Talk::Press, Talk::Release, Talk::EndOfUtterance]).prop_map(Input::Talk),
        invocation().prop_map(Input::DispatchRefused),
        takeover(),
        (node(), micros()).prop_map(|(node, took)| Input::NodeOverrun { node, took }),
        (0u64..1 << 53, micros()).prop_map(|(unix_us, at)| Input::WallClock(WallReading { unix_us, at })),
        acknowledgement().prop_map(Input::PlayoutAck),
        observation().prop_map(Input::Observed),
        frame().prop_map(Input::CallerAudio),
        text().prop_map(Input::UserText),
        text().prop_map(|text| Input::Prompt(Prompt::Say(text))),
        text().prop_map(|text| Input::Prompt(Prompt::Ask(text))),
        (invocation(), result()).prop_map(|(id, result)| Input::Provider(id, result)),
        derived().prop_map(Input::Derived),
        timer().prop_map(Input::Timer),
    ]
    .boxed()
}

fn plain_signal() -> BoxedStrategy<Signal> {
    select(vec![
        Signal::SessionReady,
        Signal::SessionEnded,
        Signal::Admit,
        Signal::SessionSuspended,
        Signal::SessionResumed,
        Signal::DeauthorizedDrain,
        Signal::OutputAccepted,
        Signal::PlayoutHold,
        Signal::PlaybackStarted,
        Signal::Commit,
        Signal::Close,
    ])
    .boxed()
}

fn turn_signal() -> BoxedStrategy<Signal> {
    let open = (text(), any::<u32>(), (text(), opener()), any::<bool>(), option::of(micros())).prop_map(
        |(plan, generation, (text, opener), understood, speech_end)| Signal::TurnOpen {
            plan: PlanHash(plan),
            generation: Generation(generation),
            text,
            opener,
            understood,
            speech_end,
        },
    );
    let place = || (samples(), any::<bool>());
    prop_oneof![
        (cancel_reason(), micros()).prop_map(|(reason, grace)| Signal::SoftCancel { reason, grace }),
        (node(), cancel_reason()).prop_map(|(node, reason)| Signal::NodeCancelled { node, reason }),
        (invocation(), cancel_reason()).prop_map(|(id, reason)| Signal::InvocationCancelled { id, reason }),
        (invocation(), micros(), any::<u32>()).prop_map(|(id, after, late_results)| Signal::CancelSettled {
            id,
            after,
            late_results
        }),
        (invocation(), any::<u32>()).prop_map(|(id, late_results)| Signal::CancelIgnored { id, late_results }),
        open,
        place().prop_map(|(from_sample, estimated)| Signal::PlayoutResume { from_sample, estimated }),
        place().prop_map(|(heard_samples, estimated)| Signal::PlaybackCompleted { heard_samples, estimated }),
        place().prop_map(|(heard_samples, estimated)| Signal::PlaybackCancelled { heard_samples, estimated }),
        cancel_reason().prop_map(|reason| Signal::CancelAccepted { reason }),
        abort_reason().prop_map(|reason| Signal::Abort { reason }),
        (text(), text()).prop_map(|(key, name)| Signal::ToolProposed { key, name }),
        text().prop_map(|key| Signal::ToolCommitted { key }),
        text().prop_map(|key| Signal::ToolRevoked { key }),
        any::<u32>().prop_map(|generation| Signal::FenceApplied { generation: Generation(generation) }),
        (text(), any::<bool>()).prop_map(|(text, cut)| Signal::Heard { text, cut }),
    ]
    .boxed()
}

fn recovery() -> BoxedStrategy<Signal> {
    let cause = select(vec![SwitchCause::Failed, SwitchCause::CircuitOpen, SwitchCause::Budget]);
    let state = select(vec![CircuitState::Closed, CircuitState::Open, CircuitState::HalfOpen]);
    prop_oneof![
        (invocation(), any::<u32>()).prop_map(|(id, attempt)| Signal::ProviderRetry { id, attempt }),
        (node(), text(), cause).prop_map(|(node, binding, cause)| Signal::ProviderSwitch { node, binding, cause }),
        (text(), state).prop_map(|(binding, state)| Signal::CircuitEvent { binding, state }),
        (invocation(), budget_outcome()).prop_map(|(id, outcome)| Signal::ProviderBudget { id, outcome }),
        (turn_budget(), budget_outcome()).prop_map(|(budget, outcome)| Signal::TurnBudgetSpent { budget, outcome }),
        (turn_part(), budget_outcome()).prop_map(|(part, outcome)| Signal::PartBudgetSpent { part, outcome }),
        (any::<u32>(), degrade_step()).prop_map(|(step, how)| Signal::Degraded { step, how }),
    ]
    .boxed()
}

fn edge() -> BoxedStrategy<EdgeIndex> {
    (0u16..256).prop_map(EdgeIndex).boxed()
}

fn sequence() -> BoxedStrategy<RuntimeSequence> {
    (0u64..=1 << 53).prop_map(RuntimeSequence).boxed()
}

fn dropped(lane: Lane) -> BoxedStrategy<Dropped> {
    (any::<u32>(), sequence(), sequence()).prop_map(move |(items, from, to)| Dropped { items, lane, from, to }).boxed()
}

fn of_an_edge() -> BoxedStrategy<Signal> {
    let level = select(vec![WatermarkLevel::High, WatermarkLevel::Low]);
    let held =
        (any::<u32>(), 0u64..=1 << 53, micros()).prop_map(|(items, bytes, queued)| Held { items, bytes, queued });
    let cause = select(vec![XonCause::Drained, XonCause::Expired]);
    let fault = select(vec![BranchFault::Timeout, BranchFault::Failed]);
    let lanes = prop_oneof![dropped(Lane::Data), dropped(Lane::Control), dropped(Lane::Telemetry)];
    prop_oneof![
        (node(), option::of(edge()), lanes, text()).prop_map(|(node, edge, dropped, reason)| Signal::DropNotice {
            node,
            edge,
            dropped,
            reason
        }),
        (edge(), level, held, any::<u32>()).prop_map(|(edge, level, held, percent)| Signal::Watermark {
            edge,
            level,
            held,
            percent
        }),
        edge().prop_map(|edge| Signal::FlowXoff { edge }),
        (edge(), cause).prop_map(|(edge, cause)| Signal::FlowXon { edge, cause }),
        (edge(), any::<u32>()).prop_map(|(edge, items)| Signal::CreditGrant { edge, items }),
        (edge(), any::<u32>(), vec(sequence(), 0..16)).prop_map(|(edge, group, sequences)| Signal::Merged {
            edge,
            group,
            sequences: sequences.into()
        }),
        (edge(), any::<u32>(), text(), text(), dropped(Lane::Data)).prop_map(|(edge, gap, id, domain, dropped)| {
            Signal::Discontinuity { edge, gap, sync: SyncGroup { id, domain }, dropped }
        }),
        (node(), fault).prop_map(|(node, fault)| Signal::BranchFallback { node, fault }),
    ]
    .boxed()
}

fn notice() -> BoxedStrategy<Signal> {
    let states = [TurnState::Idle, TurnState::Opening, TurnState::Active, TurnState::Held, TurnState::Closed];
    prop_oneof![
        refusal().prop_map(Signal::Reject),
        refusal().prop_map(Signal::Shed),
        (refusal(), option::of(micros())).prop_map(|(refusal, retry_after)| Signal::Defer { refusal, retry_after }),
        connection().prop_map(|state| Signal::ConnectionEvent { state }),
        epoch().prop_map(|epoch| Signal::MigrationStart { epoch }),
        epoch().prop_map(|epoch| Signal::MigrationFinish { epoch }),
        epoch().prop_map(|epoch| Signal::SessionHandoff { epoch }),
        (epoch(), epoch()).prop_map(|(epoch, current)| Signal::StaleEpochReject { epoch, current }),
        epoch().prop_map(|epoch| Signal::LeaseMoved { epoch }),
        level_change(),
        recovery(),
        invocation().prop_map(|id| Signal::LateAfterCancel { id }),
        any::<u32>().prop_map(|frames| Signal::OutputFenced { frames }),
        (invocation(), outcome()).prop_map(|(id, outcome)| Signal::ProviderError { id, outcome }),
        of_an_edge(),
        (select(states.to_vec()), text()).prop_map(|(state, input)| Signal::Refused { state, input }),
        (node(), text()).prop_map(|(node, message)| Signal::NodeError { node, message }),
        (select(vec![Clock::Wall, Clock::Media]), -(1i64 << 53) + 1..1 << 53)
            .prop_map(|(clock, skew)| Signal::ClockRebased { clock, skew: Skew(skew) }),
        (node(), micros(), any::<u32>(), budget_outcome())
            .prop_map(|(node, took, strikes, outcome)| { Signal::NodeOverrun { node, took, strikes, outcome } }),
    ]
    .boxed()
}

fn context_entry() -> BoxedStrategy<ContextEntry> {
    prop_oneof![
        (text(), any::<bool>()).prop_map(|(text, understood)| ContextEntry::User { text, understood }),
        (text(), any::<bool>()).prop_map(|(text, cut)| ContextEntry::Agent { text, cut }),
        text().prop_map(|text| ContextEntry::Remark { text }),
        (call(), option::of(text())).prop_map(|(call, result)| ContextEntry::Tool { call, result }),
    ]
    .boxed()
}

fn request() -> BoxedStrategy<Request> {
    prop_oneof![
        (micros(), vec(frame(), 0..4)).prop_map(|(media_start, preroll)| Request::Transcribe { media_start, preroll }),
        vec(context_entry(), 0..5).prop_map(|context| Request::Chat { context: context.into() }),
        text().prop_map(|text| Request::Speak { text }),
        call().prop_map(Request::Tool),
    ]
    .boxed()
}

fn effect() -> BoxedStrategy<Effect> {
    let epoch = || any::<u32>().prop_map(EgressEpoch);
    prop_oneof![
        (invocation(), text(), request()).prop_map(|(id, binding, request)| Effect::Invoke { id, binding, request }),
        (invocation(), frame()).prop_map(|(id, frame)| Effect::Feed { id, frame }),
        invocation().prop_map(|id| Effect::FeedEnd { id }),
        invocation().prop_map(|id| Effect::CancelInvocation { id }),
        invocation().prop_map(|id| Effect::EndInvocation { id }),
        (turn(), epoch(), samples(), frame()).prop_map(|(turn, epoch, from_sample, frame)| Effect::Transmit {
            turn,
            epoch,
            from_sample,
            frame
        }),
        (turn(), epoch()).prop_map(|(turn, epoch)| Effect::ClearTransport { turn, epoch }),
        micros().prop_map(|at| Effect::WakeAt { at }),
        invocation().prop_map(|id| Effect::PauseInvocation { id }),
        invocation().prop_map(|id| Effect::ResumeInvocation { id }),
        (invocation(), any::<u32>()).prop_map(|(id, results)| Effect::GrantCredit { id, results }),
    ]
    .boxed()
}

fn entry() -> BoxedStrategy<Entry> {
    let signal = prop_oneof![plain_signal(), turn_signal(), notice()];
    prop_oneof![
        (0u64..=1 << 53, input()).prop_map(|(sequence, input)| Entry::Input(RuntimeSequence(sequence), input)),
        (option::of(turn()), signal).prop_map(|(turn, signal)| Entry::Signal(turn, signal)),
        effect().prop_map(Entry::Effect),
    ]
    .boxed()
}

/// Any record within the limits.
pub(crate) fn record() -> BoxedStrategy<Record> {
    (any::<u32>(), 0u64..=1 << 53, micros(), entry())
        .prop_map(|(slot, tick, at, entry)| Record { slot: Slot(slot), tick, at, entry })
        .boxed()
}
