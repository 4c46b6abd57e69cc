// Holds a call with Pipecat's client library, unchanged, against the address that is given: says a WAV file's audio in
// real time, goes on with silence until the agent has answered, speaks again into an answer, types, presses keys. Prints
// what it saw as one line of JSON.
//
//   node call.js ws://127.0.0.1:8080/v1/rtvi caller.wav
//
// The library is written for browsers. What it needs of one is put here: a socket that gives blobs, a window, and a media
// manager without a sound device.

const { readFileSync } = require("node:fs");
const WebSocket = require("ws");

class BlobSocket extends WebSocket {
  constructor(url, protocols) {
    super(url, protocols ?? []);
    this.binaryType = "blob";
  }
}
globalThis.WebSocket = BlobSocket;
globalThis.window = globalThis;
globalThis.location = { href: "http://127.0.0.1/" };
globalThis.document = { addEventListener() {}, removeEventListener() {}, createElement: () => ({}) };
globalThis.addEventListener ??= () => {};
globalThis.removeEventListener ??= () => {};
globalThis.MediaStream ??= class {};
globalThis.AudioWorkletProcessor ??= class {};

const { PipecatClient } = require("@pipecat-ai/client-js");
const { WebSocketTransport } = require("@pipecat-ai/websocket-transport");

const RATE = 16000;
const CHUNK = 256;
const [url, wav] = process.argv.slice(2);
const file = readFileSync(wav);
const said = new Int16Array(file.buffer.slice(file.byteOffset + 44, file.byteOffset + file.byteLength & ~1));

const saw = { events: [], texts: [], audioSamples: 0, oddFrames: 0, late: 0, errors: [], answers: 0 };
const started = Date.now();
const note = (name, data) => saw.events.push([Date.now() - started, name, data ?? null]);

// Plays nothing, and speaks what it is told to.
class Media {
  constructor() {
    this.queue = [];
    this.isMicEnabled = true;
  }
  setUserAudioCallback(callback) {
    this.callback = callback;
  }
  setClientOptions() {}
  async initialize() {}
  async connect() {
    const begun = Date.now();
    let sent = 0;
    this.timer = setInterval(() => {
      while (sent * CHUNK < ((Date.now() - begun) * RATE) / 1000) {
        const chunk = this.queue.splice(0, CHUNK);
        while (chunk.length < CHUNK) chunk.push(0);
        this.callback(Int16Array.from(chunk).buffer);
        sent += 1;
      }
    }, 10);
  }
  async disconnect() {
    clearInterval(this.timer);
  }
  say(samples) {
    this.queue.push(...samples);
  }
  bufferBotAudio(audio) {
    const bytes = audio.byteLength ?? audio.length;
    saw.oddFrames += bytes % 2;
    saw.audioSamples += bytes / 2;
    saw.lastAudioAt = Date.now() - started;
    this.heard?.(bytes / 2);
  }
  tracks() {
    return {};
  }
  async getAllMics() {
    return [];
  }
}

const media = new Media();
const waiting = [];
const until = (name, matches = () => true, ms = 15000) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${name} came`)), ms);
    waiting.push({ name, matches, done: (data) => (clearTimeout(timer), resolve(data)) });
  });
const came = (name, data) => {
  note(name, data);
  for (const wish of waiting.filter((wish) => wish.name === name && wish.matches(data))) {
    waiting.splice(waiting.indexOf(wish), 1);
    wish.done(data);
  }
};

const transport = new WebSocketTransport({ mediaManager: media });
const client = new PipecatClient({
  transport,
  enableMic: true,
  callbacks: {
    onBotReady: (data) => came("ready", data),
    onUserStartedSpeaking: () => came("user-started"),
    onUserStoppedSpeaking: () => came("user-stopped"),
    onUserTranscript: (data) => came("transcript", data),
    onBotLlmStarted: () => came("llm-started"),
    onBotLlmStopped: () => came("llm-stopped"),
    onBotTtsStarted: () => came("tts-started"),
    onBotTtsStopped: () => came("tts-stopped"),
    onBotOutput: (data) => came("output", data),
    onBotStartedSpeaking: () => came("bot-started"),
    onBotStoppedSpeaking: () => came("bot-stopped"),
    onError: (message) => {
      saw.errors.push(message?.data ?? message);
      came("error", message?.data ?? null);
    },
    onDisconnected: () => note("disconnected"),
  },
});

async function call() {
  const ready = until("ready");
  await client.connect({ wsUrl: url });
  await ready;

  // A question, and its answer.
  const answered = until("bot-started");
  const transcribed = until("transcript", (data) => data.final);
  media.say(said);
  saw.texts.push((await transcribed).text);
  await answered;

  // The caller speaks into it.
  const cut = until("bot-stopped");
  media.say(said);
  await cut;
  saw.cutAt = Date.now() - started;
  saw.samplesAtCut = saw.audioSamples;
  await until("bot-started");
  await until("bot-stopped", undefined, 30000);

  // Typed, and keyed.
  const typed = until("bot-started");
  client.sendText("and what time do you close");
  await typed;
  const asked = client.sendClientRequest("anything", {}).then(
    () => "answered",
    (error) => `refused: ${error?.data?.error ?? error?.message ?? error}`
  );
  saw.request = await Promise.race([asked, new Promise((resolve) => setTimeout(() => resolve("nothing"), 3000))]);
  await client.disconnect();
}

call()
  .then(() => (saw.ok = true))
  .catch((error) => (saw.failed = String(error?.stack ?? error)))
  .finally(() => {
    process.stdout.write(`${JSON.stringify(saw)}\n`, () => process.exit(saw.ok ? 0 : 1));
  });
