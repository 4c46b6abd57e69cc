"""Wyoming events on streams of bytes, and the two ways to serve them: standard input and output, and TCP.

Only the standard library. Lengths are bounded as in the Rust client (adapters/src/wyoming/framing.rs).
"""

import json
import os
import socketserver
import sys
import threading
import urllib.parse

MAX_HEADER_BYTES = 64 * 1024
MAX_DATA_BYTES = 1024 * 1024
MAX_PAYLOAD_BYTES = 4 * 1024 * 1024
MAX_CONNECTIONS = 8
VERSION = "1.8.0"


class WireError(Exception):
    """What came is not Wyoming."""


class Event:
    """One event: its type, its data, its payload."""

    def __init__(self, kind, data=None, payload=b""):
        self.kind = kind
        self.data = data or {}
        self.payload = payload


def _length(header, field, limit):
    length = header.get(field) or 0
    if not isinstance(length, int) or isinstance(length, bool) or not 0 <= length <= limit:
        raise WireError(f"the header's {field} is not a number from 0 to {limit}")
    return length


def _exactly(stream, length, part):
    data = stream.read(length) if length else b""
    if len(data) != length:
        raise WireError(f"the stream ends within the {part}")
    return data


def _object(text, part):
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"the {part} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise WireError(f"the {part} is not a JSON object")
    return value


def read_event(stream):
    """The next event, or None where the stream ends between two events."""
    line = stream.readline(MAX_HEADER_BYTES + 1)
    if not line:
        return None
    if not line.endswith(b"\n"):
        raise WireError("the header line is cut short or too long")
    header = _object(line, "header")
    kind = header.get("type")
    if not isinstance(kind, str):
        raise WireError("the header's type is missing or no text")
    data_length = _length(header, "data_length", MAX_DATA_BYTES)
    payload_length = _length(header, "payload_length", MAX_PAYLOAD_BYTES)
    data = header.get("data") or {}
    if not isinstance(data, dict):
        raise WireError("the header's data is not an object")
    if data_length:
        data = {**data, **_object(_exactly(stream, data_length, "data"), "data")}
    return Event(kind, data, _exactly(stream, payload_length, "payload"))


def write_event(stream, event):
    """Writes one event and flushes."""
    data = json.dumps(event.data).encode() if event.data else b""
    header = {"type": event.kind, "version": VERSION}
    if data:
        header["data_length"] = len(data)
    if event.payload:
        header["payload_length"] = len(event.payload)
    stream.write(json.dumps(header).encode() + b"\n" + data + event.payload)
    stream.flush()


def error_event(text, code):
    """An engine's word that it failed."""
    return Event("error", {"text": text, "code": code})


def _answer(handler, event):
    if event.kind == "ping":
        yield Event("pong", {"text": event.data.get("text")})
        return
    yield from handler(event)


def _converse(reader, writer, handler):
    """Answers events, one after the other, until the stream ends."""
    while True:
        try:
            event = read_event(reader)
        except WireError as error:
            write_event(writer, error_event(str(error), "protocol"))
            return
        if event is None:
            return
        for answer in _answer(handler, event):
            write_event(writer, answer)


def _serve_stdio(new_handler):
    reader, writer = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # Nothing that a library prints may get between the events.
    os.dup2(2, 1)
    try:
        _converse(reader, writer, new_handler())
    except (BrokenPipeError, ConnectionError):
        pass


def _serve_tcp(uri, new_handler):
    parts = urllib.parse.urlsplit(uri)
    if parts.scheme != "tcp" or not parts.hostname or parts.port is None:
        sys.exit(f"{uri!r} is no address of the form tcp://HOST:PORT")
    free = threading.BoundedSemaphore(MAX_CONNECTIONS)

    class Handler(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = True

        def handle(self):
            try:
                if not free.acquire(blocking=False):
                    write_event(self.wfile, error_event(f"{MAX_CONNECTIONS} connections are open", "busy"))
                    return
                try:
                    _converse(self.rfile, self.wfile, new_handler())
                finally:
                    free.release()
            except (BrokenPipeError, ConnectionError):
                pass

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    try:
        server = Server((parts.hostname, parts.port), Handler)
    except OSError as error:
        sys.exit(f"can't listen at {uri}: {error}")
    with server:
        print(f"listening on tcp://{parts.hostname}:{server.server_address[1]}", file=sys.stderr, flush=True)
        server.serve_forever()


def add_arguments(parser):
    """Where to serve: --stdio or --uri."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--stdio", action="store_true", help="serve on standard input and output")
    where.add_argument("--uri", metavar="tcp://HOST:PORT", help="serve on TCP; port 0 takes any free one")


def serve(arguments, new_handler):
    """Serves until the end; new_handler makes, for each connection, a function from an event to its answers."""
    try:
        if arguments.stdio:
            _serve_stdio(new_handler)
        else:
            _serve_tcp(arguments.uri, new_handler)
    except KeyboardInterrupt:
        pass
