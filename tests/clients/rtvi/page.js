// What runs in the browser: Pipecat's client library as it is, with the browser's own microphone and loudspeaker. Its default
// media manager would load a script from elsewhere, so the library's other one is chosen.

import { PipecatClient } from "@pipecat-ai/client-js";
import { WavMediaManager, WebSocketTransport } from "@pipecat-ai/websocket-transport";

const RATE_HZ = 16000;
const CHUNK = 512;

const seen = { events: [], texts: [], outputs: [], errors: [] };
window.seen = seen;
const note = (name) => seen.events.push([Math.round(performance.now()), name]);

const transport = new WebSocketTransport({ mediaManager: new WavMediaManager(CHUNK, RATE_HZ), recorderSampleRate: RATE_HZ });
const client = new PipecatClient({
  transport,
  enableMic: true,
  callbacks: {
    onBotReady: (data) => (note("ready"), (seen.ready = data)),
    onUserStartedSpeaking: () => note("user-started"),
    onUserStoppedSpeaking: () => note("user-stopped"),
    onUserTranscript: ({ text, final }) => final && (note("transcript"), seen.texts.push(text)),
    onBotLlmStarted: () => note("llm-started"),
    onBotTtsStarted: () => note("tts-started"),
    onBotStartedSpeaking: () => note("bot-started"),
    onBotStoppedSpeaking: () => note("bot-stopped"),
    onBotOutput: ({ text }) => seen.outputs.push(text),
    onError: (message) => seen.errors.push(message?.data ?? message),
    onDisconnected: () => note("disconnected"),
  },
});
window.talk = async (wsUrl) => {
  await client.initDevices();
  await client.connect({ wsUrl });
};
window.write = (text) => client.sendText(text);
window.hangUp = () => client.disconnect();
