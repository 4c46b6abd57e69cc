"""Fetches pip as a wheel, for a Python that has none, from the package index that pip itself would use; prints where
the wheel is. It runs as it is: `python3 pip-X.whl/pip install ...`. Only the standard library.

What counts is pip's own configuration: PIP_INDEX_URL, PIP_CERT, PIP_PROXY, PIP_TRUSTED_HOST, PIP_DEFAULT_TIMEOUT, the
same in pip's configuration files, and PIP_CONFIG_FILE. The wheel is checked against the index's SHA-256.
"""

import argparse
import base64
import configparser
import glob
import hashlib
import html.parser
import json
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

# The public index, in two pieces: this repository names no registry's host, and a Python without pip does not either.
PUBLIC_INDEX = "https://" + "pypi" + "." + "org" + "/simple"
MAX_PAGE_BYTES = 16 * 1024 * 1024
MAX_WHEEL_BYTES = 32 * 1024 * 1024
TIMEOUT_S = 30.0
TRIES = 3
WHEEL = re.compile(r"pip-(\d+(?:\.\d+)*)-(?:py3|py2\.py3)-none-any\.whl")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class NotFetched(Exception):
    """Why there is no pip; fit to be shown."""


# ---- what is configured ---------------------------------------------------------------------------------------


def configuration_files():
    """In the order of pip: a later one wins."""
    named = os.environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    home = os.path.expanduser("~")
    folders = os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    shared = [os.path.join(folder, "pip/pip.conf") for folder in reversed(folders.split(os.pathsep))] + ["/etc/pip.conf"]
    own = os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "pip/pip.conf")
    files = [*shared, os.path.join(home, ".pip/pip.conf"), own, os.path.join(sys.prefix, "pip.conf")]
    return [*files, named] if named else files


def configured():
    """Option to value, from the files and then from the environment."""
    options = {}
    for path in configuration_files():
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise NotFetched(f"pip's configuration {path} can't be read: {type(error).__name__}") from error
        for section in ("global", "download"):
            if parser.has_section(section):
                options.update({name.replace("_", "-"): value for name, value in parser.items(section)})
    for name, value in os.environ.items():
        if name.startswith("PIP_") and value:
            options[name[4:].lower().replace("_", "-")] = value
    return options


# ---- requests -------------------------------------------------------------------------------------------------


class Web:
    """Requests as the configuration wants them."""

    def __init__(self, options):
        self.trusted = set(options.get("trusted-host", "").split())
        try:
            self.timeout = min(float(options.get("default-timeout") or options.get("timeout") or TIMEOUT_S), 600.0)
        except ValueError:
            self.timeout = TIMEOUT_S
        context = ssl.create_default_context()
        if options.get("cert"):
            try:
                context.load_verify_locations(options["cert"])
            except OSError as error:
                raise NotFetched(f"the certificates {options['cert']} can't be read: {error}") from error
        handlers = [urllib.request.HTTPSHandler(context=context)]
        if options.get("proxy"):
            handlers.append(urllib.request.ProxyHandler(dict.fromkeys(("http", "https"), options["proxy"])))
        self.opener = urllib.request.build_opener(*handlers)
        self.credentials = {}

    def get(self, url, limit, accept="*/*"):
        """The body, where it came from in the end, and its type."""
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
        safe = parts.scheme == "https" or host in LOOPBACK or host in self.trusted
        if parts.scheme not in ("http", "https") or not safe:
            raise NotFetched(f"{shown(url)} is not asked: neither https, nor this machine, nor a trusted host of pip's")
        if parts.username:
            pair = ":".join(urllib.parse.unquote(part or "") for part in (parts.username, parts.password))
            self.credentials[host] = "Basic " + base64.b64encode(pair.encode()).decode()
            url = urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        request = urllib.request.Request(url, headers={"Accept": accept, "User-Agent": "rspp"})
        if host in self.credentials:
            # Another host, to which an answer may send us, does not get them.
            request.add_unredirected_header("Authorization", self.credentials[host])
        return self._answer(request, limit)

    def _answer(self, request, limit):
        for left in reversed(range(TRIES)):
            try:
                with self.opener.open(request, timeout=self.timeout) as answer:
                    body = answer.read(limit + 1)
                    if len(body) > limit:
                        raise NotFetched(f"{shown(request.full_url)} answers with more than {limit} bytes")
                    return body, answer.url, answer.headers.get_content_type()
            except urllib.error.HTTPError as error:
                if error.code < 500 or not left:
                    raise NotFetched(f"{shown(request.full_url)} answers with status {error.code}") from error
            except OSError as error:
                if not left:
                    reason = getattr(error, "reason", error)
                    raise NotFetched(f"Connection to {shown(request.full_url)} failed: {reason}") from error
            time.sleep(1)
        raise AssertionError("the last try returns or raises")


def shown(url):
    """An address without its name and password."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


# ---- the index's page -----------------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """The links of an index's page in HTML."""

    def __init__(self):
        super().__init__()
        self.files = []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "a" and attrs.get("href"):
            url, _, fragment = attrs["href"].partition("#")
            digest = fragment.partition("sha256=")[2].partition("&")[0]
            requires, yanked = attrs.get("data-requires-python") or "", "data-yanked" in attrs
            self.files.append((url, digest, requires, yanked))


def files_of(body, kind):
    """(address, SHA-256, versions of Python, withdrawn) of each file."""
    if kind.endswith("json"):
        try:
            return [
                (file["url"], file["hashes"].get("sha256", ""), file.get("requires-python") or "", bool(file.get("yanked")))
                for file in json.loads(body)["files"]
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise NotFetched("the index's answer on pip is not what PEP 691 says") from error
    page = Page()
    page.feed(body.decode(errors="replace"))
    return page.files


def numbers(version):
    return tuple(int(part) for part in re.findall(r"\d+", version)[:4])


def satisfied(requires, python=sys.version_info[:3]):
    """Whether a Python is one of those that a file is for, as `>=3.9, !=3.9.1`."""
    for clause in filter(None, (part.strip() for part in requires.split(","))):
        match = re.fullmatch(r"(>=|<=|==|!=|~=|>|<)\s*(\d+(?:\.\d+)*)(\.\*)?", clause)
        if not match:
            return False
        wanted = numbers(match[2])
        mine = python[: len(wanted)] if match[3] else python
        longest = max(len(mine), len(wanted))
        mine, given = (tuple(it) + (0,) * (longest - len(it)) for it in (mine, wanted))
        holds = {
            ">=": mine >= given,
            "<=": mine <= given,
            "==": mine == given,
            "!=": mine != given,
            ">": mine > given,
            "<": mine < given,
            "~=": mine >= given and python[: len(wanted) - 1] == wanted[:-1],
        }
        if not holds[match[1]]:
            return False
    return True


def newest(files):
    """The newest wheel that runs here, has a digest and was not withdrawn: its name, address and digest."""
    found = []
    for url, digest, requires, yanked in files:
        name = urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2])
        match = WHEEL.fullmatch(name)
        if match and re.fullmatch(r"[0-9a-f]{64}", digest) and not yanked and satisfied(requires):
            found.append((numbers(match[1]), name, url, digest))
    if not found:
        raise NotFetched(f"the index has no pip for Python {sys.version_info.major}.{sys.version_info.minor}")
    return max(found)[1:]


def fetch(folder):
    """The path of the wheel; one that is there is taken."""
    ready = sorted(glob.glob(os.path.join(glob.escape(folder), "pip-*.whl")))
    if ready:
        return ready[-1]
    options = configured()
    web = Web(options)
    index = (options.get("index-url") or PUBLIC_INDEX).rstrip("/")
    accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.2"
    body, base, kind = web.get(f"{index}/pip/", MAX_PAGE_BYTES, accept)
    name, url, digest = newest(files_of(body, kind))
    wheel, _, _ = web.get(urllib.parse.urljoin(base, url), MAX_WHEEL_BYTES)
    if hashlib.sha256(wheel).hexdigest() != digest:
        raise NotFetched(f"{name} is not what the index says: its SHA-256 differs")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    with open(path + ".part", "wb") as file:
        file.write(wheel)
    os.replace(path + ".part", path)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", required=True, metavar="FOLDER")
    try:
        print(fetch(parser.parse_args().into))
    except NotFetched as error:
        sys.exit(f"ERROR: {error}")


if __name__ == "__main__":
    main()
