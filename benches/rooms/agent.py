"""An agent of livekit-agents, to be measured beside ours: hears when somebody has stopped making a noise, and answers with a tone
for eight seconds through its `AgentSession`. It does less than ours does: no recogniser, no model and no voice stand between.

`agent.py start`, with LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET set.
"""

import asyncio
import math

import numpy as np
from livekit import rtc
from livekit.agents import Agent, AgentSession, JobContext, WorkerOptions, cli

RATE = 24_000
FRAME = RATE // 50
ANSWER_FRAMES = 400
LOUD = 600
# As ours: an utterance has ended after so long.
QUIET_FRAMES = 24
WAVE = (np.sin(np.arange(FRAME) * 2 * math.pi * 200 / RATE) * 6_000).astype(np.int16).tobytes()


async def answer():
    for _ in range(ANSWER_FRAMES):
        yield rtc.AudioFrame(WAVE, RATE, 1, FRAME)


async def hear(session, track):
    spoke, quiet = False, 0
    async for event in rtc.AudioStream(track, sample_rate=16_000, num_channels=1, frame_size_ms=20):
        if np.abs(np.frombuffer(event.frame.data, dtype=np.int16)).max() > LOUD:
            spoke, quiet = True, 0
            continue
        quiet += 1
        if spoke and quiet == QUIET_FRAMES:
            spoke = False
            session.say("the same for all", audio=answer(), allow_interruptions=False)


async def entrypoint(job: JobContext):
    session, tasks = AgentSession(vad=None, turn_detection="manual"), []

    def on_track(track, publication, participant):
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            tasks.append(asyncio.create_task(hear(session, track)))

    job.room.on("track_subscribed", on_track)
    await job.connect()
    await session.start(agent=Agent(instructions="none"), room=job.room)
    for other in job.room.remote_participants.values():
        for publication in other.track_publications.values():
            if publication.track is not None and not tasks:
                on_track(publication.track, publication, other)


if __name__ == "__main__":
    options = WorkerOptions(
        entrypoint_fnc=entrypoint, load_fnc=lambda *_: 0.0, load_threshold=math.inf, num_idle_processes=2
    )
    cli.run_app(options)
