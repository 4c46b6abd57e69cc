"""A caller in a room, by LiveKit's own library, which is told nothing but where the server is.

Does what it is told by lines on its input, and prints what it saw as a line of JSON for each; what of it has to hold is the
test's to say. Times are seconds since it began.
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
# So long after a question an answer has to begin, or the question was not heard.
ANSWER_SECONDS = 2.5


class Caller:
    def __init__(self, speech):
        self.began = time.monotonic()
        self.room = rtc.Room()
        self.source = rtc.AudioSource(RATE, 1, queue_size_ms=60)
        self.words = speech
        self.speech = asyncio.Queue()
        # Where the agents were loud.
        self.spans = []
        self.frames = 0
        self.states = []
        self.transcripts = {}
        self.tasks = []
        self.agent = None
        self.agents = 0
        self.events = []

    def now(self):
        return round(time.monotonic() - self.began, 3)

    async def join(self, url, token):
        self.room.on("track_subscribed", self.on_track)
        self.room.on("participant_attributes_changed", self.on_attributes)
        for event in ["reconnecting", "reconnected", "disconnected"]:
            self.room.on(event, lambda *_, event=event: self.events.append([self.now(), event]))
        self.room.register_text_stream_handler("lk.transcription", self.on_text)
        await self.room.connect(url, token)
        self.track = rtc.LocalAudioTrack.create_audio_track("voice", self.source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self.room.local_participant.publish_track(self.track, options)
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
            "who": "caller" if identity.startswith("caller") else "agent",
            "text": text,
            "final": final,
            "track": attributes.get("lk.transcribed_track_id", ""),
        }

    def on_track(self, track, publication, participant):
        if track.kind == rtc.TrackKind.KIND_AUDIO and participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
            self.agent = participant.identity
            self.agents += 1
            self.tasks.append(asyncio.create_task(self.hear(track)))

    async def hear(self, track):
        async for event in rtc.AudioStream(track, sample_rate=16_000, num_channels=1, frame_size_ms=20):
            self.frames += 1
            if np.abs(np.frombuffer(event.frame.data, dtype=np.int16)).max() > LOUD:
                now = self.now()
                if self.spans and now - self.spans[-1][1] <= QUIET_SECONDS:
                    self.spans[-1][1] = now
                else:
                    self.spans.append([now, now])

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

    async def until(self, holds, what, seconds=PATIENCE_SECONDS):
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(what)
            await asyncio.sleep(0.01)

    def loud_since(self):
        return self.spans[-1][0] if self.spans else -1

    def say(self):
        self.speech.put_nowait(self.words)
        return self.now(), len(self.words) / RATE

    async def ask(self, seconds=PATIENCE_SECONDS):
        """Asks, and hears an answer begin."""
        at, length = self.say()
        await self.until(lambda: self.loud_since() > at + length, "no answer is heard", length + seconds)
        return {"asked_at": at, "answered_after": round(self.loud_since() - at - length, 3)}

    async def back(self):
        """Asks until somebody answers: when the question was asked that was answered, from now."""
        began = self.now()
        for _ in range(20):
            try:
                answered = await self.ask(ANSWER_SECONDS)
                return answered | {"back_after": round(answered["asked_at"] - began, 3)}
            except TimeoutError:
                pass
        raise TimeoutError("nobody answers any more")

    async def speak(self, path):
        """Says what is in a file; what was understood of it, if anything was."""
        before = self.finals()
        self.speech.put_nowait(words := voice(path))
        try:
            await self.until(lambda: len(self.finals()) > len(before), "nothing is heard", len(words) / RATE + 4)
        except TimeoutError:
            return {"heard": ""}
        # The answer is begun, and cut by what comes next.
        await asyncio.sleep(0.5)
        return {"heard": " ".join(self.finals()[len(before):])}

    def finals(self):
        return [it["text"] for it in self.transcripts.values() if it["who"] == "caller" and it["final"]]

    async def quiet(self):
        """Until the answer has ended."""
        await self.until(lambda: self.now() - self.spans[-1][1] > QUIET_SECONDS, "the answer does not end")
        began, ended = self.spans[-1]
        return {"began_at": began, "ended_at": ended, "length": round(ended - began, 3)}

    async def interrupt(self):
        """Speaks into an answer until it ends, and hears the next."""
        at, length = self.say()
        cut = (await self.quiet())["ended_at"]
        after = max(cut, at + length)
        await self.until(lambda: self.loud_since() > after, "no answer is heard")
        return {
            "cut_after": round(cut - at, 3),
            "answered_again_after": round(self.loud_since() - at - length, 3),
        }

    def is_written_down(self):
        """All that was said is, and the agent listens again."""
        finals = all(it["final"] for it in self.transcripts.values())
        return finals and self.transcripts and self.states and self.states[-1] == "listening"

    def saw(self):
        agents = [
            other.identity
            for other in self.room.remote_participants.values()
            if other.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        ]
        return {
            "now": self.now(),
            "agent": self.agent,
            "agents_heard": self.agents,
            "agents_there": sorted(agents),
            "frames": self.frames,
            "states": self.states,
            "transcripts": self.transcripts,
            "spans": [[round(at, 3) for at in span] for span in self.spans],
            "events": self.events,
        }

    def listens(self):
        others = self.room.remote_participants.values()
        return "listening" in self.states or any(
            other.attributes.get("lk.agent.state") == "listening" for other in others
        )

    async def obey(self, word):
        match word.split():
            case ["agent"]:
                await self.until(lambda: self.agent is not None and self.listens(), "no agent listens")
                return {"agent_after": self.now(), "agent": self.agent}
            case ["alone"]:
                others = self.room.remote_participants
                await self.until(lambda: not others, "somebody is there", 5)
                return {}
            case ["ask"]:
                return await self.ask()
            case ["speak", path]:
                return await self.speak(path)
            case ["say"]:
                at, length = self.say()
                return {"asked_at": at, "length": length}
            case ["back"]:
                return await self.back()
            case ["quiet"]:
                return await self.quiet()
            case ["interrupt"]:
                return await self.interrupt()
            case ["hear", seconds]:
                await asyncio.sleep(float(seconds))
                return self.saw()
            case ["written"]:
                await self.until(self.is_written_down, "not all is written down")
                return self.saw()
            case ["words", words]:
                await self.until(lambda: any(words in it["text"] and it["final"] for it in self.transcripts.values()), f"no {words}")
                return self.saw()
            case ["mute"]:
                self.track.mute()
                return {}
            case ["unmute"]:
                self.track.unmute()
                return {}
            case ["leave"]:
                await self.room.disconnect()
                return {}
            case _:
                raise ValueError(word)


def voice(path):
    with wave.open(path) as file:
        assert (file.getnchannels(), file.getframerate()) == (1, RATE), path
        return np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)


def token(key, secret, room, identity, dispatch):
    made = api.AccessToken(key, secret).with_identity(identity)
    made = made.with_grants(api.VideoGrants(room_join=True, room=room))
    if dispatch:
        agents = [api.RoomAgentDispatch(agent_name=dispatch)]
        made = made.with_room_config(api.RoomConfiguration(agents=agents))
    return made.to_jwt()


async def main(url, key, secret, room, speech, dispatch="", identity="caller"):
    caller = Caller(voice(speech))
    await caller.join(url, token(key, secret, room, identity, dispatch))
    loop = asyncio.get_running_loop()
    while (word := (await loop.run_in_executor(None, sys.stdin.readline)).strip()) not in ("", "end"):
        try:
            answer = await caller.obey(word)
        except Exception as error:  # What it is does not matter here: the test tells it.
            answer = {"failed": f"{type(error).__name__}: {error}"} | caller.saw()
        print(json.dumps(answer), flush=True)
    await caller.room.disconnect()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
