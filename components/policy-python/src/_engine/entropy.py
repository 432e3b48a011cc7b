"""Randomness: nothing random that was drawn before the snapshot is ever used after it.

`os.urandom` and what rests on it (`secrets`, `random.SystemRandom`, `uuid.uuid4`) ask the host each time. Everything
else that draws once and goes on from there would give the same numbers in every instance: `renew` draws anew, and
`seal` stops the build if a generator is alive that `renew` does not know. SQLite's generator, which cannot be reached, is
passed by (`sqlite`). The seed of `hash()` is the one thing that cannot be renewed: docs/decisions/0006-python-hash-seed.md.
"""

import _random
import gc
import logging
import random
import sys
import tempfile
import time
import uuid


def renew() -> None:
    """Draws anew whatever this interpreter keeps between draws. Called before any code of a user runs."""
    random.seed()
    # What versions 1, 6 and 7 go on from.
    uuid._node = uuid._last_timestamp = uuid._last_timestamp_v6 = uuid._last_timestamp_v7 = None
    uuid._last_counter_v7 = 0
    tempfile._name_sequence = None
    # Not random, but as much a remnant of the build: what log records count their time from.
    logging._startTime = time.time_ns()


def seal() -> None:
    """Refuses to go into a snapshot with a random generator that `renew` would not reach."""
    known = random._inst
    for found in gc.get_objects():
        if isinstance(found, _random.Random) and found is not known and not isinstance(found, random.SystemRandom):
            raise RuntimeError(f"a random generator would be the same in every instance: {gc.get_referrers(found)!r:.400}")
    for name in ("multiprocessing.process", "concurrent.futures.process"):
        if name in sys.modules:
            raise RuntimeError(f"{name} draws a key when it is imported: it must not be imported before the snapshot")
