// Recorded calls: which there are, and one of them with its timeline, its words and its sound.

import { Captions } from "./captions.js";
import { showLatencies } from "./latency.js";
import { Story } from "./story.js";

const $ = (id) => document.getElementById(id);

/** The call that is shown, if it is not the live one. */
export let recorded = null;

/** One recorded call. */
class Recorded {
  constructor(name, call) {
    this.name = name;
    this.call = call;
    this.story = new Story(Infinity);
    this.place = 0;
    for (const message of call.messages) this.tell(message);
    for (const lane of ["caller", "agent"]) {
      call[lane].forEach((height, at) => this.story.sound(lane, (at + 1) * call.loudness_ms, height / 100));
    }
    this.story.bars.sort((a, b) => a.from - b.from);
  }

  tell(message) {
    this.story.on(message, message.at);
    // What the transport said of playing stands for what a page hears itself.
    if (message.type === "signal" && message.name === "playback_started") this.story.played(message.turn, message.at);
  }

  /** Where playing is, in milliseconds. */
  get now() {
    return this.call.has_sound ? $("sound").currentTime * 1_000 : this.place;
  }
}

async function open(name, button) {
  const answer = await fetch(`recordings/${encodeURIComponent(name)}/call.json`);
  if (!answer.ok) throw new Error(await answer.text());
  const call = await answer.json();
  close();
  const captions = new Captions();
  for (const message of call.messages) captions.on(message);
  recorded = new Recorded(name, call);
  recorded.button = button;
  button.setAttribute("aria-pressed", "true");
  showLatencies(recorded.story);
  $("live-heading").textContent = `Recorded: ${call.session}, ${(call.lasted_ms / 1_000).toFixed(1)} s`;
  $("player").hidden = false;
  $("following").hidden = true;
  $("sound").hidden = !call.has_sound;
  $("place").max = call.lasted_ms / 1_000;
  move(0);
  if (call.has_sound) {
    const sound = await fetch(`recordings/${encodeURIComponent(name)}/sound.wav`);
    recorded.url = URL.createObjectURL(await sound.blob());
    $("sound").src = recorded.url;
  }
  $("live").scrollIntoView({ block: "nearest" });
  $("live-heading").tabIndex = -1;
  $("live-heading").focus();
}

function close() {
  if (!recorded) return;
  $("sound").pause();
  $("sound").removeAttribute("src");
  if (recorded.url) URL.revokeObjectURL(recorded.url);
  recorded.button.setAttribute("aria-pressed", "false");
  recorded = null;
  $("player").hidden = true;
  $("following").hidden = false;
  $("live-heading").textContent = "As it happens";
}

/** Shows the live call again; somebody else fills in its words. */
export function backToLive() {
  close();
  $("facts").textContent = "Nothing has happened yet.";
  new Captions();
  showLatencies(new Story());
}

function move(seconds) {
  if (!recorded) return;
  recorded.place = seconds * 1_000;
  $("place").value = seconds;
  $("place-words").textContent = `${seconds.toFixed(1)} s`;
}

$("place").oninput = ({ target }) => {
  const seconds = Number(target.value);
  if (recorded?.call.has_sound) $("sound").currentTime = seconds;
  move(seconds);
};
$("sound").ontimeupdate = () => move($("sound").currentTime);

function row({ name, session, pipeline, bytes, ended_unix_ms: ended }) {
  const row = document.createElement("tr");
  const button = document.createElement("button");
  button.textContent = session ?? name;
  button.setAttribute("aria-pressed", String(recorded?.name === name));
  if (recorded?.name === name) recorded.button = button;
  button.onclick = () => open(name, button).catch((error) => say(error.message));
  row.insertCell().append(button);
  row.insertCell().textContent = new Date(ended).toLocaleString();
  row.insertCell().textContent = pipeline ?? "";
  row.insertCell().textContent = `${Math.ceil(bytes / 1_024)} KiB`;
  return row;
}

function say(words) {
  $("no-calls").hidden = !words;
  $("no-calls").textContent = words;
}

export async function listCalls() {
  const answer = await fetch("recordings.json");
  if (!answer.ok) return say(await answer.text());
  const calls = await answer.json();
  $("recordings").hidden = calls.length === 0;
  $("recordings").tBodies[0].replaceChildren(...calls.map(row));
  say(calls.length === 0 ? "None yet: a call is here when it has ended." : "");
}

$("refresh").onclick = () => listCalls().catch((error) => say(error.message));
listCalls().catch((error) => say(error.message));
