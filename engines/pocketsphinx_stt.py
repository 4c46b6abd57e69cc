#!/usr/bin/env python3
"""A Wyoming recogniser for the phrases of a JSGF grammar, with rejection of everything else.

PocketSphinx in grammar mode calls any sound one of its phrases. Here the grammar competes, in the same search,
with a loop over all phonemes: a path may leave the grammar at any word for this loop and never returns. Each
phoneme of the loop costs PHONE_COST nats, and leaving costs LEAVE_COST nats, so that the loop wins only where the
sound fits the grammar much worse than it fits some sequence of phonemes. A path that ends in the loop is speech
that was not understood: an empty `transcript` with {"context": {"rejected": true}}. A path without words is
silence: an empty transcript. evaluate.py measures both costs.

The model expects speech whose mean cepstrum was removed. The mean of the first CMN_MS of speech is used, so
decoding starts that much later than the audio; it runs many times faster, and has caught up long before the end.
Each utterance starts anew: the same audio gives the same answer, whatever came before it.

With --any-words there is no grammar: the package's own language model for general English takes its place, which gets
86 to 95 of 100 words right of flite's voices, 25 to 53 of espeak-ng's, and rejects nothing.

Partials are only the words that STABLE_CHECKS looks in a row agree on, but for the last of these words, with no
look among them at the loop.
"""

import argparse
import array
import math
import os
import random
import re
import sys
import tempfile

import wyoming_wire
from wyoming_wire import Event, error_event

try:
    import pocketsphinx
except ImportError:
    pocketsphinx = None

RATE_HZ = 16_000
BLOCK_SAMPLES = 320
MAX_UTTERANCE_SECONDS = 120
PHONE_COST = 17.0
LEAVE_COST = 110.0
BEAM = 1e-60
# Silence without any noise has no cepstrum: a little noise, the same in every run, is mixed in.
NOISE_AMPLITUDE = 30
CMN_INIT = "40,3,-1"
CMN_MS = 800
# Mean absolute sample of a block with speech in it, and how long to wait for one.
ONSET_LEVEL = 200
ONSET_WAIT_MS = 1_500
LEAD_MS = 200
CHECK_MS = 100
STABLE_CHECKS = 3
MIN_PARTIAL_WORDS = 2
# More than these, and a probability is none as 32-bit float.
MAX_PHONE_COST = 80.0
MAX_LEAVE_COST = 160.0
PHONES = (
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
).split()
LOOP = "_"
# The best path of a word lattice ignores where a grammar may end; the search's own path does not.
PLAIN = {"lm": None, "bestpath": False, "loglevel": "FATAL"}
TRIVIAL_GRAMMAR = "#JSGF V1.0; grammar any; public <any> = yes;"


class GrammarError(Exception):
    """Why a grammar can't be used."""


def samples_of(milliseconds):
    return milliseconds * RATE_HZ // 1000


def noise_block(length):
    source = random.Random(5)
    return [source.randint(-NOISE_AMPLITUDE, NOISE_AMPLITUDE) for _ in range(length)]


NOISE = noise_block(BLOCK_SAMPLES * 150)


def with_phone_loop(fsg_text, phone_cost, leave_cost):
    """The text of a finite state grammar, with the phoneme loop as one more state."""
    states = start = final = None
    lines = []
    for line in fsg_text.splitlines():
        words = line.split()
        if words[:1] == ["NUM_STATES"]:
            states = int(words[1])
            line = f"NUM_STATES {states + 2}"
        elif words[:1] == ["START_STATE"]:
            start = int(words[1])
        elif words[:1] == ["FINAL_STATE"]:
            final = int(words[1])
        elif words[:1] == ["TRANSITION"] and float(words[3]) <= 0.0:
            # Written with six digits.
            line = " ".join([*words[:3], "0.000001", *words[4:]])
        elif words[:1] == ["FSG_END"]:
            # Two steps to leave: a probability is read as 32-bit float, too small for the whole cost.
            loop, door = states, states + 1
            half_leave, phone = f"{math.exp(-leave_cost / 2):.12g}", f"{math.exp(-phone_cost):.12g}"
            lines += [f"TRANSITION {state} {door} {half_leave}" for state in range(states) if state not in (start, final)]
            lines += [f"TRANSITION {door} {loop} {half_leave}"]
            lines += [f"TRANSITION {start} {loop} 1.0", f"TRANSITION {loop} {final} 1.0"]
            lines += [f"TRANSITION {loop} {loop} {phone} {LOOP}{name}" for name in PHONES]
        lines.append(line)
    return "\n".join(lines) + "\n"


def without_comments(jsgf_text):
    return re.sub(r"(?s:/\*.*?\*/)|//[^\n]*", " ", jsgf_text)


def undefined_rules(jsgf_text):
    """Rules that are referred to and not there."""
    text = re.sub(r"\bimport\b[^;]*;", " ", without_comments(jsgf_text))
    defined = set(re.findall(r"<([^>]*)>\s*=", text))
    return sorted(set(re.findall(r"<([^>]*)>", text)) - defined - {"NULL", "VOID"})


def words_of(jsgf_text):
    """The words of a grammar: what is left without header lines, rule names, weights and tags."""
    text = without_comments(jsgf_text)
    text = re.sub(r"#JSGF[^;]*;|\b(?:grammar|import)\b[^;]*;|\bpublic\b(?=\s*<)", " ", text)
    text = re.sub(r"<[^>]*>|/\s*[\d.eE+-]+\s*/|\{[^}]*\}", " ", text)
    return sorted(set(re.findall(r"[^\s;=|*+()\[\]\"]+", text)))


class Recogniser:
    """One utterance at a time: start, feed, finish."""

    def __init__(self, grammar_path, phone_cost=PHONE_COST, leave_cost=LEAVE_COST, cmn_ms=CMN_MS):
        self._listen(cmn_ms)
        self.decoder = pocketsphinx.Decoder(**PLAIN, lw=1.0, wip=1.0, beam=BEAM, pbeam=BEAM, wbeam=BEAM)
        for phone in PHONES:
            self.decoder.add_word(LOOP + phone, phone, phone == PHONES[-1])
        self._load(grammar_path, phone_cost, leave_cost)
        self.start()

    def _listen(self, cmn_ms):
        """Prepares to find the mean of speech."""
        self.cmn_samples = samples_of(cmn_ms)
        self.mean = pocketsphinx.Decoder(**PLAIN)
        self.mean.add_jsgf_string("any", TRIVIAL_GRAMMAR)
        self.mean.activate_search("any")

    def _load(self, path, phone_cost, leave_cost):
        self._check_grammar(path)
        self.grammar = self.decoder.read_jsgf(path)
        with tempfile.TemporaryDirectory() as directory:
            plain, looped = os.path.join(directory, "plain.fsg"), os.path.join(directory, "looped.fsg")
            self.grammar.writefile(plain)
            with open(plain, encoding="utf-8") as file:
                text = file.read()
            with open(looped, "w", encoding="utf-8") as file:
                file.write(with_phone_loop(text, phone_cost, leave_cost))
            self.decoder.add_fsg("grammar", self.decoder.read_fsg(looped))
        self.decoder.activate_search("grammar")

    def _check_grammar(self, path):
        """The library reports none of this: it hands out a null pointer, and crashes on it."""
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
            pocketsphinx.Jsgf(path)
        except (OSError, ValueError) as error:
            raise GrammarError(f"{path} can't be read as a JSGF grammar: {error}") from error
        unknown = [word for word in words_of(text) if self.decoder.lookup_word(word) is None]
        if unknown:
            raise GrammarError(f"{path} has words that the dictionary lacks: {', '.join(unknown)}")
        if "import" not in text and undefined_rules(text):
            raise GrammarError(f"{path} refers to rules that are not there: {', '.join(undefined_rules(text))}")
        try:
            self.mean.add_jsgf_file("check", path)
        except RuntimeError as error:
            raise GrammarError(f"{path} can't be used: has it a public rule?") from error

    def start(self):
        """Forgets everything about earlier audio."""
        if getattr(self, "decoding", False):
            self.decoder.end_utt()
        self.decoding = False
        self.taken = 0
        self.rest = array.array("h")
        self.held = array.array("h")
        self.onset = None
        self.since_check = 0
        self.looks = []
        self.partial = []

    def feed(self, pcm):
        """Takes 16-bit samples; returns the words that have become certain enough to say."""
        samples = array.array("h", pcm)
        if sys.byteorder == "big":
            samples.byteswap()
        self.rest.extend(samples)
        news = []
        while len(self.rest) >= BLOCK_SAMPLES:
            block, self.rest = self.rest[:BLOCK_SAMPLES], self.rest[BLOCK_SAMPLES:]
            news += self._take(block)
        return news

    def finish(self):
        """The words, and whether there was speech that they do not cover."""
        if len(self.rest):
            self._take(self.rest)
        if not self.decoding:
            if not len(self.held):
                return "", False
            self._begin()
        self.decoder.end_utt()
        self.decoding = False
        words = self._words()
        return self._judge(words) if words else ("", False)

    def _judge(self, words):
        """The words, and whether they stand for speech that is not covered."""
        understood = not any(word.startswith(LOOP) for word in words) and self.grammar.accept(" ".join(words))
        return (" ".join(words), False) if understood else ("", True)

    def _take(self, block):
        start = self.taken % len(NOISE)
        noise = NOISE[start : start + len(block)]
        mixed = array.array("h", [max(-32768, min(32767, s + n)) for s, n in zip(block, noise)])
        if self.onset is None and sum(map(abs, block)) > ONSET_LEVEL * len(block):
            self.onset = self.taken
        self.taken += len(block)
        if self.decoding:
            return self._decode(mixed)
        self.held.extend(mixed)
        due = samples_of(ONSET_WAIT_MS) if self.onset is None else self.onset + self.cmn_samples
        return self._begin() if self.taken >= due else []

    def _begin(self):
        """Finds the mean of the speech that is held, and decodes it."""
        lead = max(0, (self.onset or 0) - samples_of(LEAD_MS))
        self.mean.set_cmn(CMN_INIT)
        self.mean.start_utt()
        self.mean.process_raw(self.held[lead:].tobytes(), False, True)
        self.mean.end_utt()
        self.decoder.set_cmn(self.mean.get_cmn())
        self.decoder.start_utt()
        self.decoding = True
        held, self.held = self.held, array.array("h")
        news = []
        for at in range(0, len(held), BLOCK_SAMPLES):
            news += self._decode(held[at : at + BLOCK_SAMPLES])
        return news

    def _decode(self, mixed):
        self.decoder.process_raw(mixed.tobytes())
        return self._check(len(mixed))

    def _words(self):
        hypothesis = self.decoder.hyp()
        return hypothesis.hypstr.split() if hypothesis else []

    def _check(self, samples):
        self.since_check += samples
        if self.since_check < samples_of(CHECK_MS):
            return []
        self.since_check = 0
        self.looks = [*self.looks, self._words()][-STABLE_CHECKS:]
        if len(self.looks) < STABLE_CHECKS or any(word.startswith(LOOP) for look in self.looks for word in look):
            return []
        # The last word may still become another one: two, twelve.
        agreed = os.path.commonprefix(self.looks)[:-1]
        known = len(self.partial)
        if len(agreed) < MIN_PARTIAL_WORDS or len(agreed) <= known or agreed[:known] != self.partial:
            return []
        self.partial = agreed
        return agreed[known:]


class AnyWordsRecogniser(Recogniser):
    """The same with the language model of the package in the grammar's place."""

    def __init__(self, cmn_ms=CMN_MS):
        self._listen(cmn_ms)
        self.decoder = pocketsphinx.Decoder(loglevel="FATAL")
        self.start()

    def _judge(self, words):
        return " ".join(words), False


class Conversation:
    """Answers the events of one connection."""

    def __init__(self, recogniser, name):
        self.recogniser = recogniser
        self.name = name
        self.open = False
        self.streaming = False
        self.samples = 0

    def __call__(self, event):
        if event.kind == "describe":
            yield info(self.name)
        elif event.kind == "audio-start":
            yield from self._start(event)
        elif event.kind == "audio-chunk":
            yield from self._chunk(event)
        elif event.kind == "audio-stop" and self.open:
            yield from self._stop()

    def _start(self, event):
        self.open, self.streaming, self.samples = False, False, 0
        form = [event.data.get(name) for name in ("rate", "width", "channels")]
        if form != [RATE_HZ, 2, 1]:
            yield error_event(f"only {RATE_HZ} Hz, 2 bytes, 1 channel are taken, not {form}", "audio-format")
            return
        self.recogniser.start()
        self.open = True

    def _chunk(self, event):
        if not self.open:
            yield error_event("audio-chunk before audio-start", "order")
            return
        self.samples += len(event.payload) // 2
        if len(event.payload) % 2 or self.samples > MAX_UTTERANCE_SECONDS * RATE_HZ:
            self.open = False
            yield error_event(f"half a sample, or more than {MAX_UTTERANCE_SECONDS} s without audio-stop", "audio")
            return
        words = self.recogniser.feed(event.payload)
        if words:
            if not self.streaming:
                self.streaming = True
                yield Event("transcript-start", {"language": "en"})
            yield Event("transcript-chunk", {"text": "".join(word + " " for word in words)})

    def _stop(self):
        text, rejected = self.recogniser.finish()
        self.open = False
        data = {"text": text, "language": "en"}
        yield Event("transcript", {**data, "context": {"rejected": True}} if rejected else data)
        if self.streaming:
            yield Event("transcript-stop")


def info(name):
    """What describe answers."""
    attribution = {"name": "CMU Sphinx", "url": ""}
    common = {"attribution": attribution, "installed": True, "description": None, "version": "5.1.1"}
    model = {**common, "name": name, "languages": ["en"]}
    program = {
        **common,
        "name": "rspp-pocketsphinx",
        "models": [model],
        "supports_transcript_streaming": True,
        "requires_external_vad": True,
    }
    return Event("info", {"asr": [program], "tts": [], "handle": [], "intent": [], "wake": [], "mic": [], "snd": []})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    wyoming_wire.add_arguments(parser)
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--grammar", metavar="FILE", help="a JSGF grammar; its first public rule")
    kind.add_argument("--any-words", action="store_true", help="no grammar, but general English; far less certain")
    parser.add_argument("--phone-cost", type=float, default=PHONE_COST, help="nats; lower rejects more")
    parser.add_argument("--leave-cost", type=float, default=LEAVE_COST, help="nats; lower rejects more")
    arguments = parser.parse_args()
    if not 0 <= arguments.phone_cost <= MAX_PHONE_COST or not 0 <= arguments.leave_cost <= MAX_LEAVE_COST:
        parser.error(f"costs go from 0 to {MAX_PHONE_COST} for a phone and to {MAX_LEAVE_COST} for leaving")
    if pocketsphinx is None:
        sys.exit("the package pocketsphinx is not installed: run `rspp engines install`")

    def conversation():
        if arguments.any_words:
            return Conversation(AnyWordsRecogniser(), "any-words")
        recogniser = Recogniser(arguments.grammar, arguments.phone_cost, arguments.leave_cost)
        return Conversation(recogniser, os.path.basename(arguments.grammar))

    try:
        # Loads the model once more than needed, so that a bad grammar is an error at the start.
        first = conversation()
    except GrammarError as error:
        sys.exit(str(error))
    ready = [first]
    wyoming_wire.serve(arguments, lambda: ready.pop() if ready else conversation())


if __name__ == "__main__":
    main()
