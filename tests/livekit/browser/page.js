// What caller.py does, with LiveKit's library for browsers.

import { ParticipantKind, Room, RoomEvent, Track } from "livekit-client";

const PATIENCE_SECONDS = 30;
const LOUD = 600 / 32_768;
const QUIET_SECONDS = 0.3;
const LOOK_EVERY_MS = 10;

const began = performance.now();
const now = () => Math.round(performance.now() - began) / 1_000;
const wait = (seconds) => new Promise((done) => setTimeout(done, seconds * 1_000));

const room = new Room();
const seen = { agent: null, agents_heard: 0, frames: 0, states: [], transcripts: {}, spans: [], events: [] };
let sound, microphone, words;

async function until(holds, what) {
  const deadline = now() + PATIENCE_SECONDS;
  while (!holds()) {
    if (now() > deadline) throw new Error(what);
    await wait(LOOK_EVERY_MS / 1_000);
  }
}

window.join = async (url, token) => {
  sound = new AudioContext({ sampleRate: 48_000 });
  microphone = sound.createMediaStreamDestination();
  const file = await (await fetch("/voice.wav")).arrayBuffer();
  words = await sound.decodeAudioData(file);
  room.on(RoomEvent.TrackSubscribed, hear);
  room.on(RoomEvent.ParticipantAttributesChanged, (changed) => {
    if (changed["lk.agent.state"]) seen.states.push(changed["lk.agent.state"]);
  });
  for (const event of [RoomEvent.Reconnecting, RoomEvent.Reconnected, RoomEvent.Disconnected]) {
    room.on(event, () => seen.events.push([now(), event]));
  }
  room.registerTextStreamHandler("lk.transcription", read);
  await room.connect(url, token);
  await room.localParticipant.publishTrack(microphone.stream.getAudioTracks()[0], { source: Track.Source.Microphone });
};

async function read(reader, { identity }) {
  const segment = reader.info.attributes["lk.segment_id"];
  const text = await reader.readAll();
  const attributes = reader.info.attributes;
  seen.transcripts[segment] = {
    who: identity.startsWith("caller") ? "caller" : "agent",
    text,
    final: attributes["lk.transcription_final"] === "true",
    track: attributes["lk.transcribed_track_id"] ?? "",
  };
}

function hear(track, publication, participant) {
  if (track.kind !== Track.Kind.Audio || participant.kind !== ParticipantKind.AGENT) return;
  seen.agent = participant.identity;
  seen.agents_heard += 1;
  // What no element plays, the browser does not decode.
  track.attach();
  const analyser = sound.createAnalyser();
  analyser.fftSize = 512;
  sound.createMediaStreamSource(new MediaStream([track.mediaStreamTrack])).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    seen.frames += 1;
    if (!samples.some((sample) => Math.abs(sample) > LOUD)) return;
    const last = seen.spans.at(-1);
    if (last && now() - last[1] <= QUIET_SECONDS) last[1] = now();
    else seen.spans.push([now(), now()]);
  }, LOOK_EVERY_MS);
}

const loudSince = () => seen.spans.at(-1)?.[0] ?? -1;
const rounded = (number) => Math.round(number * 1_000) / 1_000;
const others = () => [...room.remoteParticipants.values()];

function say() {
  const source = sound.createBufferSource();
  source.buffer = words;
  source.connect(microphone);
  source.start();
  return now();
}

async function quiet() {
  await until(() => now() - seen.spans.at(-1)[1] > QUIET_SECONDS, "the answer does not end");
  const [began_at, ended_at] = seen.spans.at(-1);
  return { began_at, ended_at, length: rounded(ended_at - began_at) };
}

function saw() {
  const agents = others().filter((other) => other.kind === ParticipantKind.AGENT).map((other) => other.identity);
  return { now: now(), agents_there: agents.sort(), ...seen };
}

const does = {
  async agent() {
    const listens = () => seen.states.includes("listening")
      || others().some((other) => other.attributes["lk.agent.state"] === "listening");
    await until(() => seen.agent && listens(), "no agent listens");
    return { agent_after: now(), agent: seen.agent };
  },
  async ask() {
    const at = say();
    await until(() => loudSince() > at + words.duration, "no answer is heard");
    return { asked_at: at, answered_after: rounded(loudSince() - at - words.duration) };
  },
  quiet,
  async interrupt() {
    const at = say();
    const cut = (await quiet()).ended_at;
    const after = Math.max(cut, at + words.duration);
    await until(() => loudSince() > after, "no answer is heard");
    return { cut_after: rounded(cut - at), answered_again_after: rounded(loudSince() - at - words.duration) };
  },
  async hear(seconds) {
    await wait(Number(seconds));
    return saw();
  },
  async written() {
    const all = () => Object.values(seen.transcripts);
    await until(() => all().length && all().every((it) => it.final) && seen.states.at(-1) === "listening",
      "not all is written down");
    return saw();
  },
};

window.obey = async (line) => {
  const [word, ...more] = line.split(" ");
  try {
    return await does[word](...more);
  } catch (error) {
    return { failed: String(error), ...saw() };
  }
};

window.leave = () => room.disconnect();
