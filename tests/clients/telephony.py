#!/usr/bin/env python3
"""Plays a telephone provider, Telnyx or Plivo, against a server, with Pipecat's serializers as judges.

    python telephony.py telnyx ws://127.0.0.1:8080/v1/telnyx caller.wav

There is no public simulator of the two. So what is sent here is shown to Pipecat's serializer of that provider first,
which has to understand it, and what comes back has to have the shape that the same serializer writes. The provider is
played as its documents say: audio is played in real time, marks come back when what was before them has been played, a
clear throws away what has not. Telnyx returns the marks of what it threw away; Plivo says that it has cleared and drops
them. Some chunks come in the wrong order, as Telnyx's do, and one never comes.

Prints what happened as one line of JSON.
"""

import asyncio
import base64
import json
import sys
import time
import types
import wave

import numpy as np
import websockets
from pipecat.frames.frames import InputAudioRawFrame, InputDTMFFrame, InterruptionFrame, OutputAudioRawFrame
from pipecat.serializers.plivo import PlivoFrameSerializer
from pipecat.serializers.telnyx import TelnyxFrameSerializer

CHUNK_S = 0.02
STREAM = "5d2c1f4e-stream"
CALL = "v3:call-1"


def mu_law(samples):
    """G.711, by the recommendation's formula."""
    magnitude = np.minimum(np.abs(samples.astype(np.int32)), 32635) + 132
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    sign = np.where(samples < 0, 0x80, 0)
    return (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8).tobytes()


class Telnyx:
    def __init__(self):
        params = TelnyxFrameSerializer.InputParams(auto_hang_up=False)
        self.judge = TelnyxFrameSerializer(STREAM, "PCMU", "PCMU", params=params)

    def hello(self):
        yield {"event": "connected", "version": "1.0.0"}
        yield {
            "event": "start", "sequence_number": "1", "stream_id": STREAM,
            "start": {
                "user_id": "u", "call_control_id": CALL, "call_session_id": "s", "from": "+4930123", "to": "+15551234",
                "client_state": "eA==", "custom_parameters": {"tenant": "acme"},
                "media_format": {"encoding": "PCMU", "sample_rate": 8000, "channels": 1},
            },
        }

    def media(self, number, payload):
        return {
            "event": "media", "sequence_number": str(number + 1), "stream_id": STREAM,
            "media": {"track": "inbound", "chunk": str(number), "timestamp": str(number * 20), "payload": payload},
        }

    def dtmf(self, digit):
        return {"event": "dtmf", "stream_id": STREAM, "occurred_at": "2026-01-01T00:00:00Z", "dtmf": {"digit": digit}}

    def marked(self, name):
        return {"event": "mark", "sequence_number": "9", "stream_id": STREAM, "mark": {"name": name}}

    def mark_of(self, message):
        return message["mark"]["name"] if message["event"] == "mark" else None

    def cleared(self, names):
        return [self.marked(name) for name in names]


class Plivo:
    def __init__(self):
        params = PlivoFrameSerializer.InputParams(auto_hang_up=False)
        self.judge = PlivoFrameSerializer(STREAM, params=params)

    def hello(self):
        yield {
            "event": "start", "sequenceNumber": 0, "extra_headers": "{\"tenant\": \"acme\"}",
            "start": {
                "callId": CALL, "streamId": STREAM, "accountId": "a", "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
            },
        }

    def media(self, number, payload):
        return {
            "event": "media", "sequenceNumber": number, "streamId": STREAM,
            "media": {"track": "inbound", "timestamp": str(number * 20), "chunk": number, "payload": payload},
        }

    def dtmf(self, digit):
        return {"event": "dtmf", "streamId": STREAM, "dtmf": {"track": "inbound", "digit": digit, "timestamp": "1"}}

    def marked(self, name):
        return {"event": "playedStream", "streamId": STREAM, "name": name}

    def mark_of(self, message):
        return message["name"] if message["event"] == "checkpoint" else None

    def cleared(self, _):
        return [{"event": "clearedAudio", "sequenceNumber": 9, "streamId": STREAM}]


def shape(value):
    """Names and kinds, without the values that differ from call to call."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in sorted(value.items())}
    return type(value).__name__


class Call:
    def __init__(self, provider, socket):
        self.provider, self.socket = provider, socket
        self.saw = dict(media=0, audio_ms=0, marks=0, clears=0, after_clear=0, bad=[], odd=[], events=[])
        self.plays_until = 0.0
        self.pending = []
        self.number = 0
        self.signs = asyncio.Queue()
        self.started = time.monotonic()
        self.last_clear = None
        self.interrupting = False

    def note(self, what):
        self.saw["events"].append([round((time.monotonic() - self.started) * 1000), what])

    async def send(self, message, kind=None):
        text = json.dumps(message)
        if kind is not None and not isinstance(await self.provider.judge.deserialize(text), kind):
            self.saw["bad"].append(f"Pipecat does not understand {text[:80]}")
        await self.socket.send(text)

    async def say(self, samples):
        """In real time; of every seventh pair of chunks the second comes first, and one chunk is lost."""
        chunks = [mu_law(samples[at:at + 160]) for at in range(0, len(samples) - 159, 160)]
        order = list(range(len(chunks)))
        for at in range(5, len(order) - 1, 7):
            order[at], order[at + 1] = order[at + 1], order[at]
        lost = order[-3] if len(order) > 50 else None
        due = time.monotonic()
        for at in order:
            if at != lost:
                payload = base64.b64encode(chunks[at]).decode()
                await self.send(self.provider.media(self.number + at + 1, payload), InputAudioRawFrame)
            due += CHUNK_S
            await asyncio.sleep(max(0, due - time.monotonic()))
        self.number += len(chunks)

    async def quiet(self, seconds):
        await self.say(np.zeros(int(seconds * 50) * 160, dtype=np.int16))

    async def quiet_until(self, sign, seconds=15):
        """Silence goes on being sent: a line is never without audio."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await self.quiet(0.1)
            while not self.signs.empty():
                if self.signs.get_nowait() == sign:
                    return
        raise TimeoutError(f"no {sign} in {seconds} s")

    async def quiet_until_silent(self, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < self.plays_until + 0.3 and time.monotonic() < end:
            await self.quiet(0.1)

    async def expected(self):
        audio = await self.provider.judge.serialize(OutputAudioRawFrame(b"\0" * 16000, 8000, 1))
        clear = await self.provider.judge.serialize(InterruptionFrame())
        return shape(json.loads(audio)), shape(json.loads(clear))

    async def listen(self):
        media, clear = await self.expected()
        async for text in self.socket:
            message, now = json.loads(text), time.monotonic()
            name = self.provider.mark_of(message)
            if name is not None:
                self.saw["marks"] += 1
                self.pending.append((self.plays_until, name))
            elif shape(message) == media:
                self.on_media(message, now)
            elif shape(message) == clear:
                await self.on_clear(now)
            else:
                self.saw["odd"].append(text[:120])

    def on_media(self, message, now):
        length = len(base64.b64decode(message["media"]["payload"])) / 8000
        self.saw["media"] += 1
        self.saw["audio_ms"] += round(length * 1000)
        if self.interrupting and self.last_clear is not None and now - self.last_clear < 0.1:
            self.saw["after_clear"] += 1
        if now > self.plays_until + 0.2:
            self.note("speaks")
            self.signs.put_nowait("speaks")
        self.plays_until = max(self.plays_until, now) + length

    async def on_clear(self, now):
        self.saw["clears"] += 1
        self.last_clear = now
        self.note("clear")
        names, self.pending = [name for _, name in self.pending], []
        self.plays_until = 0.0
        for message in self.provider.cleared(names):
            await self.send(message)
        self.signs.put_nowait("clear")

    async def play(self):
        """Marks come back when what was sent before them has been played."""
        while True:
            await asyncio.sleep(0.005)
            while self.pending and self.pending[0][0] <= time.monotonic():
                await self.send(self.provider.marked(self.pending.pop(0)[1]))


async def hold(provider, url, path):
    with wave.open(path) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)
    await provider.judge.setup(types.SimpleNamespace(audio_in_sample_rate=8000))
    async with websockets.connect(url) as socket:
        call = Call(provider, socket)
        for message in provider.hello():
            await call.send(message)
        tasks = [asyncio.create_task(call.listen()), asyncio.create_task(call.play())]
        try:
            await call.quiet(0.3)
            call.note("asks")
            await call.say(samples)
            await call.quiet_until("speaks")
            call.note("interrupts")
            call.interrupting = True
            await call.say(samples)
            await call.quiet_until("clear")
            await call.quiet_until("speaks")
            call.interrupting = False
            await call.quiet_until_silent()
            for digit in "42#":
                await call.send(provider.dtmf(digit), InputDTMFFrame)
            call.note("keys")
            await call.quiet_until("speaks")
            call.saw["ok"] = True
        except (TimeoutError, websockets.ConnectionClosed) as error:
            call.saw["failed"] = str(error)
        for task in tasks:
            task.cancel()
        await call.send({"event": "stop", "stream_id": STREAM, "stop": {"call_control_id": CALL}})
        return call.saw


def main():
    provider = {"telnyx": Telnyx, "plivo": Plivo}[sys.argv[1]]()
    saw = asyncio.run(hold(provider, sys.argv[2], sys.argv[3]))
    print(json.dumps(saw))
    sys.exit(0 if saw.get("ok") else 1)


main()
