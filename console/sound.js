// Microphone and loudspeaker.

const CALL_RATE_HZ = 16_000;

/** A player at the call's rate: `onPlayed` hears how far which turn was played. */
export async function openPlayer(onPlayed) {
  const context = new AudioContext({ sampleRate: CALL_RATE_HZ, latencyHint: "interactive" });
  await context.audioWorklet.addModule("worklets.js");
  const node = new AudioWorkletNode(context, "player", { numberOfInputs: 0, outputChannelCount: [1] });
  node.port.onmessage = ({ data }) => onPlayed(data);
  node.connect(context.destination);
  await context.resume();
  return {
    put: ({ turn, epoch, from, samples }) => node.port.postMessage({ turn, epoch, from, samples }),
    clear: (turn, epoch) => node.port.postMessage({ clear: { turn, epoch } }),
    /** Throws away what is not played, and says nothing of it. */
    drop: () => node.port.postMessage({ drop: true }),
    close: () => context.close(),
  };
}

/** A microphone: `onFrame` gets 20 ms of PCM at a time. Gives its rate, which may not be the call's. */
export async function openMicrophone(onFrame) {
  const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  const { context, source } = connect(stream);
  await context.audioWorklet.addModule("worklets.js");
  const node = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0 });
  node.port.onmessage = ({ data }) => onFrame(data);
  source.connect(node);
  await context.resume();
  return {
    rateHz: context.sampleRate,
    close: () => {
      stream.getTracks().forEach((track) => track.stop());
      context.close();
    },
  };
}

/** Some browsers connect a microphone at its own rate only; the server converts. */
function connect(stream) {
  let context = new AudioContext({ sampleRate: CALL_RATE_HZ });
  try {
    return { context, source: context.createMediaStreamSource(stream) };
  } catch {
    context.close();
    context = new AudioContext();
    return { context, source: context.createMediaStreamSource(stream) };
  }
}

/** How loud it is, from 0 to 1, on a scale that speech fills. */
export function loudness(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return Math.min(1, Math.sqrt(sum / samples.length) / 6_000);
}
