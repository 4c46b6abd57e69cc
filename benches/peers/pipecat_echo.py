"""A Pipecat bot that says back what it hears: six processors that pass frames on, one pipeline for each connection.

It is as lean as Pipecat can be: no transport of its own (the library `websockets` brings frames in and out), no detector, no
observers, no metrics, no idle timeout, no turn tracking. What is written in it is Pipecat's own.
"""

import asyncio
import gc

from loguru import logger

logger.remove()

from pipecat.frames.frames import InputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.frame_processor import FrameProcessor
from websockets.asyncio.server import serve


class PassOn(FrameProcessor):
    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)


class SayBack(FrameProcessor):
    def __init__(self, socket):
        super().__init__()
        self._socket = socket

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self._socket.send(frame.audio)
        await self.push_frame(frame, direction)


async def attend(socket):
    pipeline = Pipeline([*(PassOn() for _ in range(6)), SayBack(socket)])
    task = PipelineTask(
        pipeline,
        params=PipelineParams(enable_metrics=False, enable_usage_metrics=False),
        enable_turn_tracking=False,
        enable_rtvi=False,
        cancel_on_idle_timeout=False,
        idle_timeout_secs=None,
        check_dangling_tasks=False,
    )
    running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(task))
    try:
        async for message in socket:
            if isinstance(message, bytes):
                await task.queue_frame(InputAudioRawFrame(audio=message, sample_rate=16000, num_channels=1))
    finally:
        await task.cancel()
        await running


async def main():
    async with serve(attend, "127.0.0.1", 0, compression=None, max_queue=64) as server:
        host, port = server.sockets[0].getsockname()
        print(f"{host}:{port}", flush=True)
        gc.freeze()
        await asyncio.Future()


asyncio.run(main())
