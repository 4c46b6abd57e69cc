// The line to the server: the protocol rspp.v1.json, as docs/protocol.md tells it. It comes back by itself when the
// connection is lost, and then nothing is heard twice.

const PATH = "v1/rspp";
const SUBPROTOCOL = "rspp.v1.json";
const VERSION = 1;
const AUDIO_HEADER_BYTES = 16;
/** So often a lost connection is tried again, each time after twice as long. */
const MAX_ATTEMPTS = 7;
const FIRST_WAIT_MS = 200;
/** Audio that waits for a socket that takes nothing; more is not sent: the caller's words of long ago help nobody. */
const MAX_BUFFERED_BYTES = 64_000;

/** One session. Says `ready`, `audio`, `message`, `state`, `end` to its listeners. */
export class Line extends EventTarget {
  constructor({ token, rateHz }) {
    super();
    this.token = token;
    this.rateHz = rateHz;
    this.attempts = 0;
    this.lastSeq = 0;
    this.secret = null;
    this.played = null;
    this.isOver = false;
    this.connect();
  }

  connect() {
    const url = new URL(PATH, document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(url, SUBPROTOCOL);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.greet();
    this.socket.onmessage = ({ data }) => (typeof data === "string" ? this.hear(JSON.parse(data)) : this.play(data));
    this.socket.onclose = ({ reason }) => this.lost(reason);
  }

  greet() {
    const hello = { type: "hello", version: VERSION, label: "console", rate_hz: this.rateHz };
    if (this.token) hello.token = this.token;
    if (this.secret) hello.resume = { secret: this.secret, last_seq: this.lastSeq, played: this.played };
    this.socket.send(JSON.stringify(hello));
  }

  lost(reason) {
    if (this.isOver) return;
    if (!this.secret || this.attempts === MAX_ATTEMPTS) {
      this.finish(reason || "the server can't be reached: is it running, and is this page from it?");
      return;
    }
    this.say("state", "reconnecting");
    setTimeout(() => this.connect(), FIRST_WAIT_MS * 2 ** this.attempts++);
  }

  hear(message) {
    this.lastSeq = Math.max(this.lastSeq, message.seq ?? 0);
    if (message.type === "ready") {
      this.attempts = 0;
      this.secret = message.resume ?? null;
    }
    this.say("message", message);
    if (message.type === "ended") this.finish(message.reason === "done" ? null : message.message);
  }

  play(bytes) {
    const view = new DataView(bytes);
    const from = Number(view.getBigUint64(8, true));
    const chunk = { turn: view.getUint32(0, true), epoch: view.getUint32(4, true), from };
    this.say("audio", { ...chunk, samples: new Int16Array(bytes, AUDIO_HEADER_BYTES) });
  }

  finish(problem) {
    if (this.isOver) return;
    this.isOver = true;
    this.say("end", problem);
    this.socket.close();
  }

  get isOpen() {
    return !this.isOver && this.socket.readyState === WebSocket.OPEN;
  }

  send(message) {
    if (this.isOpen) this.socket.send(JSON.stringify(message));
  }

  sendAudio(frame) {
    if (this.isOpen && this.secret && this.socket.bufferedAmount < MAX_BUFFERED_BYTES) this.socket.send(frame);
  }

  acknowledge({ turn, heard, occasion }) {
    this.played = { turn, heard_samples: heard };
    this.send({ type: "playout", turn, heard_samples: heard, occasion });
  }

  end() {
    this.send({ type: "end" });
    if (!this.isOpen) this.finish(null);
  }

  say(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
