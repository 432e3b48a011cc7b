"""The one exception of this package."""

import functools
import re
from collections.abc import Callable

from componentize_py_types import Err


class HostError(Exception):
    """The host refused or failed.

    `code` is the name of the case in the host's interface: `invalid-length`, `invalid-public-key`, `invalid-signature`,
    `high-s`, `recovery-failed`, `verification-failed`, `authentication-failed`, `too-many-keys`, `claim-too-long`,
    `unavailable`, `busy`, `internal-error`. `detail` is what the host adds, for people, or None.
    """

    def __init__(self, code: str, detail: str | None = None) -> None:
        super().__init__(code if detail is None else f"{code}: {detail}")
        self.code = code
        self.detail = detail


def _detail(payload: object) -> str | None:
    if payload is None:
        return None
    if hasattr(payload, "parameter"):
        allowed = (
            str(payload.minimum) if payload.minimum == payload.maximum else f"{payload.minimum} to {payload.maximum}"
        )
        return f"{payload.parameter} has {payload.actual} bytes, allowed: {allowed}"
    return str(payload)


def raises_host_error[**P, R](call: Callable[P, R]) -> Callable[P, R]:
    """Turns the bindings' `Err` into a `HostError`."""

    @functools.wraps(call)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except Err as error:
            case = type(error.value).__name__.removeprefix("ErrorCode_")
            code = re.sub(r"(?<!^)(?=[A-Z])", "-", case).lower()
            raise HostError(code, _detail(getattr(error.value, "value", None))) from None

    return wrapped
