// What happened in a call, from what the server tells and what was played here: bars for the timeline, figures for the table.

/** Bars that are kept: of ten minutes and more. */
const MAX_BARS = 6_000;
const MAX_TURNS = 200;

export const LANES = ["caller", "vad", "stt", "llm", "tool", "tts", "agent", "turn", "notice"];

/** Signals that are shown, as what, and in words. */
const NOTICES = {
  drop_notice: ["drop", "data was dropped, by a rule"],
  discontinuity: ["drop", "a gap was left in a stream"],
  watermark: ["full", "a buffer passed a watermark"],
  flow_xoff: ["full", "who fills a buffer has to stop"],
  provider_budget: ["budget", "a provider's budget is spent"],
  turn_budget: ["budget", "a budget of the turn is spent"],
  node_budget: ["budget", "a node's budget is spent"],
  path_budget: ["budget", "a path's budget is spent"],
  edge_budget: ["budget", "an edge's budget is spent"],
  degrade: ["budget", "the turn gets by with less"],
  node_overrun: ["budget", "a node computed for long"],
  provider_error: ["fault", "an invocation ended badly"],
  provider_retry: ["fault", "an invocation is tried again"],
  provider_switch: ["fault", "another provider is called"],
  circuit_event: ["fault", "a circuit breaker changed"],
  branch_fallback: ["fault", "the second branch of a fallback carries"],
  node_error: ["fault", "a node failed"],
  fence_applied: ["fence", "the cancellation has reached every operator"],
  late_after_cancel: ["fence", "a result came after its turn was cancelled"],
  output_fenced: ["fence", "output of a cancelled turn was stopped"],
};

/** A bar: lane, from, to (null while it lasts), what it says when pointed at, and for loudness its height. */
export class Story {
  constructor(maxBars = MAX_BARS) {
    this.maxBars = maxBars;
    this.bars = [];
    this.running = new Map();
    this.turns = new Map();
    this.asked = null;
    this.counts = { turns: 0, cancels: 0, holds: 0, fences: 0, drops: 0, budgets: 0 };
  }

  add(bar) {
    if (this.bars.length >= this.maxBars) this.bars.shift();
    this.bars.push(bar);
    return bar;
  }

  /** 20 ms of sound. */
  sound(lane, at, height) {
    if (height > 0.01) this.add({ lane, from: at - 20, to: at, height, says: "" });
  }

  turn(number, at) {
    if (!this.turns.has(number)) {
      if (this.turns.size === MAX_TURNS) this.turns.delete(this.turns.keys().next().value);
      const bar = this.add({ lane: "turn", from: at, to: null, says: `turn ${number}` });
      this.turns.set(number, { number, bar, asked: this.asked, opened: at, ended: "", heard: null });
      this.asked = null;
    }
    return this.turns.get(number);
  }

  on(message, at) {
    const on = this[`on_${message.type}`];
    if (on) on.call(this, message, at);
  }

  on_speech({ speaking }, at) {
    if (speaking) this.speech = this.add({ lane: "vad", from: at, to: null, says: "the caller speaks" });
    else {
      this.asked = at;
      this.close(this.speech, at);
    }
  }

  on_turn({ turn: number, state, text, reason }, at) {
    const turn = this.turn(number, at);
    const cut = () => this.add({ lane: "turn", from: at, to: at, cut: true, says: `turn ${number}: ${reason ?? state}` });
    switch (state) {
      case "open":
        this.counts.turns += 1;
        turn.bar.says = `turn ${number}: ${text ?? ""}`;
        turn.asked ??= at;
        break;
      case "speaking":
        turn.spoke = at;
        break;
      case "held":
        this.counts.holds += 1;
        turn.hold = this.add({ lane: "turn", from: at, to: null, held: true, says: `turn ${number}: held, the caller speaks` });
        break;
      case "cancelled":
        this.counts.cancels += 1;
        turn.ended = reason ?? state;
        this.close(turn.hold, at);
        cut();
        break;
      case "aborted":
        turn.ended ||= reason ?? state;
        cut();
        break;
      case "committed":
        turn.ended = "said to its end";
        break;
    }
    if (state === "resumed" || state === "closed") this.close(turn.hold, at);
    if (state === "closed") this.close(turn.bar, at);
  }

  close(bar, at) {
    if (bar && bar.to === null) bar.to = at;
  }

  on_invocation({ id, kind, running, outcome }, at) {
    if (running) {
      this.running.set(id, this.add({ lane: kind, from: at, to: null, says: `${kind} #${id}` }));
      const turn = [...this.turns.values()].at(-1);
      if (turn && kind !== "stt") turn[kind] ??= at;
      return;
    }
    const bar = this.running.get(id);
    if (!bar) return;
    this.running.delete(id);
    bar.to = at;
    bar.says += `, ${Math.round(at - bar.from)} ms, ${outcome}`;
  }

  on_signal({ name, turn }, at) {
    if (name === "fence_applied") this.counts.fences += 1;
    if (name === "drop_notice") this.counts.drops += 1;
    if (!NOTICES[name]) return;
    const [notice, words] = NOTICES[name];
    if (notice === "budget") this.counts.budgets += 1;
    this.add({ lane: "notice", from: at, to: at, notice, says: turn ? `${words}, turn ${turn}` : words });
  }

  on_ended(_message, at) {
    for (const bar of this.bars) this.close(bar, at);
  }

  /** The first of a turn's samples plays here. */
  played(number, at) {
    const turn = this.turns.get(number);
    if (turn) turn.playing ??= at;
  }

  /** Milliseconds of each stage, newest turn first; `null` where a turn did not come so far. */
  latencies() {
    const between = (from, to) => (from == null || to == null ? null : Math.max(0, Math.round(to - from)));
    const rows = [...this.turns.values()].map((turn) => ({
      turn: turn.number,
      ended: turn.ended,
      stages: [
        between(turn.asked, turn.opened),
        between(turn.llm, turn.tts),
        between(turn.tts, turn.spoke),
        between(turn.spoke, turn.playing),
        between(turn.asked, turn.playing),
      ],
    }));
    return rows.reverse();
  }
}
