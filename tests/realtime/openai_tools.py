"""A client of the OpenAI SDK that carries out tools: it is called by the pipeline's model, answers, and hears the answer.

Each event of the server's is validated against the SDK's own union of types. Prints `ok` and what was seen, or fails with what
was not as it should be.
"""

import asyncio
import json
import sys

from openai import AsyncOpenAI

from openai_client import Call, ask


async def is_called(call, question, name, arguments):
    """Asks, and gives the call that the model makes; its response is over with it."""
    seen = len(call.seen)
    await ask(call, question)
    done = await call.until("response.done")
    assert done.response.status == "completed", done
    wanted = [item for item in done.response.output if item.type == "function_call"]
    assert [item.name for item in wanted] == [name], done
    assert json.loads(wanted[0].arguments) == arguments, wanted
    written = [event for event in call.seen[seen:] if event.type == "response.function_call_arguments.done"]
    assert [(event.call_id, event.arguments) for event in written] == [(wanted[0].call_id, wanted[0].arguments)], written
    return wanted[0]


async def answers(call, wanted, output):
    """Brings the output, asks for the answer, and gives its words."""
    await call.connection.conversation.item.create(
        item={"type": "function_call_output", "call_id": wanted.call_id, "output": output}
    )
    await call.until("conversation.item.done")
    await call.connection.response.create(response={"metadata": {"topic": "tools"}})
    started = await call.until("response.created")
    assert started.response.metadata == {"topic": "tools"}, started
    done = await call.until("response.done")
    assert done.response.status == "completed" and done.response.id == started.response.id, done
    return done.response.output[0].content[0].transcript


async def main(address):
    client = AsyncOpenAI(api_key="none is needed", base_url=f"http://{address}/v1")
    async with client.realtime.connect(model="gpt-realtime") as connection:
        call = Call(connection)
        created = await call.until("session.created")
        tools = {tool.name: tool for tool in created.session.tools}
        assert sorted(tools) == ["book", "hours"] and tools["hours"].parameters["required"] == ["day"], tools
        read = await is_called(call, "when do you open on sunday", "hours", {"day": "sunday"})
        heard = await answers(call, read, "from noon")
        assert "sunday" in heard, heard
        write = await is_called(call, "book a table for two at seven", "book", {"people": "two", "time": "seven"})
        heard = await answers(call, write, "booked under number 7")
        assert "booked" in heard, heard
        # Nobody waits for an output twice, and of a call that nobody made there is none.
        for call_id in [write.call_id, "call_of_nobody"]:
            await connection.conversation.item.create(
                item={"type": "function_call_output", "call_id": call_id, "output": "again"}
            )
            error = await call.until("error")
            assert error.error.param == "item", error
    print(f"ok: {len(call.seen)} events, each as the SDK has it; {heard}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
