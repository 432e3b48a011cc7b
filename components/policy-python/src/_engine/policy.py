"""Deciding by rules that are a Python file with one function, `authorize(action)`.

The rules run as a module of their own, once for each instance; after that a decision is one call. Whatever the rules do
other than give a clear answer is an error, and the host takes an error for a denial.
"""

import inspect
import linecache
import sys
import types
from collections.abc import Callable

from componentize_py_types import Err
from hypervisor import policy as api
from wit_world.exports import policy as wit
from wit_world.exports.policy_rules import Parties

from _engine import entropy, faults

FILENAME = "rules"
"""The rules' name in messages."""

_REASON_LIMIT = 4 * 1024

_KINDS = {kind: kind.name.lower().replace("_", "-") for kind in wit.ActionKind}


class _Rules:
    """Rules that were read and run."""

    def __init__(self, source: bytes, authorize: Callable[[api.Action], object]) -> None:
        self.source = source
        self.authorize = authorize


_loaded: _Rules | None = None


def authorize(rules: bytes, action: wit.Action) -> wit.Decision:
    """Asks `rules` about `action`. Raises `Err(invalid-rules)` for anything but a clear answer."""
    return _decided(_load(rules), _action(action))


def decide(action: wit.Action, parties: Parties) -> wit.Decision:
    """Asks the rules that were read by `check`."""
    if _loaded is None:
        raise Err(wit.ErrorCode_InternalError("it was asked before it was given rules"))
    return _decided(_loaded, _action(action, parties))


def _decided(loaded: _Rules, asked: api.Action) -> wit.Decision:
    try:
        answer = loaded.authorize(asked)
    except BaseException as error:
        raise _invalid(_where(error)) from None
    finally:
        _flush()
    if answer is True or isinstance(answer, api.Allow):
        return wit.Decision_Allow()
    if answer is False:
        return wit.Decision_Deny("the rules give no reason")
    if isinstance(answer, api.Deny):
        return wit.Decision_Deny(faults.sendable(answer.reason, _REASON_LIMIT))
    given = f"the class {answer.__name__}" if isinstance(answer, type) else type(answer).__name__
    line = loaded.authorize.__code__.co_firstlineno
    raise _invalid(f"rules, line {line}: authorize returned {given}: it must return True, False, Allow() or Deny(reason)")


def check(rules: bytes) -> None:
    """Reads and runs `rules`. Raises `Err(invalid-rules)` that says where they are wrong."""
    _load(rules)
    _flush()


def _load(source: bytes) -> _Rules:
    global _loaded
    if _loaded is not None and _loaded.source == source:
        return _loaded
    entropy.renew()
    module = types.ModuleType(FILENAME)
    module.__dict__.update((name, getattr(api, name)) for name in api.__all__)
    sys.modules[FILENAME] = module
    linecache.cache[FILENAME] = len(source), None, source.decode("utf-8", "replace").splitlines(True), FILENAME
    try:
        exec(compile(source, FILENAME, "exec", dont_inherit=True), module.__dict__)
    except SyntaxError as error:
        at = f", line {error.lineno}" if error.lineno else ""
        raise _invalid(f"rules{at}: {type(error).__name__}: {error.msg}") from None
    except BaseException as error:
        raise _invalid(_where(error)) from None
    _loaded = _Rules(source, _entry(module))
    return _loaded


def _entry(module: types.ModuleType) -> Callable[[api.Action], object]:
    """The rules' `authorize`, if it is a function of one argument."""
    found = module.__dict__.get("authorize")
    if found is None:
        raise _invalid("rules: there is no function authorize(action)")
    if not isinstance(found, types.FunctionType):
        raise _invalid(f"rules: authorize is not a function but {type(found).__name__}")
    line = found.__code__.co_firstlineno
    if inspect.iscoroutinefunction(found) or inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found):
        raise _invalid(f"rules, line {line}: authorize must be a plain function: no async, no yield")
    try:
        inspect.signature(found).bind(None)
    except TypeError:
        signature = inspect.signature(found)
        raise _invalid(f"rules, line {line}: authorize{signature} cannot be called with one argument, the action") from None
    return found


def _action(given: wit.Action, parties: Parties | None = None) -> api.Action:
    charge = given.charge
    sizes = given.sizes
    calling = None if parties is None else parties.calling_agent
    return api.Action(
        kind=_KINDS[given.kind],
        subject=given.subject.hex(),
        agent=given.agent,
        caller=None if given.caller is None else given.caller.hex(),
        charge=None if charge is None else api.Charge(charge.chain, charge.asset, charge.payer, _amount(charge.amount)),
        resource=given.resource,
        method=given.method,
        imports=tuple(given.imports),
        sizes=api.Sizes(sizes.program, sizes.input, sizes.arguments, sizes.argument_bytes),
        caller_owner=None if parties is None else parties.caller_owner,
        calling_agent=None if calling is None else calling.address,
    )


def _amount(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 78):
        raise Err(wit.ErrorCode_InternalError("the action's amount is not a decimal number"))
    return int(text)


def _where(error: BaseException) -> str:
    """`error`, with the last line of the rules that it passed through."""
    line = None
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename == FILENAME:
            line = at.tb_lineno
        at = at.tb_next
    place = "rules" if line is None else f"rules, line {line}"
    message = faults.message_of(error)
    return f"{place}: {faults.kind_of(error)}" + (f": {message}" if message else "")


def _invalid(text: str) -> Err:
    return Err(wit.ErrorCode_InvalidRules(faults.sendable(text, _REASON_LIMIT)))


def _flush() -> None:
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except BaseException:
            pass
