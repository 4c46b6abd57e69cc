#!/usr/bin/env python3
"""A Wyoming synthesiser: runs espeak-ng, or flite, for each text. Only the standard library.

The programs are run, never linked: espeak-ng is GPL-3. The same text gives the same samples. Where no program is
installed, `--program espeakng-loader` takes the espeak-ng library that the package of this name brings, and loads it
into this process, which is one of its own.
"""

import argparse
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys

import wyoming_wire
from wyoming_wire import Event, error_event

try:
    import espeakng_loader
except ImportError:
    espeakng_loader = None

CHUNK_MS = 20
MAX_TEXT_BYTES = 64 * 1024
MAX_SECONDS = 600
WAV_HEADER_BYTES = 44
LOADER = "espeakng-loader"
DEFAULT_VOICES = {"espeak-ng": "en-us", LOADER: "en-us", "flite": "slt"}
VOICE = re.compile(r"[A-Za-z0-9_+-]{1,64}")


class SpeechError(Exception):
    """Why there is no speech; its second argument is a short code."""


def command(program, voice, speed, text):
    """A command that writes a WAV file to its standard output; espeak-ng reads the text from its standard input."""
    if program == "flite":
        return ["flite", "-voice", voice, "-t", text, "-o", "/dev/stdout"]
    return ["espeak-ng", "-v", voice, "-s", str(speed), "--stdin", "--stdout"]


def flite_voices():
    """flite takes any name for a voice, and speaks with another one where it has none."""
    listed = subprocess.run(["flite", "-lv"], stdin=subprocess.DEVNULL, capture_output=True, check=False).stdout
    return set(listed.decode(errors="replace").partition(":")[2].split())


def pcm_format(header):
    """Samples a second, from a WAV header whose lengths are false: espeak-ng does not know them in time."""
    if len(header) < WAV_HEADER_BYTES or header[:4] != b"RIFF" or header[8:16] != b"WAVEfmt " or header[36:40] != b"data":
        raise SpeechError("the program wrote no plain WAV file", "no-speech")
    channels, width = int.from_bytes(header[22:24], "little"), int.from_bytes(header[34:36], "little") // 8
    if (channels, width) != (1, 2):
        raise SpeechError("the program wrote no 16-bit mono", "audio-format")
    return int.from_bytes(header[24:28], "little")


def speak(program, voice, speed, text):
    """Yields samples a second, then chunks of PCM as the program writes them."""
    if program == "flite" and voice not in flite_voices():
        raise SpeechError(f"flite has no voice {voice}", "no-voice")
    try:
        process = subprocess.Popen(
            command(program, voice, speed, text), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        raise SpeechError(f"can't run {program}: {error}; install it", "no-program") from error
    try:
        try:
            process.stdin.write(text.encode() + b"\n")
            process.stdin.close()
        except BrokenPipeError:
            pass
        header = process.stdout.read(WAV_HEADER_BYTES)
        if not header:
            words = process.stderr.read(1000).decode(errors="replace").strip()
            raise SpeechError(f"{program} wrote nothing: {words or 'no such voice?'}", "no-speech")
        rate = pcm_format(header)
        yield rate
        chunk_bytes = rate * CHUNK_MS // 1000 * 2
        for _ in range(MAX_SECONDS * 1000 // CHUNK_MS):
            chunk = process.stdout.read(chunk_bytes)
            if len(chunk) < 2:
                break
            yield chunk[: len(chunk) // 2 * 2]
    finally:
        process.kill()
        process.stdout.close()
        process.stderr.close()
        process.wait()


class Library:
    """The espeak-ng library. It keeps its state in global variables, and what was said before would shift the samples
    of the next text a little: so each text is said by a fork of this process, which has said nothing yet.
    """

    # Of speak_lib.h.
    SYNCHRONOUS, DONT_EXIT = 2, 0x8000
    UTF8, END_PAUSE = 1, 0x1000
    RATE = 1
    CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

    def __init__(self):
        self.lib = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path()
        self.rate = self.lib.espeak_Initialize(self.SYNCHRONOUS, 0, data.encode(), self.DONT_EXIT)
        if self.rate <= 0:
            raise SpeechError(f"the espeak-ng library does not start with its data in {data}", "no-program")

    def _say(self, to, voice, speed, text):
        """In the fork: writes the samples as they are made."""

        def take(samples, count, _events):
            pcm = memoryview(ctypes.string_at(samples, count * 2) if samples and count > 0 else b"")
            while pcm:
                pcm = pcm[os.write(to, pcm) :]
            return 0

        callback = self.CALLBACK(take)
        self.lib.espeak_SetSynthCallback(callback)
        if self.lib.espeak_SetVoiceByName(voice.encode()) != 0:
            return
        self.lib.espeak_SetParameter(self.RATE, speed, 0)
        data, flags = text.encode(), self.UTF8 | self.END_PAUSE
        self.lib.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, flags, None, None)
        self.lib.espeak_Synchronize()

    def speak(self, voice, speed, text):
        """Yields samples a second, then chunks of PCM as the fork writes them."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reader)
                self._say(writer, voice, speed, text)
            finally:
                os._exit(0)
        os.close(writer)
        try:
            with os.fdopen(reader, "rb") as pcm:
                chunk_bytes = self.rate * CHUNK_MS // 1000 * 2
                chunk = pcm.read(chunk_bytes)
                if not chunk:
                    raise SpeechError(f"espeak-ng wrote nothing: has it a voice {voice}?", "no-voice")
                yield self.rate
                for _ in range(MAX_SECONDS * 1000 // CHUNK_MS):
                    yield chunk[: len(chunk) // 2 * 2]
                    chunk = pcm.read(chunk_bytes)
                    if len(chunk) < 2:
                        break
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def synthesize(arguments, data):
    """Yields the answers to one synthesize event."""
    text, wanted = data.get("text"), data.get("voice") or {}
    voice = (wanted.get("name") if isinstance(wanted, dict) else None) or arguments.voice
    if not isinstance(text, str) or len(text.encode(errors="replace")) > MAX_TEXT_BYTES:
        yield error_event(f"synthesize needs a text of at most {MAX_TEXT_BYTES} bytes", "bad-text")
        return
    if not isinstance(voice, str) or not VOICE.fullmatch(voice):
        yield error_event("the voice's name is none", "bad-voice")
        return
    form = {"rate": 22_050, "width": 2, "channels": 1}
    if not text.strip():
        yield Event("audio-start", {**form, "timestamp": 0})
        yield Event("audio-stop", {"timestamp": 0})
        return
    sent = 0
    try:
        spoken = text.replace("\0", " ")
        if arguments.program == LOADER:
            speech = arguments.library.speak(voice, arguments.speed, spoken)
        else:
            speech = speak(arguments.program, voice, arguments.speed, spoken)
        form["rate"] = next(speech)
        yield Event("audio-start", {**form, "timestamp": 0})
        for chunk in speech:
            yield Event("audio-chunk", {**form, "timestamp": sent * 1000 // form["rate"]}, chunk)
            sent += len(chunk) // 2
    except SpeechError as error:
        yield error_event(error.args[0], error.args[1])
        return
    if not sent:
        yield error_event(f"{arguments.program} wrote no samples", "no-speech")
        return
    yield Event("audio-stop", {"timestamp": sent * 1000 // form["rate"]})


def info(arguments):
    """What describe answers."""
    attribution = {"name": arguments.program, "url": ""}
    common = {"attribution": attribution, "installed": True, "description": None, "version": "1"}
    voice = {**common, "name": arguments.voice, "languages": ["en"]}
    program = {**common, "name": f"rspp-{arguments.program}", "voices": [voice]}
    return Event("info", {"asr": [], "tts": [program], "handle": [], "intent": [], "wake": [], "mic": [], "snd": []})


def load_library():
    """The library, or the end of this process with a word on what is missing."""
    if espeakng_loader is None:
        sys.exit(f"the package {LOADER} is not installed: run `rspp engines install`")
    try:
        return Library()
    except (OSError, RuntimeError, SpeechError) as error:
        sys.exit(f"the espeak-ng library of the package {LOADER} does not load: {error}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    wyoming_wire.add_arguments(parser)
    parser.add_argument("--program", choices=sorted(DEFAULT_VOICES), default="espeak-ng")
    parser.add_argument("--voice", help="used where synthesize names none")
    parser.add_argument("--speed", type=int, default=160, help="words a minute; not for flite")
    arguments = parser.parse_args()
    arguments.voice = arguments.voice or DEFAULT_VOICES[arguments.program]
    if arguments.program == "espeak-ng" and shutil.which("espeak-ng") is None and espeakng_loader is not None:
        # The same synthesiser, from where no root was needed.
        arguments.program = LOADER
    if arguments.program == LOADER:
        arguments.library = load_library()
    elif shutil.which(arguments.program) is None:
        sys.exit(f"the program {arguments.program} is not installed: install it, or run `rspp engines install`")

    def handler(event):
        if event.kind == "describe":
            yield info(arguments)
        elif event.kind == "synthesize":
            yield from synthesize(arguments, event.data)

    wyoming_wire.serve(arguments, lambda: handler)


if __name__ == "__main__":
    main()
