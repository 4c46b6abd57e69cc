// What runs on the audio thread: a microphone that gives frames of 20 ms, and a player that knows to the sample what was
// heard of which turn.

/** Collects the microphone's blocks into frames of 20 ms of 16-bit PCM. */
class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.frame = new Int16Array(Math.round(sampleRate / 50));
    this.filled = 0;
  }

  process([input]) {
    const samples = input[0];
    if (!samples) return true;
    for (const sample of samples) {
      this.frame[this.filled++] = Math.max(-1, Math.min(1, sample)) * 32767;
      if (this.filled === this.frame.length) {
        this.port.postMessage(this.frame.slice());
        this.filled = 0;
      }
    }
    return true;
  }
}

const FADE_SAMPLES = Math.round(sampleRate / 100);
/** So often the server hears how far it was played. */
const PROGRESS_SAMPLES = sampleRate / 5;

/**
 * Plays one frame behind the other. At a clear it stops at once, decaying from the last sample played, and says where it
 * stopped: that is what the conversation remembers.
 */
class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = [];
    this.epoch = 0;
    this.turn = 0;
    this.heard = 0;
    this.told = 0;
    this.last = 0;
    this.fade = 0;
    this.port.onmessage = ({ data }) => this.hear(data);
  }

  hear(data) {
    if (data.clear) this.clear(data.clear);
    else if (data.drop) this.queue = [];
    else this.put(data);
  }

  put(chunk) {
    if (chunk.epoch >= this.epoch) this.queue.push({ ...chunk, at: 0 });
  }

  clear({ turn, epoch }) {
    this.epoch = Math.max(this.epoch, epoch);
    this.queue = this.queue.filter((chunk) => chunk.epoch >= this.epoch);
    this.fade = FADE_SAMPLES;
    this.tell(turn, turn === this.turn ? this.heard : 0, "cleared");
  }

  tell(turn, heard, occasion) {
    this.told = heard;
    this.port.postMessage({ turn, heard, occasion });
  }

  next() {
    const chunk = this.queue[0];
    if (!chunk) return this.decay();
    if (chunk.turn !== this.turn) {
      this.turn = chunk.turn;
      this.tell(chunk.turn, chunk.from, "started");
    }
    const sample = chunk.samples[chunk.at++] / 32768;
    this.heard = chunk.from + chunk.at;
    if (chunk.at === chunk.samples.length) {
      this.queue.shift();
      if (this.queue.length === 0) this.tell(this.turn, this.heard, "drained");
    } else if (this.heard - this.told >= PROGRESS_SAMPLES) {
      this.tell(this.turn, this.heard, "progress");
    }
    this.fade = FADE_SAMPLES;
    this.last = sample;
    return sample;
  }

  /** Nothing is left: no click. */
  decay() {
    if (this.fade === 0) return 0;
    this.fade -= 1;
    return (this.last * this.fade) / FADE_SAMPLES;
  }

  process(_inputs, [output]) {
    const [left, ...others] = output;
    for (let place = 0; place < left.length; place++) left[place] = this.next();
    for (const channel of others) channel.set(left);
    return true;
  }
}

registerProcessor("microphone", Microphone);
registerProcessor("player", Player);
