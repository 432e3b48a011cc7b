"""Standard input, output and error as CPython has them behind a pipe: UTF-8 and, apart from error, in blocks.

componentize-py starts the interpreter with unbuffered streams, where each `print` is two calls of the host.
"""

import io
import os
import sys


def install() -> None:
    """Replaces the three streams. Closing one does not close what is behind it, so an instance can still report."""
    sys.stdin = sys.__stdin__ = _text(io.BufferedReader(io.FileIO(0, "rb", closefd=False)), "<stdin>", "surrogateescape")
    sys.stdout = sys.__stdout__ = _text(io.BufferedWriter(io.FileIO(1, "wb", closefd=False)), "<stdout>", "surrogateescape")
    sys.stderr = sys.__stderr__ = _text(io.BufferedWriter(io.FileIO(2, "wb", closefd=False)), "<stderr>", "backslashreplace")


def touch() -> None:
    """Has the streams opened that are opened when they are first used, once: a copy of this instance has only those that were open by then."""
    global _touched
    if not _touched:
        _touched = True
        os.read(0, 1)
        os.write(1, b"\n")
        os.write(2, b"\n")


_touched = False


def _text(buffer: io.BufferedReader | io.BufferedWriter, name: str, errors: str) -> io.TextIOWrapper:
    buffer.raw.name = name
    stream = io.TextIOWrapper(buffer, encoding="utf-8", errors=errors, line_buffering=name == "<stderr>")
    stream.mode = "r" if name == "<stdin>" else "w"
    return stream
