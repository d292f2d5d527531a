"""How the Python groups declare their tests and run them: a table of cases, one report line each.

A group is a process. For each test it prints {"start": NAME, "seconds": LIMIT} and then
{"end": NAME, "error": TEXT or null}, one JSON object a line; `run` reads them.
"""

import itertools
import json
import os
import sys
import threading
import traceback

EVERY_VERSION = ("3.1", "3.1.1", "5.0")
HOST = os.environ.get("INTEROP_HOST", "127.0.0.1")
PORT = int(os.environ.get("INTEROP_PORT", "1883"))
UNIX = os.environ.get("INTEROP_UNIX", "")
WANTED = [word for word in os.environ.get("INTEROP_FILTER", "").split("\n") if word]

CASES = []
COUNTER = itertools.count(1)


def unique(prefix):
    """A name that no other test of this group has; short enough for a 3.1 client identifier."""
    return f"{prefix}{next(COUNTER)}"


def case(title, versions=EVERY_VERSION, rows=((),), seconds=10):
    """Registers the function once per version and row; it is called as `f(version, *row)`."""

    def register(function):
        for version in versions:
            for row in rows:
                name = "-".join([f"{version}/{title}", *(str(cell) for cell in row)])
                CASES.append((name.replace(" ", "_"), function, (version, *row), seconds))
        return function

    return register


def equal(actual, expected, what="value"):
    """Fails the test with both values when they differ."""
    if actual != expected:
        raise AssertionError(f"{what}: got {actual!r}, expected {expected!r}")


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def outcome(function, arguments, seconds):
    """Runs one test in a thread of its own. Returns None or the reason why it failed."""
    errors = []

    def body():
        try:
            function(*arguments)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[1:]
            where = ", ".join(f"{os.path.basename(f.filename)}:{f.lineno}" for f in place[:3])
            errors.append(f"{type(error).__name__}: {error} ({where})")

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        frame = sys._current_frames().get(thread.ident)
        stack = traceback.extract_stack(frame)[-4:]
        lines = [f"{os.path.basename(f.filename)}:{f.lineno}" for f in stack]
        return f"not done within {seconds} s, at {' > '.join(lines)}"
    return errors[0] if errors else None


def run_group(group, cleanup=lambda: None):
    """Runs the wanted cases one after the other; `cleanup` ends what a test left behind."""
    for name, function, arguments, seconds in CASES:
        name = f"{group}/{name}"
        if WANTED and not any(word in name for word in WANTED):
            continue
        print(json.dumps({"start": name, "seconds": seconds}), flush=True)
        error = outcome(function, arguments, seconds)
        cleanup()
        print(json.dumps({"end": name, "error": error}), flush=True)
