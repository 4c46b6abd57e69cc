// The timeline: lanes over a stretch of a call, drawn anew while something happens. A bar that is pointed at, or gone to
// with the arrow keys, is read out.

import { LANES } from "./story.js";

const NAMES = {
  caller: "caller", vad: "detector", stt: "recogniser", llm: "model", tool: "tools", tts: "voice", agent: "agent",
  turn: "turns", notice: "notices",
};
const LEFT = 84;
const LANE_HEIGHT = 27;
const TOP = 8;
const SVG = "http://www.w3.org/2000/svg";
/** Sound in finer stretches than this is not seen. */
const LEAST_WIDTH = 0.7;

export function make(name, attributes, parent) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

/** Draws stories into an SVG element, and reads out bars. */
export class Timeline {
  constructor(svg, reading) {
    this.svg = svg;
    this.reading = reading;
    this.drawn = [];
    this.chosen = null;
    svg.addEventListener("pointermove", (event) => this.point(event));
    svg.addEventListener("pointerleave", () => this.choose(null));
    svg.addEventListener("keydown", (event) => this.step(event));
  }

  /** Draws the story between two times; `mark` is where playing is, and what begins later has not happened yet. */
  draw(story, begin, end, now, mark = null) {
    const { svg } = this;
    const width = Math.max(320, svg.clientWidth);
    svg.setAttribute("viewBox", `0 0 ${width} ${TOP + LANES.length * LANE_HEIGHT + 24}`);
    svg.replaceChildren();
    this.drawn = [];
    const x = (at) => LEFT + ((at - begin) / (end - begin)) * (width - LEFT - 8);
    this.ruler(begin, end, x);
    LANES.forEach((lane, row) => {
      make("text", { x: 4, y: TOP + row * LANE_HEIGHT + 18 }, svg).textContent = NAMES[lane];
    });
    const ends = {};
    for (const bar of story.bars) {
      if ((bar.to ?? now) >= begin && bar.from <= end) this.bar(bar, { now, begin, end, x, ends });
    }
    if (mark !== null) {
      make("line", { class: "playhead", x1: x(mark), x2: x(mark), y1: TOP, y2: TOP + LANES.length * LANE_HEIGHT }, svg);
    }
  }

  ruler(begin, end, x) {
    const bottom = TOP + LANES.length * LANE_HEIGHT;
    const step = [1, 2, 5, 10, 30, 60].map((seconds) => seconds * 1_000).find((ms) => (end - begin) / ms <= 6) ?? 120_000;
    for (let at = Math.ceil(begin / step) * step; at <= end; at += step) {
      make("line", { class: "grid", x1: x(at), x2: x(at), y1: TOP, y2: bottom }, this.svg);
      if (at >= 0) make("text", { x: x(at) + 3, y: bottom + 16 }, this.svg).textContent = `${at / 1_000} s`;
    }
  }

  bar(bar, { now, begin, end, x, ends }) {
    const middle = TOP + LANES.indexOf(bar.lane) * LANE_HEIGHT + LANE_HEIGHT / 2;
    const from = x(Math.max(begin, bar.from));
    const to = Math.max(from + 1, x(Math.min(end, bar.to ?? now)));
    const chosen = bar === this.chosen ? " chosen" : "";
    if (bar.cut) {
      const d = `M${from - 6} ${middle - 9}L${from + 6} ${middle + 9}M${from + 6} ${middle - 9}L${from - 6} ${middle + 9}`;
      this.keep(bar, from - 6, from + 6, make("path", { class: `cut${chosen}`, d }, this.svg));
      return;
    }
    if (bar.notice) {
      const d = `M${from} ${middle - 6}L${from + 6} ${middle}L${from} ${middle + 6}L${from - 6} ${middle}Z`;
      this.keep(bar, from - 6, from + 6, make("path", { class: `${bar.notice}${chosen}`, d }, this.svg));
      return;
    }
    if (bar.height !== undefined) {
      if (to - (ends[bar.lane] ?? -1) < LEAST_WIDTH) return;
      ends[bar.lane] = to;
    }
    const height = bar.height === undefined ? 14 : Math.max(2, bar.height * (LANE_HEIGHT - 5));
    const place = { x: from, y: middle - height / 2, width: to - from, height, rx: 2 };
    this.keep(bar, from, to, make("rect", { class: (bar.held ? "held" : bar.lane) + chosen, ...place }, this.svg));
  }

  keep(bar, from, to, element) {
    if (!bar.says) return;
    this.drawn.push({ bar, from, to });
    make("title", {}, element).textContent = bar.says;
  }

  point({ clientX, clientY }) {
    const box = this.svg.getBoundingClientRect();
    const lane = LANES[Math.floor((clientY - box.top - TOP) / LANE_HEIGHT)];
    const x = clientX - box.left;
    const near = this.drawn.filter(({ bar, from, to }) => bar.lane === lane && from - 4 <= x && x <= to + 4);
    this.choose(near.at(-1)?.bar ?? null);
  }

  /** The arrow keys: along a lane, and from lane to lane. */
  step(event) {
    const along = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const across = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!along && !across) return;
    event.preventDefault();
    const bars = this.drawn.map(({ bar }) => bar);
    const at = this.chosen;
    if (!at || !bars.includes(at)) return this.choose(bars[0] ?? null);
    const inLane = (lane) => bars.filter((bar) => bar.lane === lane).sort((a, b) => a.from - b.from);
    if (along) {
      const lane = inLane(at.lane);
      return this.choose(lane[lane.indexOf(at) + along] ?? at);
    }
    const order = across > 0 ? LANES.slice(LANES.indexOf(at.lane) + 1) : LANES.slice(0, LANES.indexOf(at.lane)).reverse();
    const lane = order.map(inLane).find((found) => found.length > 0) ?? [at];
    const nearest = (best, bar) => (Math.abs(bar.from - at.from) < Math.abs(best.from - at.from) ? bar : best);
    this.choose(lane.reduce(nearest));
  }

  choose(bar) {
    if (bar === this.chosen) return;
    this.chosen = bar;
    const seconds = (ms) => `${(ms / 1_000).toFixed(2)} s`;
    const length = bar && bar.to !== null && bar.to > bar.from ? `, for ${Math.round(bar.to - bar.from)} ms` : "";
    this.reading.textContent = bar ? `${NAMES[bar.lane]}: ${bar.says}; at ${seconds(bar.from)}${length}` : "\u00a0";
  }
}
