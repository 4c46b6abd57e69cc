"""A call by Pipecat's OpenAI Realtime service, unchanged: a question in words, and an answer in words and in sound.

    python pipecat_client.py 127.0.0.1:8080

Prints what it saw as one line of JSON.
"""

import asyncio
import json
import sys

from loguru import logger

logger.remove()
complaints = []
logger.add(lambda message: complaints.append(str(message).strip()), level="WARNING")

from pipecat.frames.frames import (
    ErrorFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineTask
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService

PATIENCE_SECONDS = 40
QUESTION = "what are your opening hours"


class Ear(FrameProcessor):
    """What comes out behind the service."""

    def __init__(self):
        super().__init__()
        self.samples = 0
        self.words = []
        self.errors = []
        self.ended = asyncio.Event()

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.samples += len(frame.audio) // 2
        elif isinstance(frame, TTSTextFrame):
            self.words.append(frame.text)
        elif isinstance(frame, ErrorFrame):
            self.errors.append(str(frame.error))
            self.ended.set()
        elif isinstance(frame, LLMFullResponseEndFrame):
            self.ended.set()
        await self.push_frame(frame, direction)


async def main(address):
    service = OpenAIRealtimeLLMService(api_key="none", base_url=f"ws://{address}/v1/realtime")
    ear = Ear()
    task = PipelineTask(Pipeline([service, ear]), enable_rtvi=False)
    running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(task))
    context = LLMContext(messages=[{"role": "user", "content": QUESTION}])
    await task.queue_frames([LLMContextFrame(context)])
    try:
        await asyncio.wait_for(ear.ended.wait(), PATIENCE_SECONDS)
    finally:
        await task.cancel()
        await asyncio.wait_for(running, PATIENCE_SECONDS)
    print(json.dumps({
        "samples": ear.samples, "words": "".join(ear.words), "errors": ear.errors,
        "complaints": complaints,
    }))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
