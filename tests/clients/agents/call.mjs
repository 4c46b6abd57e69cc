// Holds a call with OpenAI's agents library, unchanged, against the address that is given: asks by text, is answered in
// words and in sound, and cuts the answer short. Prints what it saw as one line of JSON.
//
//   node call.mjs ws://127.0.0.1:8080/v1/realtime
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession } from "@openai/agents-realtime";

const [url] = process.argv.slice(2);
const saw = { events: [], errors: [], audioBytes: 0, answers: [] };
const waiting = [];
const until = (name, is = () => true, ms = 15000) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${name} came`)), ms);
    waiting.push({ name, is, done: (data) => (clearTimeout(timer), resolve(data)) });
  });
const came = (name, data) => {
  if (!saw.events.includes(name)) saw.events.push(name);
  for (const wish of waiting.filter((wish) => wish.name === name && wish.is(data))) {
    waiting.splice(waiting.indexOf(wish), 1);
    wish.done(data);
  }
};

const transport = new OpenAIRealtimeWebSocket({ url });
const agent = new RealtimeAgent({ name: "front desk", instructions: "Be brief." });
const session = new RealtimeSession(agent, { transport });
transport.on("*", (event) => came(event.type, event));
session.on("error", ({ error }) => saw.errors.push(error?.message ?? error?.error ?? String(error)));
session.on("audio", ({ data }) => {
  saw.audioBytes += data.byteLength;
  came("audio", data);
});
session.on("audio_interrupted", () => came("interrupted"));
session.on("history_updated", (history) => came("history", history));
session.on("agent_end", (_context, _agent, output) => {
  saw.answers.push(output);
  came("answered", output);
});

try {
  await session.connect({ apiKey: "none" });
  await until("session.updated");
  let answered = until("answered");
  session.sendMessage("what are your opening hours");
  await until("audio");
  await answered;
  saw.wholeBytes = saw.audioBytes;
  const history = until("history", (items) => items.length >= 4);
  session.sendMessage("what are your opening hours");
  await until("response.created");
  await until("audio");
  const done = until("response.done");
  const truncated = until("conversation.item.truncated");
  session.interrupt();
  saw.status = (await done).response.status;
  saw.truncated = Number.isInteger((await truncated).audio_end_ms);
  await history;
  saw.history = session.history.map((item) => [item.role, item.content?.[0]?.transcript ?? item.content?.[0]?.text]);
  saw.ok = true;
} catch (error) {
  saw.ok = false;
  saw.errors.push(String(error?.stack ?? error));
}
session.close();
console.log(JSON.stringify(saw));
process.exit(0);
