//! A limit on everything, each with its unit last, each checked against its neighbours at compile time.

/// Audio is cut to this length before it enters.
pub const FRAME_MS: u64 = 20;
/// No audio frame that enters or leaves is longer.
pub const MAX_FRAME_SAMPLES: usize = 48_000 / 1_000 * 100;
/// Audio has at least so many samples a second.
pub const MIN_RATE_HZ: u32 = 8_000;
/// Audio has at most so many samples a second.
pub const MAX_RATE_HZ: u32 = 48_000;
/// Nodes in one plan; a bit each in a session's table of holders.
pub const MAX_PLAN_NODES: usize = 256;
/// Edges in one plan.
pub const MAX_PLAN_EDGES: usize = 1_024;
/// Items that may wait on one edge.
pub const MAX_EDGE_ITEMS: u32 = 65_536;
/// Bytes that may wait on one edge.
pub const MAX_EDGE_BYTES: u64 = 16 << 20;
/// How long an edge may block its producer.
pub const MAX_EDGE_BLOCK_MS: u64 = 60_000;
/// Items of an edge that may go on as one.
pub const MAX_MERGE_LINEAGE: usize = 16;
/// Ports of one node, inputs and outputs apart.
pub const MAX_NODE_PORTS: usize = 16;
/// A spec's text.
pub const MAX_SPEC_BYTES: usize = 1 << 20;
/// What a spec says for people and tools, as JSON.
pub const MAX_METADATA_BYTES: usize = 16 * 1024;
/// Collections within collections in a spec.
pub const MAX_SPEC_DEPTH: usize = 64;
/// Values in a spec, with its aliases written out.
pub const MAX_SPEC_VALUES: usize = 100_000;
/// Findings of a spec that are told; the others are counted.
pub const MAX_FINDINGS: usize = 100;
/// Sessions of one worker.
pub const MAX_WORKER_SESSIONS: usize = 65_536;
/// Data inputs of all sessions in one tick; what is over waits for the next tick, after its control. More would not
/// make an event cheaper, and control would wait longer.
pub const MAX_TICK_DATA_INPUTS: usize = 2_048;
/// Data inputs of one session in one tick: a flooder waits for itself.
pub const MAX_TICK_SESSION_DATA_INPUTS: usize = 256;
/// Times that one provider is tried for one answer.
pub const MAX_PROVIDER_ATTEMPTS: u32 = 5;
/// Providers whose circuit breakers a session keeps.
pub const MAX_CIRCUITS: usize = 64;
/// Providers that may be called in the place of a node's first one.
pub const MAX_FALLBACKS: usize = 8;
/// Steps of a worker within one sub-tick. More means that an operator keeps a capability.
pub const MAX_SUBTICK_STEPS: usize = 10_000;
/// Long reactions of one worker's tick that are told; there is hardly time for more.
pub const MAX_TICK_OVERRUNS: usize = 64;
/// Event containers of one dataflow that wait to be used again.
pub const MAX_SPARE_BUFFERS: usize = 16;
/// Paths of one plan that have a budget.
pub const MAX_TURN_PATHS: usize = 16;
/// Steps by which a turn gets by with less.
pub const MAX_DEGRADE_STEPS: usize = 16;
/// Items that a node which may be skipped has taken and not answered; what is over is not given back.
pub const MAX_OWED_ITEMS: usize = 64;
/// Invocations of one session in flight.
pub const MAX_SESSION_INVOCATIONS: usize = 64;
/// Writes of one turn that wait for their commit point or their result.
pub const MAX_TURN_WRITES: usize = 16;
/// A binding in a spec.
pub const MAX_BINDING_BYTES: usize = 2_048;
/// The name of an environment variable that holds a key.
pub const MAX_KEY_NAME_CHARS: usize = 64;
/// What a model is told before the conversation.
pub const MAX_PROMPT_BYTES: usize = 32 * 1024;
/// Tools of one model.
pub const MAX_TOOLS: usize = 64;
/// A tool's name, as all models take it.
pub const MAX_TOOL_NAME_CHARS: usize = 64;
/// What a model is told of a tool.
pub const MAX_TOOL_DESCRIPTION_BYTES: usize = 4 * 1024;
/// The JSON Schema of a tool's arguments, as JSON.
pub const MAX_TOOL_PARAMETERS_BYTES: usize = 16 * 1024;
/// Rounds of model and tools in one turn.
pub const MAX_TOOL_ROUNDS: u32 = 8;
/// Entries of a conversation's context; the oldest leave first.
pub const MAX_CONTEXT_ENTRIES: usize = 256;
/// Proposals of one session that wait for its next tick, and proposals that wait to be admitted: one more is shed.
pub const MAX_PENDING_PROPOSALS: usize = 8;
/// A proposal that was deferred is tried again for so long; nobody wants an answer to what was said longer ago.
pub const MAX_PROPOSAL_WAIT_MS: u64 = 5_000;
/// Derived inputs of one session that wait for its next tick.
pub const MAX_SESSION_DERIVED_INPUTS: usize = 64;
/// The latest time of a session: almost nine years. What is later can't be written down.
pub const MAX_TIME_US: u64 = (1 << 48) - 1;
/// The latest time on the wall, in microseconds since 1970: in the year 2255.
pub const MAX_UNIX_US: u64 = (1 << 53) - 1;
/// The furthest place in a turn's audio.
pub const MAX_TURN_SAMPLES: u64 = 1 << 40;
/// Words of which one result says where they end.
pub const MAX_WORD_ENDS: usize = 4_096;
/// Text in one payload.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;
/// A sentence that does not end is spoken in pieces of this size.
pub const MAX_SPEAKABLE_CHARS: usize = 400;
/// Audio of one turn that waits in playout, and what is kept of it until it is heard.
pub const MAX_PLAYOUT_MS: u64 = 120_000;
/// Audio sent to the transport that is kept in case it was not heard.
pub const MAX_UNHEARD_MS: u64 = 5_000;
/// Audio that a recogniser gets from before the onset.
pub const MAX_PREROLL_MS: u64 = 1_000;
/// Utterances whose end and transcript wait for each other.
pub const MAX_OPEN_UTTERANCES: usize = 4;
/// What a listener may say to make a speaker go on, in different words.
pub const MAX_BACKCHANNELS: usize = 64;
/// One of them.
pub const MAX_BACKCHANNEL_CHARS: usize = 64;
/// What the agent may be given to say, or to make something of, unasked.
pub const MAX_PROMPT_TEXT_CHARS: usize = 2_000;
/// Words that may be asked for before speech interrupts.
pub const MAX_CONFIRM_WORDS: u32 = 16;
/// Without an acknowledgement for so long, the pacer's playhead is taken for what was heard.
pub const MAX_PLAYOUT_ACK_WAIT_MS: u64 = 200;

const _: () = {
    assert!(MAX_PLAN_NODES.is_multiple_of(u64::BITS as usize));
    assert!(MAX_PLAN_NODES <= MAX_PLAN_EDGES && MAX_PLAN_EDGES < u16::MAX as usize);
    // A chain of the most nodes comes to rest in a step or two for each.
    assert!(MAX_PLAN_NODES * 4 < MAX_SUBTICK_STEPS);
    assert!(MAX_TICK_SESSION_DATA_INPUTS <= MAX_TICK_DATA_INPUTS);
    assert!(MAX_UNHEARD_MS <= MAX_PLAYOUT_MS);
    assert!(MAX_PENDING_PROPOSALS < MAX_SESSION_DERIVED_INPUTS);
    assert!(MAX_FRAME_SAMPLES >= 48 * FRAME_MS as usize);
    assert!(MAX_SPEAKABLE_CHARS * 4 <= MAX_TEXT_BYTES);
    assert!(MAX_PLAYOUT_ACK_WAIT_MS < MAX_UNHEARD_MS);
};
