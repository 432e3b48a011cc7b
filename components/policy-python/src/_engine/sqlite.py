"""SQLite's `random()` and `randomblob()`, drawn from the host.

SQLite seeds a generator of its own from /dev/urandom, or else from the time, once. Here that happened before the snapshot
and would give every instance the same numbers, so each connection gets the two functions anew.
"""

import _sqlite3
import os
import sqlite3
import sqlite3.dbapi2
from typing import Any


def _random() -> int:
    return int.from_bytes(os.urandom(8), signed=True)


def _randomblob(length: int | None) -> bytes:
    return os.urandom(max(1, length or 0))


class Connection(sqlite3.Connection):
    """A connection whose random functions ask the host."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.create_function("random", 0, _random)
        self.create_function("randomblob", 1, _randomblob)


_connect = sqlite3.connect


def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
    """Opens a database, with `Connection` as the default factory; otherwise as the library's own `connect`."""
    if len(args) < 6:
        kwargs.setdefault("factory", Connection)
    return _connect(*args, **kwargs)


def install() -> None:
    """Puts `connect` and `Connection` in the place of the library's."""
    for module in (sqlite3, sqlite3.dbapi2, _sqlite3):
        module.connect = connect
        module.Connection = Connection
