"""Tries to import every module of the standard library, and prints {module: "ok" or "ExceptionType: message"} as JSON."""

import contextlib
import importlib
import io
import json
import sys

# Importing these has an effect on the screen (and a browser), not only on the list.
LOUD = {"antigravity", "this"}


def outcome(name):
    with contextlib.redirect_stdout(io.StringIO()) if name in LOUD else contextlib.nullcontext():
        try:
            importlib.import_module(name)
        except BaseException as error:
            return f"{type(error).__name__}: {error}"
    return "ok"


results = {name: outcome(name) for name in sorted(sys.stdlib_module_names)}
print(json.dumps(results, indent=0))
