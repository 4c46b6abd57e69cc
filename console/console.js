// The page: a call, its captions, its timeline. What is spoken with the server stands in line.js.

import { backToLive, listCalls, recorded } from "./calls.js";
import { Captions } from "./captions.js";
import "./graph.js";
import { showLatencies } from "./latency.js";
import { Line } from "./line.js";
import { loudness, openMicrophone, openPlayer } from "./sound.js";
import { Story } from "./story.js";
import { Timeline } from "./timeline.js";

const $ = (id) => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token");

let call = null;

/** A call from its beginning to its end, with all that it has opened. */
class Call {
  constructor() {
    this.story = new Story();
    this.begun = performance.now();
    this.captions = new Captions();
    this.loud = [];
    this.speaking = false;
  }

  /** Milliseconds since the call began, here. */
  now() {
    return performance.now() - this.begun;
  }

  async open() {
    this.player = await openPlayer((played) => this.onPlayed(played));
    if ($("microphone").checked) {
      this.microphone = await openMicrophone((frame) => this.onMicrophone(frame));
    }
    this.line = new Line({ token, rateHz: this.microphone?.rateHz });
    this.line.addEventListener("message", ({ detail }) => this.onMessage(detail));
    this.line.addEventListener("audio", ({ detail }) => this.onAudio(detail));
    this.line.addEventListener("state", ({ detail }) => this.onState(detail));
    this.line.addEventListener("end", ({ detail }) => this.close(detail));
  }

  onMicrophone(frame) {
    this.line?.sendAudio(frame);
    this.story.sound("caller", this.now(), this.isMuted ? 0 : loudness(frame));
  }

  onAudio(chunk) {
    this.loud.push({ turn: chunk.turn, from: chunk.from, height: loudness(chunk.samples) });
    if (this.loud.length > 3_000) this.loud.shift();
    this.player.put(chunk);
  }

  onPlayed(played) {
    if (played.occasion === "started") {
      this.story.played(played.turn, this.now());
      showLatencies(this.story);
    }
    this.line?.acknowledge(played);
    this.drawHeard(played);
  }

  /** What was played since the last word of it, as loudness in the agent's lane. */
  drawHeard({ turn, heard, occasion }) {
    const now = this.now();
    const isHeard = (chunk) => chunk.turn < turn || (chunk.turn === turn && chunk.from < heard);
    while (this.loud.length > 0 && isHeard(this.loud[0])) {
      const chunk = this.loud.shift();
      const ago = chunk.turn === turn ? (heard - chunk.from) / 16 : 0;
      this.story.sound("agent", now - ago + 20, chunk.height);
    }
    if (occasion === "cleared") this.loud = this.loud.filter((chunk) => chunk.turn > turn);
  }

  onState(state) {
    if (state === "reconnecting") {
      show("reconnecting", "the connection was lost; trying again");
      // What was not played comes again.
      this.player.drop();
    }
  }

  onMessage(message) {
    const now = this.now();
    this.story.on(message, now);
    this.captions.on(message);
    switch (message.type) {
      case "ready":
        show("connected", `connected: ${message.session}`);
        enable(true, this.microphone !== undefined);
        break;
      case "clear":
        this.player.clear(message.turn, message.epoch);
        break;
      case "turn":
        this.onTurn(message);
        break;
      case "error":
        problem(`${message.code}: ${message.message}`);
        break;
    }
  }

  onTurn({ state }) {
    if (state === "speaking" || state === "resumed") show("speaking", "the agent speaks");
    if (state === "held") show("held", "you speak: the answer waits for what it means");
    if (state === "closed" || state === "committed") show("connected", "listening");
    showLatencies(this.story);
  }

  close(why) {
    enable(false, false);
    $("call").textContent = "Start a call";
    show(why ? "failed" : "idle", why ? "the call is over" : "the call has ended");
    if (why) problem(why);
    this.microphone?.close();
    this.player?.close();
    this.isOver = true;
    if (call === this) call = null;
    // It is written when its server has heard the end.
    setTimeout(() => listCalls().catch(() => {}), 1_500);
  }
}

function show(state, words) {
  $("state").dataset.state = state;
  $("state").textContent = words;
}

function problem(words) {
  $("problem").hidden = !words;
  $("problem").textContent = words ?? "";
}

function enable(isOn, hasMicrophone) {
  for (const id of ["mute", "push"]) $(id).disabled = !(isOn && hasMicrophone);
  $("stop").disabled = !isOn;
  for (const part of $("write").elements) part.disabled = !isOn;
}

$("call").onclick = async () => {
  if (call) return call.line ? call.line.end() : call.close(null);
  problem(null);
  if (recorded) backToLive();
  const opening = new Call();
  call = opening;
  shown = opening;
  show("connected", "connecting");
  $("call").textContent = "End the call";
  try {
    await opening.open();
  } catch (error) {
    const help = "untick Microphone to type instead, or let this page use it (it has to come from this machine, or by https)";
    opening.close(error.name === "NotAllowedError" || error.name === "NotFoundError" || !navigator.mediaDevices
      ? `no microphone: ${error.message}; ${help}` : error.message);
  }
};

$("write").onsubmit = (event) => {
  event.preventDefault();
  const text = $("words").value.trim();
  if (!text || !call) return;
  call.story.asked = call.now();
  call.line.send({ type: "text", text });
  $("words").value = "";
};

$("mute").onclick = () => {
  if (!call) return;
  call.isMuted = !call.isMuted;
  $("mute").setAttribute("aria-pressed", String(call.isMuted));
  call.line.send({ type: "mute", muted: call.isMuted });
};

$("stop").onclick = () => call?.line.send({ type: "cancel" });

function talk(state) {
  if (!call || $("push").disabled || (state === "press") === call.isPressed) return;
  call.isPressed = state === "press";
  $("push").classList.toggle("down", call.isPressed);
  call.line.send({ type: "talk", state });
}

$("push").onpointerdown = () => talk("press");
$("push").onpointerup = $("push").onpointerleave = $("push").onpointercancel = () => talk("release");
const isTyping = ({ target }) => target.closest?.("input:not([type=checkbox]), button, a, select, summary, audio");
addEventListener("keydown", (event) => {
  const onPush = event.target === $("push");
  if (event.code !== "Space" || (isTyping(event) && !onPush)) return;
  event.preventDefault();
  if (!event.repeat) talk("press");
});
addEventListener("keyup", (event) => {
  if (event.code === "Space") talk("release");
});
addEventListener("blur", () => talk("release"));

// The picture is drawn ten times a second: of the recorded call that is shown, or of the newest call, and that stands still
// when it is over or nobody follows.
let shown = null;
let stood = 0;
const timeline = new Timeline($("timeline"), $("reading"));

function drawRecorded() {
  const { story, call: { lasted_ms: lasted }, now } = recorded;
  const stretch = Number($("zoom").value) * 1_000;
  const begin = Math.max(0, Math.min(now - stretch / 2, lasted - stretch));
  timeline.draw(story, begin, begin + stretch, lasted, now);
  return story;
}

function drawLive() {
  if ($("follow").checked && !shown.isOver) stood = shown.now();
  timeline.draw(shown.story, stood - Number($("zoom").value) * 1_000, stood, stood);
  return shown.story;
}

setInterval(() => {
  if (document.hidden || !(recorded ?? shown)) return;
  const { turns, holds, cancels, fences, drops, budgets } = (recorded ? drawRecorded() : drawLive()).counts;
  $("facts").textContent =
    `${turns} turns, ${holds} holds, ${cancels} cancels, ${fences} fences, ${drops} drops, ${budgets} budgets spent`;
}, 100);

$("back").onclick = () => {
  backToLive();
  if (shown) showLatencies(shown.story);
  $("call").focus();
};

fetch("pipeline.json").then((answer) => answer.json()).then(({ name, version }) => {
  $("pipeline").textContent = `${name}, version ${version}`;
  $("pipeline-graph").setAttribute("aria-label", `The graph of the pipeline ${name}`);
}).catch(() => {});
