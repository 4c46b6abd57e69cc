"""A call by LiveKit's OpenAI plugin, unchanged: a question in words, and an answer in words and in sound.

    python livekit_client.py 127.0.0.1:8080

Prints what it saw as one line of JSON.
"""

import asyncio
import json
import logging
import os
import sys

os.environ.setdefault("OPENAI_API_KEY", "none")

from livekit.agents import llm
from livekit.plugins import openai

PATIENCE_SECONDS = 20


async def answer(session, question):
    """Asks, and gives the answer's words and the samples of its sound."""
    context = session.chat_ctx.copy()
    context.add_message(role="user", content=question)
    await asyncio.wait_for(session.update_chat_ctx(context), PATIENCE_SECONDS)
    created = await asyncio.wait_for(session.generate_reply(), PATIENCE_SECONDS)
    words, samples = [], 0
    async for message in created.message_stream:
        async def read_words():
            async for piece in message.text_stream:
                words.append(str(piece))

        async def read_sound():
            nonlocal samples
            async for frame in message.audio_stream:
                samples += frame.samples_per_channel

        await asyncio.wait_for(asyncio.gather(read_words(), read_sound()), PATIENCE_SECONDS)
    return {"words": "".join(words), "samples": samples}


class Notes(logging.Handler):
    """What the plugin says of us."""

    def __init__(self, saw):
        super().__init__(logging.WARNING)
        self.saw = saw

    def emit(self, record):
        self.saw["warnings"].append(record.getMessage())


async def main(address):
    saw = {"errors": [], "warnings": []}
    logging.getLogger("livekit").addHandler(Notes(saw))
    model = openai.realtime.RealtimeModel(base_url=f"http://{address}/v1", api_key="none", model="rspp")
    session = model.session()
    session.on("error", lambda error: saw["errors"].append(str(error)))
    saw["first"] = await answer(session, "what are your opening hours")
    saw["second"] = await answer(session, "where are you")
    await session.aclose()
    print(json.dumps(saw))


asyncio.run(main(sys.argv[1]))
