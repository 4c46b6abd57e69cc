// Where the time went: a row for each turn, its stages as numbers and as one bar, and the medians of all.

import { make } from "./timeline.js";

const table = document.getElementById("latency");
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 120;

function median(values) {
  const known = values.filter((value) => value !== null).sort((a, b) => a - b);
  return known.length === 0 ? null : known[Math.floor((known.length - 1) / 2)];
}

/** Stages one behind the other; the longest of all turns fills the width. */
function bar(stages, longest) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of [["class", "stages"], ["viewBox", `0 0 ${WIDTH} 12`], ["aria-hidden", "true"]]) {
    svg.setAttribute(key, value);
  }
  let x = 0;
  stages.slice(0, -1).forEach((ms, stage) => {
    const width = ((ms ?? 0) / longest) * WIDTH;
    if (width > 0) make("rect", { class: `stage-${stage}`, x, y: 1, width, height: 10 }, svg);
    x += width;
  });
  return svg;
}

function row(cells, stages, longest) {
  const row = document.createElement("tr");
  for (const value of [...cells, ...stages]) row.insertCell().textContent = value ?? "–";
  const cell = row.insertCell();
  cell.className = "bar";
  cell.append(bar(stages, longest));
  return row;
}

export function showLatencies(story) {
  const turns = story.latencies();
  const longest = Math.max(1, ...turns.map(({ stages }) => stages.slice(0, -1).reduce((sum, ms) => sum + (ms ?? 0), 0)));
  table.tBodies[0].replaceChildren(...turns.map(({ turn, ended, stages }) => row([turn, ended], stages, longest)));
  const medians = [0, 1, 2, 3, 4].map((stage) => median(turns.map(({ stages }) => stages[stage])));
  const foot = turns.length > 1 ? [row(["", "median"], medians, longest)] : [];
  table.tFoot.replaceChildren(...foot);
}
