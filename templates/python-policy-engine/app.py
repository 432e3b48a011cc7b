"""Programs may run if their SHA-256 is on the operator's list, `rules.txt`: one digest a line, `#` for comments."""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.policy import (
    Action,
    Decision,
    Decision_Allow,
    Decision_Deny,
    ErrorCode_InvalidRules,
)


class Policy(exports.Policy):
    def authorize(self, rules: bytes, action: Action) -> Decision:
        """Called before anything is carried out. What is not clearly allowed is denied."""
        if action.subject in listed(rules):
            return Decision_Allow()
        return Decision_Deny(f"the program {action.subject.hex()} is not on the list")

    def check(self, rules: bytes) -> None:
        """Called before rules are taken into use."""
        listed(rules)


def listed(rules: bytes) -> set[bytes]:
    """The digests on the list. A list with a mistake decides nothing."""
    digests = set()
    for number, line in enumerate(rules.decode(errors="replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            digest = bytes.fromhex(text)
        except ValueError:
            digest = b""
        if len(digest) != 32:
            raise Err(ErrorCode_InvalidRules(f"line {number}: not a SHA-256 in hexadecimal"))
        digests.add(digest)
    return digests
