// The pipeline's graph, with what its nodes and edges do now: asked for once a second, for all calls together.

import { make } from "./timeline.js";

const EVERY_MS = 1_000;
const CARD_WIDTH = 168;

const $ = (id) => document.getElementById(id);
let svg = null;
let last = null;

async function drawGraph() {
  const text = await (await fetch("pipeline.svg")).text();
  const read = new DOMParser().parseFromString(text, "image/svg+xml");
  svg = document.importNode(read.documentElement, true);
  svg.setAttribute("role", "img");
  $("pipeline-graph").replaceChildren(svg);
}

/** What has come since the last look, a second. */
function rates(now) {
  const seconds = last ? (now.at - last.at) / 1_000 : 0;
  const rate = (node, before, key) => (before && seconds > 0 ? Math.max(0, (node[key] - before[key]) / seconds) : 0);
  const nodes = now.nodes.map((node, place) => {
    const before = last?.nodes[place];
    return { ...node, into: rate(node, before, "given"), out: rate(node, before, "gave"), waits: now.waiting[node.name] ?? 0 };
  });
  last = now;
  return nodes;
}

const shown = (rate) => (rate >= 10 ? Math.round(rate) : Math.round(rate * 10) / 10);

function label(parts, place, words, hint) {
  if (!parts[place]) return;
  let text = parts[place].querySelector("text.live");
  const box = parts[place].querySelector("rect");
  text ??= make("text", {
    class: "live", x: Number(box.getAttribute("x")) + CARD_WIDTH - 8, y: Number(box.getAttribute("y")) + 57,
    "text-anchor": "end", "font-size": 10,
  }, parts[place]);
  text.textContent = words;
  let title = parts[place].querySelector("title");
  title ??= make("title", {}, parts[place]);
  title.textContent = hint;
}

function showNode(cards, node, place, queuedMs) {
  const words = [];
  if (node.running > 0) words.push(`${node.running} at work`);
  if (node.waits > 0) words.push(`${node.waits} wait`);
  if (node.out >= 0.1) words.push(`${shown(node.out)}/s`);
  if (node.kind === "playout" && queuedMs > 0) words.push(`${(queuedMs / 1_000).toFixed(1)} s wait`);
  const hint = `${node.name}: ${shown(node.into)} in and ${shown(node.out)} out a second, ${node.running} at work, ` +
    `${node.invocations} asked so far, ${node.cancelled} cancelled, ${node.failures} failed`;
  label(cards, place, words.join(" · "), hint);
  cards[place]?.classList.toggle("busy", node.running > 0);
}

function showEdge(lines, edge, place) {
  const line = lines[place];
  if (!line) return;
  line.classList.toggle("filling", edge.filling > 0);
  let title = line.querySelector("title");
  title ??= make("title", {}, line);
  title.textContent = edge.bound === null
    ? `${edge.name}: nothing can wait here`
    : `${edge.name}: ${edge.held} waited when a watermark was passed last, ${edge.bound} may; ${edge.dropped} dropped`;
}

function fill(table, rows) {
  const made = rows.map((cells) => {
    const row = document.createElement("tr");
    for (const value of cells) row.insertCell().textContent = value;
    return row;
  });
  table.tBodies[0].replaceChildren(...made);
}

async function look() {
  if (document.hidden || !svg) return;
  const now = { at: performance.now(), ...(await (await fetch("live.json")).json()) };
  const nodes = rates(now);
  const cards = svg.querySelectorAll(":scope > g");
  const lines = svg.querySelectorAll('path[marker-end="url(#arrow)"]');
  nodes.forEach((node, place) => showNode(cards, node, place, now.queued_ms));
  now.edges.forEach((edge, place) => showEdge(lines, edge, place));
  fill($("nodes"), nodes.map((node) => [node.name, node.running, node.waits, shown(node.into), shown(node.out), node.failures]));
  const buffered = now.edges.filter((edge) => edge.bound !== null);
  fill($("edges"), buffered.map((edge) => [edge.name, edge.held, edge.bound, edge.filling, edge.dropped]));
  $("house").textContent = `${now.sessions} calls now, ${now.turns} turns so far; ${now.inbox} inputs wait for a worker; ` +
    `${(now.queued_ms / 1_000).toFixed(1)} s of speech are made and not played yet`;
}

drawGraph().catch(() => {});
setInterval(() => look().catch(() => {}), EVERY_MS);
