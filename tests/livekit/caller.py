"""A caller in a room, by LiveKit's own library, which is told nothing but where the server is.

It asks, hears an answer, speaks into it, and hears the next. Prints what it saw as a line of JSON; what of it has to hold is
the test's to say.
"""

import asyncio
import json
import sys
import time
import wave

import numpy as np
from livekit import api, rtc

PATIENCE_SECONDS = 30
RATE = 48_000
LOUD = 600
QUIET_SECONDS = 0.3


class Caller:
    def __init__(self):
        self.began = time.monotonic()
        self.room = rtc.Room()
        self.source = rtc.AudioSource(RATE, 1, queue_size_ms=60)
        self.speech = asyncio.Queue()
        self.loud_at = None
        self.loud_since = None
        self.frames = 0
        self.states = []
        self.transcripts = {}
        self.tasks = []
        self.agent = None

    def now(self):
        return round(time.monotonic() - self.began, 3)

    async def join(self, url, token):
        self.room.on("track_subscribed", self.on_track)
        self.room.on("participant_attributes_changed", self.on_attributes)
        self.room.register_text_stream_handler("lk.transcription", self.on_text)
        await self.room.connect(url, token)
        track = rtc.LocalAudioTrack.create_audio_track("voice", self.source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self.room.local_participant.publish_track(track, options)
        self.tasks.append(asyncio.create_task(self.talk()))

    def on_attributes(self, changed, participant):
        if "lk.agent.state" in changed:
            self.states.append(changed["lk.agent.state"])

    def on_text(self, reader, identity):
        self.tasks.append(asyncio.create_task(self.read(reader, identity)))

    async def read(self, reader, identity):
        attributes = reader.info.attributes
        segment = attributes["lk.segment_id"]
        text = await reader.read_all()
        final = reader.info.attributes.get("lk.transcription_final") == "true"
        self.transcripts[segment] = {
            "who": "caller" if identity == "caller" else "agent",
            "text": text,
            "final": final,
            "track": attributes.get("lk.transcribed_track_id", ""),
        }

    def on_track(self, track, publication, participant):
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            self.agent = participant.identity
            self.tasks.append(asyncio.create_task(self.hear(track)))

    async def hear(self, track):
        async for event in rtc.AudioStream(track, sample_rate=16_000, num_channels=1, frame_size_ms=20):
            self.frames += 1
            loud = np.abs(np.frombuffer(event.frame.data, dtype=np.int16)).max() > LOUD
            if loud:
                quiet = self.loud_at is None or self.now() - self.loud_at > QUIET_SECONDS
                self.loud_at = self.now()
                if quiet:
                    self.loud_since = self.loud_at

    async def talk(self):
        """Silence, and speech where there is some: a microphone never stops."""
        silence = np.zeros(RATE // 50, dtype=np.int16)
        pending = np.zeros(0, dtype=np.int16)
        while True:
            while len(pending) < len(silence) and not self.speech.empty():
                pending = np.concatenate([pending, self.speech.get_nowait()])
            frame, pending = (pending[: len(silence)], pending[len(silence) :]) if len(pending) else (silence, pending)
            frame = np.concatenate([frame, np.zeros(len(silence) - len(frame), dtype=np.int16)])
            await self.source.capture_frame(rtc.AudioFrame(frame.tobytes(), RATE, 1, len(frame)))

    async def until(self, holds, what):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}; saw {self.saw()}")
            await asyncio.sleep(0.01)

    async def until_heard(self, after):
        await self.until(lambda: self.loud_since is not None and self.loud_since > after, "no answer is heard")
        return self.loud_since

    async def until_quiet(self):
        await self.until(lambda: self.now() - self.loud_at > QUIET_SECONDS, "the answer does not end")
        return self.loud_at

    def has_all(self):
        """Both answers are written down, and the agent listens again."""
        agents = [it for it in self.transcripts.values() if it["who"] == "agent"]
        return len(agents) >= 2 and self.states[-1] == "listening"

    def saw(self):
        return {"agent": self.agent, "frames": self.frames, "states": self.states, "transcripts": self.transcripts}


def voice(path):
    with wave.open(path) as file:
        assert (file.getnchannels(), file.getframerate()) == (1, RATE), path
        return np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)


def token(key, secret, room, dispatch):
    made = api.AccessToken(key, secret).with_identity("caller")
    made = made.with_grants(api.VideoGrants(room_join=True, room=room))
    if dispatch:
        agents = [api.RoomAgentDispatch(agent_name=dispatch)]
        made = made.with_room_config(api.RoomConfiguration(agents=agents))
    return made.to_jwt()


async def main(url, key, secret, room, speech, dispatch):
    caller, speech = Caller(), voice(speech)
    saw = {}
    await caller.join(url, token(key, secret, room, dispatch))
    await caller.until(lambda: caller.agent is not None, "no agent comes")
    saw["agent_after"] = caller.now()
    await caller.until(lambda: "listening" in caller.states or any(
        "listening" == other.attributes.get("lk.agent.state") for other in caller.room.remote_participants.values()
    ), "the agent does not listen")
    caller.speech.put_nowait(speech)
    asked = caller.now()
    first = await caller.until_heard(asked)
    saw["answered_after"] = round(first - asked - len(speech) / RATE, 3)
    await asyncio.sleep(0.6)
    caller.speech.put_nowait(speech)
    interrupted = caller.now()
    cut = await caller.until_quiet()
    saw["cut_after"] = round(cut - interrupted, 3)
    second = await caller.until_heard(max(cut, interrupted + len(speech) / RATE))
    saw["answered_again_after"] = round(second - interrupted - len(speech) / RATE, 3)
    await caller.until(caller.has_all, "the second answer does not end")
    saw |= caller.saw()
    await caller.room.disconnect()
    print(json.dumps(saw), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:6], sys.argv[6] if len(sys.argv) > 6 else ""))
