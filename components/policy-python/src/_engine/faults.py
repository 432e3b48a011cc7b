"""Exceptions as the host wants to hear of them: type, message and the traceback that CPython would have printed."""

import gc
import os
import traceback

from wit_world.exports.script import Fault

MESSAGE_LIMIT = 16 * 1024
"""The most characters of a message that are passed on."""

TRACEBACK_LIMIT = 64 * 1024
"""The most characters of a traceback that are passed on."""


def sendable(text: str, limit: int) -> str:
    """`text` without lone surrogates, which a component cannot pass on, and with its middle left out beyond `limit`."""
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def kind_of(error: BaseException) -> str:
    """The name of the exception's type, with its module unless that is `builtins` or `__main__`."""
    cls = type(error)
    module = getattr(cls, "__module__", None)
    name = cls.__qualname__
    return name if module in ("builtins", "__main__", None) else f"{module}.{name}"


def message_of(error: BaseException) -> str:
    """The exception's message, whatever its `__str__` does."""
    try:
        return str(error)
    except BaseException:
        return "<exception str() failed>"


_OWN = os.path.dirname(os.path.dirname(__file__)) + os.sep
"""Where the engine and the `hypervisor` package were loaded from: their frames mean nothing to a script's author."""


def _without_own_frames(described: traceback.TracebackException) -> None:
    """Takes this component's own frames out of `described` and of the exceptions behind it."""
    waiting, seen = [described], set()
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.stack[:] = [frame for frame in each.stack if not frame.filename.startswith(_OWN)]
        waiting += [each.__cause__, each.__context__, *(each.exceptions or ())]


def _format(error: BaseException) -> str:
    try:
        described = traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
        _without_own_frames(described)
        return "".join(described.format())
    except BaseException:
        return f"{kind_of(error)}: {message_of(error)}\n"


def fault(error: BaseException) -> Fault:
    """Describes `error`. It needs some memory, so a `MemoryError` first gives up what its frames hold."""
    if isinstance(error, MemoryError):
        traceback.clear_frames(error.__traceback__)
        gc.collect()
    text = _format(error)
    return Fault(
        kind=sendable(kind_of(error), 256),
        message=sendable(message_of(error), MESSAGE_LIMIT),
        traceback=sendable(text, TRACEBACK_LIMIT),
    )


def syntax_fault(error: BaseException) -> Fault:
    """Describes what `compile` refused. Its own frames are the engine's, so there are none to show."""
    return fault(error.with_traceback(None))
