"""A call by the OpenAI SDK, which is told nothing but where the server is.

Each event of the server's is validated against the SDK's own union of types, which is stricter than the SDK itself. Prints
`ok` and what was seen, or fails with what was not as it should be.
"""

import asyncio
import base64
import sys

from openai import AsyncOpenAI
from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

PATIENCE_SECONDS = 30
EVENT = TypeAdapter(RealtimeServerEvent)
QUESTION = "what are your opening hours"


class Call:
    """One connection, and every event that came over it."""

    def __init__(self, connection):
        self.connection = connection
        self.seen = []

    async def next(self):
        raw = await asyncio.wait_for(self.connection.recv_bytes(), PATIENCE_SECONDS)
        event = EVENT.validate_json(raw)
        self.seen.append(event)
        return event

    async def until(self, kind):
        while True:
            event = await self.next()
            if event.type == kind:
                return event
            assert event.type != "error" or kind == "error", event

    def types(self):
        types = []
        for event in self.seen:
            if not types or types[-1] != event.type:
                types.append(event.type)
        return types


async def ask(call, text):
    await call.connection.conversation.item.create(
        item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    )
    await call.until("conversation.item.done")
    await call.connection.response.create(response={"metadata": {"topic": "hours"}})


async def a_question_is_answered(call):
    created = await call.until("session.created")
    assert created.session.audio.output.format.rate == 24_000, created
    await call.connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
    updated = await call.until("session.updated")
    assert updated.session.instructions == "Be brief.", updated
    assert updated.session.audio.input.turn_detection.interrupt_response is True, updated
    await ask(call, QUESTION)
    started = await call.until("response.created")
    assert started.response.metadata == {"topic": "hours"}, started
    done = await call.until("response.done")
    assert done.response.status == "completed", done
    assert done.response.id == started.response.id, done
    words = "".join(event.delta for event in call.seen if event.type == "response.output_audio_transcript.delta")
    assert words and words == done.response.output[0].content[0].transcript, (words, done)
    audio = b"".join(base64.b64decode(event.delta) for event in call.seen if event.type == "response.output_audio.delta")
    assert len(audio) > 24_000, len(audio)
    expected = [
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    order = [kind for kind in call.types() if kind in expected]
    assert order[-len(expected):] == expected, order


async def an_answer_is_cancelled_and_what_was_heard_is_told(call):
    await ask(call, QUESTION)
    item = (await call.until("response.output_item.added")).item
    for _ in range(20):
        await call.until("response.output_audio.delta")
    await call.connection.response.cancel()
    done = await call.until("response.done")
    assert done.response.status == "cancelled", done
    assert done.response.status_details.reason == "client_cancelled", done
    await call.connection.conversation.item.truncate(item_id=item.id, content_index=0, audio_end_ms=300)
    truncated = await call.until("conversation.item.truncated")
    assert truncated.audio_end_ms == 300, truncated
    await call.connection.conversation.item.retrieve(item_id=item.id)
    retrieved = await call.until("conversation.item.retrieved")
    assert retrieved.item.status == "incomplete", retrieved
    await call.connection.response.cancel()
    error = await call.until("error")
    assert error.error.code == "response_cancel_not_active", error


async def speech_is_heard(call, pcm):
    """Real time, as a microphone is: 20 ms at a time, with silence behind it."""
    frame = 24_000 // 50 * 2
    silence = bytes(frame)
    frames = [pcm[at:at + frame] for at in range(0, len(pcm) - frame, frame)]

    async def speak():
        for chunk in frames + [silence] * 100:
            await call.connection.input_audio_buffer.append(audio=base64.b64encode(chunk).decode())
            await asyncio.sleep(0.02)

    speaking = asyncio.create_task(speak())
    started = await call.until("input_audio_buffer.speech_started")
    stopped = await call.until("input_audio_buffer.speech_stopped")
    assert stopped.item_id == started.item_id, stopped
    committed = await call.until("input_audio_buffer.committed")
    assert committed.item_id == started.item_id, committed
    heard = await call.until("conversation.item.input_audio_transcription.completed")
    assert heard.item_id == started.item_id and heard.transcript, heard
    done = await call.until("response.done")
    assert done.response.status == "completed", done
    speaking.cancel()
    return heard.transcript


async def text_alone(call):
    await call.connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
    await call.until("session.updated")
    await ask(call, QUESTION)
    done = await call.until("response.done")
    assert done.response.output[0].content[0].type == "output_text", done
    assert done.response.output[0].content[0].text, done


async def main(address, speech):
    client = AsyncOpenAI(api_key="none is needed", base_url=f"http://{address}/v1")
    async with client.realtime.connect(model="gpt-realtime") as connection:
        call = Call(connection)
        await a_question_is_answered(call)
        await an_answer_is_cancelled_and_what_was_heard_is_told(call)
        await text_alone(call)
        seen = len(call.seen)
    with open(speech, "rb") as file:
        pcm = file.read()
    async with client.realtime.connect(model="gpt-realtime") as connection:
        call = Call(connection)
        await call.until("session.created")
        heard = await speech_is_heard(call, pcm)
    print(f"ok: {seen + len(call.seen)} events, each as the SDK has it; heard: {heard}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
