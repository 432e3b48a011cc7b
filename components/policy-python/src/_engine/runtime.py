"""Handlers and sessions: code that is set up once, and then called in copies of the instance.

`setup` and `evaluate` leave their work in the interpreter's memory, which the host keeps. What must differ between copies is
renewed at the beginning of each function (`entropy`).
"""

import __future__

import ast
import asyncio
import gc
import importlib
import inspect
import json
import linecache
import sys
import time
import types
from typing import Any

from componentize_py_types import Err
from wit_world.exports.runtime import Bundle
from wit_world.exports.script import ScriptError, ScriptError_Exit, ScriptError_InvalidSource

from _engine import bundle as files
from _engine import entropy, faults, heap, script

SETUP = "<setup>"
"""The name, in tracebacks, of the source that runs before the modules."""

_handler: Any = None
_turns = 0


class Context(dict):
    """What a handler is told about its call: a dict of what the host says, and the time that is left."""

    def remaining(self) -> float:
        """Milliseconds until the call's deadline; 0 where there is none."""
        return max(0.0, self.get("deadline", 0) - time.time() * 1000)


def setup(bundle: Bundle) -> None:
    """Loads a bundle."""
    global _handler
    entropy.renew()
    main = _main()
    try:
        files.load(bundle)
        name = files.module_of(bundle.main) if bundle.main else None
    except files.BundleError as error:
        raise Err(ScriptError_InvalidSource(faults.syntax_fault(error))) from None
    try:
        if bundle.setup is not None:
            _run(bundle.setup, SETUP, main)
        if name is not None:
            _handler = _handler_of(name, bundle.main)
    finally:
        script.flush()
    heap.clean(sum(len(file.content) for file in (*bundle.modules, *bundle.packages)))


def call(event: str, context: str) -> str:
    """Calls the handler. All of it is JSON."""
    entropy.renew()
    try:
        if _handler is None:
            raise RuntimeError("there is no handler: the bundle that was set up names no main module")
        given = json.loads(context)
        answer = _handler(json.loads(event), Context(given) if isinstance(given, dict) else given)
        if inspect.isawaitable(answer):
            answer = asyncio.run(_awaited(answer))
        return json.dumps(answer, allow_nan=False)
    except BaseException as error:
        raise Err(_error(error)) from None
    finally:
        script.finish()


def evaluate(source: str) -> str | None:
    """Runs a turn of a session; gives the `repr` of its last expression."""
    global _turns
    if not source.strip():
        return None
    entropy.renew()
    _turns += 1
    try:
        value = _run(source, f"<turn {_turns}>", _main())
        return None if value is None else repr(value).encode("utf-8", "backslashreplace").decode()
    except Err:
        raise
    except BaseException as error:
        raise Err(_error(error)) from None
    finally:
        script.flush()
        gc.collect()


def _main() -> types.ModuleType:
    """The module in which turns, and the setup, run: one for all of them."""
    main = sys.modules.get("__main__")
    if main is None or getattr(main, "__file__", None) != SETUP:
        sys.argv = [script.ARGV0]
        main = types.ModuleType("__main__")
        main.__file__ = SETUP
        main.__builtins__ = sys.modules["builtins"]
        sys.modules["__main__"] = main
    return main


def _run(source: str, name: str, main: types.ModuleType) -> Any:
    """Runs source in a module. The value of its last expression."""
    source = source.removeprefix("\ufeff")
    linecache.cache[name] = len(source), None, source.splitlines(True), name
    try:
        tree = ast.parse(source, name)
        last = ast.Expression(tree.body.pop().value) if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | _futures(main)
        codes = [compile(part, name, mode, flags, dont_inherit=True) for part, mode in ((tree, "exec"), (last, "eval")) if part is not None]
    except BaseException as error:
        raise Err(ScriptError_InvalidSource(faults.syntax_fault(error))) from None
    value = None
    try:
        for code in codes:
            value = eval(code, main.__dict__)
            if code.co_flags & inspect.CO_COROUTINE:
                value = asyncio.run(value)
    except BaseException as error:
        raise Err(_error(error)) from None
    return value if last is not None else None


def _futures(main: types.ModuleType) -> int:
    """`from __future__` of earlier turns."""
    found = (getattr(__future__, name) for name in __future__.all_feature_names if main.__dict__.get(name) is getattr(__future__, name))
    return sum({feature.compiler_flag for feature in found})


def _handler_of(name: str, main: str) -> Any:
    try:
        module = importlib.import_module(name)
        handler = getattr(module, "handler", None)
        if handler is None:
            raise TypeError(f"'{main}' defines no handler: define a function 'handler(event, context)'")
        if not callable(handler):
            raise TypeError(f"'handler' of '{main}' is no function: a handler is called with an event and a context")
        return handler
    except SyntaxError as error:
        raise Err(ScriptError_InvalidSource(faults.syntax_fault(error))) from None
    except BaseException as error:
        raise Err(_error(error)) from None


async def _awaited(answer: Any) -> Any:
    return await answer


def _error(error: BaseException) -> ScriptError:
    """How code ended that ended badly."""
    if isinstance(error, SystemExit):
        return ScriptError_Exit(script.exit_code(error))
    return script.uncaught(error)
