// The timeline: lanes over the last seconds, drawn anew while something happens.

import { LANES } from "./story.js";

const NAMES = { caller: "caller", stt: "recogniser", llm: "model", tool: "tools", tts: "voice", agent: "agent", turn: "turns" };
const SECONDS = 20;
const LEFT = 84;
const LANE_HEIGHT = 30;
const TOP = 8;
const SVG = "http://www.w3.org/2000/svg";

function make(name, attributes, parent) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

/** Draws the story into the SVG element, as it stood at `now`. */
export function draw(svg, story, now) {
  const width = Math.max(320, svg.clientWidth);
  svg.setAttribute("viewBox", `0 0 ${width} ${TOP + LANES.length * LANE_HEIGHT + 24}`);
  svg.replaceChildren();
  const begin = now - SECONDS * 1_000;
  const x = (at) => LEFT + ((at - begin) / (SECONDS * 1_000)) * (width - LEFT - 8);
  ruler(svg, begin, now, x);
  LANES.forEach((lane, row) => {
    make("text", { x: 4, y: TOP + row * LANE_HEIGHT + 19 }, svg).textContent = NAMES[lane];
  });
  for (const bar of story.bars) {
    if ((bar.to ?? now) >= begin && bar.from <= now) drawBar(svg, bar, now, begin, x);
  }
}

function ruler(svg, begin, now, x) {
  const bottom = TOP + LANES.length * LANE_HEIGHT;
  for (let at = Math.ceil(begin / 5_000) * 5_000; at <= now; at += 5_000) {
    make("line", { class: "grid", x1: x(at), x2: x(at), y1: TOP, y2: bottom }, svg);
    if (at >= 0) make("text", { x: x(at) + 3, y: bottom + 16 }, svg).textContent = `${at / 1_000} s`;
  }
}

function drawBar(svg, bar, now, begin, x) {
  const middle = TOP + LANES.indexOf(bar.lane) * LANE_HEIGHT + LANE_HEIGHT / 2;
  const from = x(Math.max(begin, bar.from));
  const to = Math.max(from + 1, x(Math.min(now, bar.to ?? now)));
  if (bar.cut) {
    const [top, bottom] = [middle - 9, middle + 9];
    const path = `M${from - 6} ${top}L${from + 6} ${bottom}M${from + 6} ${top}L${from - 6} ${bottom}`;
    title(make("path", { class: "cut", d: path }, svg), bar);
    return;
  }
  const height = bar.height === undefined ? 14 : Math.max(2, bar.height * 24);
  const kind = bar.held ? "held" : bar.lane;
  title(make("rect", { class: kind, x: from, y: middle - height / 2, width: to - from, height, rx: 2 }, svg), bar);
}

function title(element, bar) {
  if (bar.says) make("title", {}, element).textContent = bar.says;
}
