#!/usr/bin/env python3
"""Judges the mutants that cargo-mutants lists, with one build for all of them.

cargo-mutants builds once for each mutant, which for a crate low in the workspace means relinking every test. Here every mutant
stands in one build: the body of a function becomes a `match` on the number of the active mutant, with a changed copy of the body
for each mutant and the original for all others. A test run then picks its mutant by `RSPP_MUTANT`.

    git worktree add --detach ../mutants
    python3 tests/mutants/one_build.py prepare ../mutants
    python3 tests/mutants/one_build.py run ../mutants --shard 0/4 --jobs 2

`prepare` changes the copy, and no other folder. What is examined stands in `.cargo/mutants.toml`, for cargo-mutants as well.
With `--by-hand` the mutants are those of `by_hand.toml`, which change what is meant and not an operator.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import resource
import subprocess
import sys
import tomllib

# In this order, and the first that fails has caught the mutant: the quickest stand first.
TESTS = ["unit", "golden", "lifecycle", "peers", "permutation", "sharing", "failover", "sim"]
# Of these files, only the tests that judge what the core does. Who changes no golden trace breaks no rule in one either.
ONLY = {"golden": ["every_scenario"], "peers": ["every_trace"], "sim": ["the_seeds_break_nothing"]}
# Before all of them, these golden traces one by one: most mutants change one of them, and one takes a hundredth of a second.
FIRST = [
    "interruption", "buffer-block", "cancel-scopes", "provider-retry", "buffer-credit", "degrade", "fan-ins", "part-budgets",
    "tool-interrupted", "admission-waits", "soft-cancel", "fallback-in-the-middle-of-a-sentence", "buffer-flush", "reconnect",
    "takeover", "session-end", "provider-circuit", "authority-and-cancel", "false-interruption", "immediate-after-commit",
]
# What is built beside them is optimized: a simulation is then several times as fast.
OPTIMIZED = [
    f"--config=profile.dev.package.{name}.opt-level=2"
    for name in ["rspp", "rspp-adapters", "rspp-checker", "rspp-engine", "rspp-operators", "rspp-specs"]
]
# How much more time of a processor a mutant may take than nothing, and how much memory, before it counts as caught.
MAX_SLOWER = 4
MAX_KILOBYTES = 6 << 20
# Packages without mutants need not be looked at to see which mutants compile.
OTHERS = ["rspp", "rspp-adapters", "rspp-compiler", "rspp-checker", "custom-node"]
LIBS = ["rspp_engine", "rspp_operators"]
SELECTOR = """
/// Which mutant is active.
#[allow(missing_docs)]
pub mod mutants {
    static ACTIVE: std::sync::OnceLock<u32> = std::sync::OnceLock::new();

    pub fn active() -> u32 {
        *ACTIVE.get_or_init(|| std::env::var("RSPP_MUTANT").ok().and_then(|it| it.parse().ok()).unwrap_or(0))
    }
}
"""


def listed(copy):
    """The mutants, as cargo-mutants lists them."""
    command = ["cargo", "mutants", "--workspace", "--list", "--json"]
    output = subprocess.run(command, cwd=copy, check=True, capture_output=True, text=True).stdout
    return json.loads(output)


FUNCTION = re.compile(r"^( *)(?:pub(?:\([a-z]+\))? )?(?:const )?fn (\w+)", re.MULTILINE)


def written(copy):
    """The mutants of `by_hand.toml`, in the form in which cargo-mutants lists its own."""
    return [in_its_function(copy, one) for one in tomllib.loads((copy / "tests/mutants/by_hand.toml").read_text())["mutant"]]


def in_its_function(copy, one):
    text, old, new = original(copy, one["file"]), one["old"], one["new"]
    if text.count(old) != 1:
        sys.exit(f"{one['what']}: what it changes stands {text.count(old)} times in {one['file']}")
    # What differs, in whole words.
    at, same = text.index(old), len(os.path.commonprefix([old, new]))
    same = max(old.rfind(sign, 0, same) + 1 for sign in " \n")
    old, new, at = old[same:], new[same:], at + same
    same = len(os.path.commonprefix([old[::-1], new[::-1]]))
    same = max(old[::-1].rfind(sign, 0, same) + 1 for sign in " \n")
    old, new = old[: len(old) - same], new[: len(new) - same]
    function = [match for match in FUNCTION.finditer(text) if match.start() < at][-1]
    end = text.index(f"\n{function[1]}}}\n", function.start()) + len(function[1]) + 2
    if at + len(old) > end:
        sys.exit(f"{one['what']}: what it changes is not within one function")
    return {
        "file": one["file"],
        "name": f"{one['file']}: {one['what']}",
        "function": {"function_name": function[2], "span": span(text, function.start() + len(function[1]), end)},
        "span": span(text, at, at + len(old)),
        "replacement": new,
    }


def span(text, low, high):
    def place(at):
        return {"line": text.count("\n", 0, at) + 1, "column": at - (text.rfind("\n", 0, at) + 1) + 1}

    return {"start": place(low), "end": place(high)}


def keyed(mutants):
    """Gives each mutant a name that does not change when lines above it do."""
    seen = collections.Counter()
    for mutant in mutants:
        what = mutant["name"].split(": ", 1)[1]
        seen[mutant["file"], what] += 1
        mutant["key"] = f"{mutant['file']}: {what} ({seen[mutant['file'], what]})"


class Text:
    """A file, with places as lines and columns."""

    def __init__(self, path):
        self.text = path.read_text()
        self.starts = [0]
        for line in self.text.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def place(self, at):
        return self.starts[at["line"] - 1] + at["column"] - 1

    def span(self, span):
        return self.place(span["start"]), self.place(span["end"])


def body_of(text, start, end):
    """The braces of a function's body: the first that stand outside of all other brackets."""
    depth, at = 0, start
    while at < end:
        c = text[at]
        if text.startswith("//", at):
            at = text.index("\n", at)
            continue
        if c in "([":
            depth += 1
        elif c in ")]":
            depth -= 1
        elif c == "{" and depth == 0:
            return at, text.rindex("}", start, end)
        at += 1
    return None


def rewritten(path, mutants, skipped):
    """The file with all of these mutants in it."""
    text = Text(path)
    functions = collections.defaultdict(list)
    for mutant in mutants:
        if mutant["id"] not in skipped and mutant.get("function"):
            functions[text.span(mutant["function"]["span"])].append(mutant)
    result, at = [], 0
    for (start, end), group in sorted(functions.items()):
        body = body_of(text.text, start, end)
        if start < at or body is None:
            skipped.update((mutant["id"], "nested") for mutant in group)
            continue
        opened, closed = body
        original = text.text[opened + 1 : closed]
        arms = []
        for mutant in group:
            low, high = text.span(mutant["span"])
            if low <= opened:
                low, high = opened + 1, closed
            changed = text.text[opened + 1 : low] + " " + mutant["replacement"] + " " + text.text[high:closed]
            arms.append(f"/*<{mutant['id']}*/ {mutant['id']} => {{ {changed} }} /*{mutant['id']}>*/")
        result.append(text.text[at : opened + 1])
        result.append(f" match {mutants[0]['selector']}::mutants::active() {{\n" + "\n".join(arms))
        result.append(f"\n_ => {{ {original} }} }} ")
        at = closed
    result.append(text.text[at:])
    return "".join(result)


def owner(lines, line, column):
    """The mutant in whose copy of a body this place is."""
    before = "\n".join(lines[: line - 1] + [lines[line - 1][: column - 1]])
    opened, closed = before.rfind("/*<"), before.rfind(">*/")
    if opened > closed:
        return int(before[opened + 3 : before.index("*/", opened)])
    return None


def unviable(copy, env):
    """The mutants that do not compile, and errors that no mutant owns."""
    others = [word for name in OTHERS for word in ("--exclude", name)]
    command = ["cargo", "check", "--workspace", "--lib", "--message-format=json", "--keep-going", *others]
    output = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True).stdout
    found, orphans = set(), []
    for line in output.splitlines():
        message = json.loads(line).get("message") if line.startswith("{") else None
        if not isinstance(message, dict) or message.get("level") != "error":
            continue
        owners = set()
        for span in message["spans"]:
            lines = (copy / span["file_name"]).read_text().split("\n")
            owners.add(owner(lines, span["line_start"], span["column_start"]))
        owners.discard(None)
        if owners:
            found |= owners
        elif message["spans"]:
            orphans.append(message["rendered"])
    return found, orphans


def original(copy, file):
    """A file as it is committed: the copy may have been prepared before."""
    command = ["git", "show", f"HEAD:{file}"]
    return subprocess.run(command, cwd=copy, check=True, capture_output=True, text=True).stdout


def prepare(copy, env, unchecked, by_hand):
    subprocess.run(["git", "checkout", "-q", "engine", "operators", "specs"], cwd=copy, check=True)
    mutants = written(copy) if by_hand else listed(copy)
    for number, mutant in enumerate(mutants, start=1):
        mutant["id"] = number
        mutant["selector"] = "crate" if mutant["file"].startswith("specs/") else "rspp_specs"
    keyed(mutants)
    originals = {mutant["file"]: original(copy, mutant["file"]) for mutant in mutants}
    kept = copy / "unviable.json"
    names = set(json.loads(kept.read_text())) if kept.exists() else set()
    skipped = {mutant["id"]: "unviable" for mutant in mutants if mutant["key"] in names}
    for mutant in mutants:
        name = (mutant.get("function") or {}).get("function_name")
        if name is None:
            skipped[mutant["id"]] = "outside a function"
    lib = copy / "specs/src/lib.rs"
    if "pub mod mutants" not in lib.read_text():
        lib.write_text(lib.read_text() + SELECTOR)
    while True:
        for file, text in originals.items():
            path = copy / file
            path.write_text(text)
            path.write_text(rewritten(path, [it for it in mutants if it["file"] == file], skipped))
        found, orphans = (set(), []) if unchecked else unviable(copy, env)
        print(f"{len(found)} more do not compile", file=sys.stderr)
        if not found:
            break
        skipped.update((number, "unviable") for number in found)
        kept.write_text(json.dumps([it["key"] for it in mutants if skipped.get(it["id"]) == "unviable"]))
    if orphans:
        sys.exit("".join(orphans))
    for mutant in mutants:
        mutant["skipped"] = skipped.get(mutant["id"])
    (copy / "mutants.json").write_text(json.dumps(mutants, indent=1))
    print(f"{len(mutants)} mutants, {len(skipped)} of them not judged", file=sys.stderr)


def binaries(copy, env):
    tests = [flag for name in TESTS if name != "unit" for flag in ("--test", name)]
    command = ["cargo", "test", "--workspace", "--no-run", "--message-format=json", "--lib", *tests, *OPTIMIZED]
    output = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, check=True).stdout
    program, found = None, {}
    for line in output.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("executable") and message.get("profile", {}).get("test"):
            name, folder = message["target"]["name"], str(pathlib.Path(message["manifest_path"]).parent)
            kind = message["target"]["kind"][0]
            if kind == "test" or name in LIBS:
                found.setdefault(name if kind == "test" else "unit", []).append((message["executable"], folder))
        elif message.get("executable") and message["target"]["name"] == "rspp":
            program = message["executable"]
    return program, found


def bounded(command, seconds):
    """The command, with as much time and memory as it may take: a mutant may ask for them without end."""
    limits = f"ulimit -v {MAX_KILOBYTES}; ulimit -t {int(seconds * MAX_SLOWER) + 3}"
    return ["sh", "-c", f'{limits}; exec "$@"', "sh", *command]


def ran(command, folder, number, seconds):
    """What the command prints, or None where it fails under this mutant."""
    env = {**os.environ, "RSPP_MUTANT": str(number), "RUST_BACKTRACE": "0", "NO_COLOR": "1", "MALLOC_ARENA_MAX": "2"}
    run = subprocess.run(bounded(command, seconds), cwd=folder, env=env, capture_output=True)
    return run.stdout if run.returncode == 0 else None


class Judges:
    """The golden traces one by one, then the tests."""

    def __init__(self, copy, env):
        self.copy = copy
        self.program, self.tests = binaries(copy, env)
        self.golden = {name: (copy / f"tests/golden/{name}.trace").read_bytes() for name in FIRST}
        # What a test takes when nothing is wrong.
        self.seconds = {}
        # Which traces have caught mutants, by file and by function.
        self.caught = collections.defaultdict(collections.Counter)

    def without_a_mutant(self):
        """Which test fails without any mutant, or None."""
        if (changed := self.changed_trace({"id": 0, "file": "", "function": {"function_name": ""}})) is not None:
            return changed
        for name in TESTS:
            begun = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
            if self.fails(name, 0, 1_000):
                return name
            self.seconds[name] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - begun
        return None

    def judged(self, mutant):
        """What catches this mutant, or None."""
        if (changed := self.changed_trace(mutant)) is not None:
            return changed
        return next((name for name in TESTS if self.fails(name, mutant["id"], self.seconds[name])), None)

    def fails(self, name, number, seconds):
        runs = ([executable, "-q", *ONLY.get(name, [])] for executable, _ in self.tests.get(name, []))
        folders = (folder for _, folder in self.tests.get(name, []))
        return any(ran(command, folder, number, seconds) is None for command, folder in zip(runs, folders))

    def changed_trace(self, mutant):
        """The first trace that is another: those first that caught others in the same function, and in the same file."""
        places = (mutant["file"], mutant["function"]["function_name"]), (mutant["file"], "")
        likely = [name for place in places for name, _ in self.caught[place].most_common(4)]
        for name in dict.fromkeys([*likely, *FIRST]):
            command = [self.program, "trace", f"tests/golden/{name}.yaml"]
            if ran(command, self.copy, mutant["id"], 0) != self.golden[name]:
                for place in places:
                    self.caught[place][name] += 1
                return f"trace {name}"
        return None


def run(copy, env, arguments):
    mutants = json.loads((copy / "mutants.json").read_text())
    judges = Judges(copy, env)
    if (failed := judges.without_a_mutant()) is not None:
        sys.exit(f"{failed} fails without any mutant")
    print("seconds: " + ", ".join(f"{name} {took:.1f}" for name, took in judges.seconds.items()), file=sys.stderr)
    shard, shards = map(int, arguments.shard.split("/"))
    results_path = copy / "results.json"
    results = json.loads(results_path.read_text()) if results_path.exists() else {}
    chosen = [it for it in mutants if it["id"] % shards == shard and not it["skipped"]]
    if arguments.file:
        chosen = [it for it in chosen if any(it["file"].endswith(file) for file in arguments.file)]
    if arguments.survivors:
        chosen = [it for it in chosen if results.get(it["key"], "") is None]
    elif not arguments.again:
        chosen = [it for it in chosen if it["key"] not in results]
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        running = {pool.submit(judges.judged, it): it for it in chosen}
        for done in concurrent.futures.as_completed(running):
            mutant = running[done]
            results[mutant["key"]] = done.result()
            results_path.write_text(json.dumps(results, indent=1))
            if done.result() is None:
                print(f"missed {mutant['id']}: {mutant['name']}", flush=True)
    report(mutants, results)


def report(mutants, results):
    files = collections.defaultdict(lambda: [0, 0, 0])
    for mutant in mutants:
        row = files[mutant["file"]]
        row[2] += mutant["skipped"] is None
        if mutant["key"] in results and mutant["skipped"] is None:
            row[1] += 1
            row[0] += results[mutant["key"]] is not None
    print("| file | caught | judged | mutants |\n| --- | --- | --- | --- |")
    for file, (caught, all_judged, viable) in sorted(files.items()):
        print(f"| `{file}` | {caught} | {all_judged} | {viable} |")
    caught, all_judged, viable = (sum(row[i] for row in files.values()) for i in range(3))
    print(f"| all | {caught} | {all_judged} | {viable} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["prepare", "run"])
    parser.add_argument("copy", type=pathlib.Path, help="a copy of the repository, which is changed")
    parser.add_argument("--by-hand", action="store_true", help="the mutants of by_hand.toml")
    parser.add_argument("--unchecked", action="store_true", help="take it that only those known do not compile")
    parser.add_argument("--shard", default="0/1", help="which part, of how many")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--file", action="append", help="only mutants of files that end so")
    parser.add_argument("--survivors", action="store_true", help="only those that were missed before")
    parser.add_argument("--again", action="store_true", help="also those that were judged before")
    arguments = parser.parse_args()
    copy = arguments.copy.resolve()
    if arguments.action == "prepare":
        prepare(copy, dict(os.environ), arguments.unchecked, arguments.by_hand)
    else:
        run(copy, dict(os.environ), arguments)


if __name__ == "__main__":
    main()
