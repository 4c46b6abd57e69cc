#!/usr/bin/env python3
"""Measures the bundled recogniser: speaks phrases of the restaurant's grammar and sentences outside of it, with
every voice that is there, and prints how many words were understood and how much of the rest was rejected.

Run it with the engines' own interpreter: .venv-engines/bin/python engines/evaluate.py
Needs flite, espeak-ng and sox. The speech is the same in every run, and so are the figures but for the times.
"""

import argparse
import array
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

import pocketsphinx_stt as engine

GRAMMAR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "grammars", "restaurant.jsgf")
US_VOICES = ["flite rms", "flite slt", "flite awb", "flite kal16", "espeak-ng en-us", "espeak-ng en-us+f3", "espeak-ng en-us+m3"]
OTHER_VOICES = ["espeak-ng en-gb", "espeak-ng en-gb-scotland"]
BLOCK_BYTES = engine.BLOCK_SAMPLES * 2
LEAD_SECONDS, TAIL_SECONDS = 0.2, 0.48

INSIDE = """
what time do you open on monday | what time do you close on sunday | when do you open on wednesday
when do you close on saturday | when do you close on friday | what time do you open on thursday
what time do you close on tuesday | where are you | what is your address | what is today's special
book a table for two at seven | book a table for four at half past eight | book a table for ten at half past twelve
book a table for five at quarter past six | i would like a table for six at quarter past seven
i would like a table for three at nine | i would like a table for eleven at one
i would like a table for eight at half past four | change my booking | cancel my booking | thank you | goodbye
"""
OUTSIDE = """
the weather has been terrible all week | my brother drives a yellow truck | please turn off the lights in the kitchen
i forgot my umbrella at the station | how much does the blue jacket cost | the children are playing in the garden
can you tell me a joke about penguins | she sells sea shells by the sea shore | the stock market fell again yesterday
play some music by the rolling stones | we went swimming in the lake last summer
my computer keeps crashing every morning | is there a pharmacy near the hospital
the train to london leaves in ten minutes | remind me to call my mother tomorrow | do you deliver pizza
a cup of coffee with milk and sugar | excuse me please | hello | never mind
when was the war of eighteen twelve | thank heavens for little girls
"""
# They begin like phrases of the grammar.
NEARLY = """
what is the capital of australia | what time is the football match | where did you put my glasses
i would like to speak to a manager | what is your favorite color | what is your name
"""


def sentences(text):
    return [part.strip() for line in text.strip().splitlines() for part in line.split("|")]


def run(command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout


def speak(voice, text, telephone):
    """16 kHz mono PCM with silence around it, as a voice activity detector would cut it out."""
    program, name = voice.split()
    with tempfile.TemporaryDirectory() as directory:
        wav = os.path.join(directory, "speech.wav")
        if program == "flite":
            run(["flite", "-voice", name, "-t", text, "-o", wav])
        else:
            run(["espeak-ng", "-v", name, "-w", wav, text])
        if telephone:
            narrow = os.path.join(directory, "narrow.wav")
            run(["sox", "-R", "-D", wav, "-r", "8000", "-c", "1", "-e", "mu-law", narrow])
            wav = narrow
        pcm = run(["sox", "-R", "-D", wav, "-t", "raw", "-r", "16000", "-e", "signed", "-b", "16", "-c", "1", "-"])
    return silence(LEAD_SECONDS) + pcm + silence(TAIL_SECONDS)


def silence(seconds):
    return bytes(2 * int(seconds * engine.RATE_HZ))


def pcm_of(samples):
    return array.array("h", [max(-32768, min(32767, int(sample))) for sample in samples]).tobytes()


def sounds():
    """What is no speech: noise, notes, dial tones, clicks, hum."""
    source, rate = random.Random(7), engine.RATE_HZ
    tone = lambda hertz, t: math.sin(2 * math.pi * hertz * t / rate)
    for level in (300, 1000, 3000):
        yield f"noise of {level}", pcm_of(source.gauss(0, level) for _ in range(2 * rate))
    for chord in ((440, 554, 659), (262, 330, 392, 523), (196, 247, 294)):
        notes = [source.choice(chord) for _ in range(6)]
        melody = [
            sum(4000 / h * tone(note * h, t) for h in (1, 2, 3, 4)) * math.exp(-t / 6000) for note in notes for t in range(6400)
        ]
        yield f"melody from {chord[0]} Hz", pcm_of(melody)
        yield f"chord on {chord[0]} Hz", pcm_of(sum(3000 * tone(note, t) for note in chord) for t in range(2 * rate))
    digits = [(source.choice((697, 770, 852, 941)), source.choice((1209, 1336, 1477))) for _ in range(4)]
    yield "dial tones", pcm_of(5000 * (tone(low, t) + tone(high, t)) * (t < 3200) for low, high in digits for t in range(4800))
    yield "sweep", pcm_of(6000 * tone(200 + t / rate * 750, t) for t in range(2 * rate))
    yield "clicks", pcm_of(20000 * math.exp(-(t % 4000) / 30) * source.gauss(0, 1) for t in range(2 * rate))
    yield "hum", pcm_of(3000 * tone(50, t) + source.gauss(0, 50) for t in range(2 * rate))
    yield "silence", bytes(3 * rate)


def word_errors(wanted, got):
    """Words to insert, delete or replace."""
    row = list(range(len(got) + 1))
    for i, word in enumerate(wanted, 1):
        above, row = row, [i] + [0] * len(got)
        for j, other in enumerate(got, 1):
            row[j] = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (word != other))
    return row[-1]


class Tally:
    """What one row of the table adds up."""

    def __init__(self):
        self.words = self.errors = self.inside = self.exact = self.refused = 0
        self.outside = self.rejected = self.partial_outside = 0
        self.partial = self.partial_wrong = 0
        self.first_partial_ms = []

    def percent(self, part, whole):
        return f"{100 * part / whole:5.1f} %" if whole else "      -"

    def row(self, name):
        first = sorted(self.first_partial_ms)
        return (
            f"{name:26} {self.percent(self.words - self.errors, self.words)} {self.exact:4}/{self.inside:<4}"
            f"{self.refused:4}     {self.rejected:4}/{self.outside:<4} {self.percent(self.rejected, self.outside)}"
            f"   {self.partial_outside:4}  {self.partial_wrong:4}/{self.partial:<4} {first[len(first) // 2] if first else '-':>6}"
        )

    def add(self, other):
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


class Evaluation:
    """The recogniser under test, and what it took."""

    def __init__(self, arguments):
        self.recogniser = engine.Recogniser(arguments.grammar, arguments.phone_cost, arguments.leave_cost, arguments.cmn_ms)
        self.verbose = arguments.verbose
        self.seconds = self.busy = 0.0
        self.finish_ms = []

    def hear(self, pcm):
        """The words, whether rejected, the partial words, and when the first of them came."""
        began = time.perf_counter()
        self.recogniser.start()
        partial, first_ms = [], None
        for at in range(0, len(pcm), BLOCK_BYTES):
            words = self.recogniser.feed(pcm[at : at + BLOCK_BYTES])
            if words and first_ms is None:
                first_ms = (at + BLOCK_BYTES) // 32 - int(LEAD_SECONDS * 1000)
            partial += words
        ended = time.perf_counter()
        text, rejected = self.recogniser.finish()
        self.finish_ms.append(1000 * (time.perf_counter() - ended))
        self.busy += time.perf_counter() - began
        self.seconds += len(pcm) / 32000
        return text, rejected, partial, first_ms

    def inside(self, tally, voice, phrase, pcm):
        text, rejected, partial, first_ms = self.hear(pcm)
        wanted = phrase.split()
        tally.inside += 1
        tally.words += len(wanted)
        tally.errors += word_errors(wanted, text.split())
        tally.exact += text == phrase
        tally.refused += rejected
        if partial:
            tally.partial += 1
            tally.partial_wrong += wanted[: len(partial)] != partial
            tally.first_partial_ms.append(first_ms)
        if self.verbose and text != phrase:
            print(f"  {voice}: {phrase!r} -> {'REJECTED' if rejected else text!r}")

    def outside(self, tally, voice, what, pcm):
        text, _, partial, _ = self.hear(pcm)
        tally.outside += 1
        tally.rejected += not text
        tally.partial_outside += bool(partial)
        if self.verbose and (text or partial):
            print(f"  {voice}: {what!r} -> {text!r}, partial {' '.join(partial)!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grammar", default=GRAMMAR)
    parser.add_argument("--phone-cost", type=float, default=engine.PHONE_COST)
    parser.add_argument("--leave-cost", type=float, default=engine.LEAVE_COST)
    parser.add_argument("--cmn-ms", type=int, default=engine.CMN_MS)
    parser.add_argument("--every", type=int, default=1, help="only every n-th sentence of each list")
    parser.add_argument("--telephone", action="store_true", help="through 8 kHz mu-law")
    parser.add_argument("--others", action="store_true", help="British and Scottish voices too, which the model is not for")
    parser.add_argument("--verbose", action="store_true", help="each sentence that went wrong")
    arguments = parser.parse_args()
    for program in ("flite", "espeak-ng", "sox"):
        if shutil.which(program) is None:
            sys.exit(f"needs {program}: run ci/setup")
    evaluation, total = Evaluation(arguments), Tally()
    print(f"{'voice':26} word acc.    exact  refused  outside rejected  partials there  wrong  first ms")
    for voice in US_VOICES + (OTHER_VOICES if arguments.others else []):
        tally = Tally()
        for phrase in sentences(INSIDE)[:: arguments.every]:
            evaluation.inside(tally, voice, phrase, speak(voice, phrase, arguments.telephone))
        for sentence in (sentences(OUTSIDE) + sentences(NEARLY))[:: arguments.every]:
            evaluation.outside(tally, voice, sentence, speak(voice, sentence, arguments.telephone))
        print(tally.row(voice), flush=True)
        total.add(tally)
    tally = Tally()
    for name, pcm in sounds():
        evaluation.outside(tally, "no speech", name, pcm)
    print(tally.row("no speech"))
    print(total.row("all voices"))
    finish = sorted(evaluation.finish_ms)
    print(
        f"real-time factor {evaluation.busy / evaluation.seconds:.3f}, from the end of the audio to the final "
        f"{finish[len(finish) // 2]:.1f} ms (median), {finish[-1]:.1f} ms (most)"
    )


if __name__ == "__main__":
    main()
