"""Running one script as CPython runs `python3 script.py`."""

import atexit
import linecache
import logging
import sys
import types

from componentize_py_types import Err
from wit_world.exports.script import ScriptError_InternalError, ScriptError_InvalidSource, ScriptError_Uncaught

from _engine import entropy, faults, streams

FILENAME = "<script>"
"""The script's name in tracebacks."""

ARGV0 = "script.py"
"""`sys.argv[0]` and `__file__`."""


def run(source: str, args: list[str]) -> int:
    """Runs `source` to its end and returns its exit code, 0 to 255.

    Raises `Err` with a `script-error` for source that does not compile and for an uncaught exception.
    """
    entropy.renew()
    if not source and not args:
        streams.touch()
    source = source.removeprefix("\ufeff")
    # Tracebacks look the source up by the one name, `inspect` by the other.
    linecache.cache[FILENAME] = linecache.cache[ARGV0] = len(source), None, source.splitlines(True), FILENAME
    sys.argv = [ARGV0, *args]
    sys.orig_argv = ["python3", *sys.argv]
    main = types.ModuleType("__main__")
    main.__file__ = ARGV0
    main.__builtins__ = sys.modules["builtins"]
    sys.modules["__main__"] = main
    try:
        code = compile(source, FILENAME, "exec", dont_inherit=True)
    except BaseException as error:
        raise Err(ScriptError_InvalidSource(faults.syntax_fault(error))) from None
    try:
        exec(code, main.__dict__)
        return 0
    except SystemExit as exit:
        return exit_code(exit)
    except BaseException as error:
        raise Err(uncaught(error)) from None
    finally:
        finish()


def exit_code(exit: SystemExit) -> int:
    """What CPython exits with: nothing is 0, a number is its lowest 8 bits, anything else is printed and 1."""
    code = exit.code
    if code is None:
        return 0
    if isinstance(code, int):
        return int(code) & 0xFF if -(2**63) <= code < 2**63 else 0xFF
    try:
        print(code, file=sys.stderr)
    except BaseException:
        pass
    return 1


def uncaught(error: BaseException) -> ScriptError_Uncaught | ScriptError_InternalError:
    """What an exception that nothing caught is to the host."""
    sys.settrace(None)
    sys.setprofile(None)
    sys.setrecursionlimit(_RECURSION_LIMIT)
    if sys.excepthook is not sys.__excepthook__:
        try:
            sys.excepthook(type(error), error, error.__traceback__)
        except BaseException:
            pass
    try:
        return ScriptError_Uncaught(faults.fault(error))
    except BaseException:
        return ScriptError_InternalError("the exception that left the script cannot be described")


def finish() -> None:
    """What CPython does at exit: the handlers, the log, and whatever is still in a buffer."""
    for last in (atexit._run_exitfuncs, logging.shutdown):
        try:
            last()
        except BaseException:
            pass
    flush()


def flush() -> None:
    """Writes out whatever is still in a buffer."""
    for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
        try:
            getattr(sys, name).flush()
        except BaseException:
            # Closed, deleted, replaced by something else, or its reader has gone.
            pass


_RECURSION_LIMIT = sys.getrecursionlimit()
# Handlers that modules registered before the snapshot; logging's is called by `finish`, the others have nothing to do.
atexit._clear()
