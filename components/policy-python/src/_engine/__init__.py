"""The component: the interfaces that it exports, and the state that its snapshot starts from.

componentize-py imports this module once, at build time, and keeps the interpreter's memory as it is afterwards. Every
instance starts from that memory, so what is imported here costs an instance nothing, and whatever must differ between
instances is renewed when an instance is first called (`entropy`).
"""

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.policy import Action, Decision
from wit_world.exports.policy_rules import Parties
from wit_world.exports.runtime import Bundle
from wit_world.exports.script import ScriptError_Exit

from _engine import entropy, eventloop, heap, policy, runtime, script, sqlite, stdlib, streams, zones


class Script(exports.Script):
    """`hypervisor:plugin/script`."""

    def run(self, source: str, args: list[str]) -> None:
        """Runs `source` as `__main__`; see `script.run`."""
        code = script.run(source, args)
        if code:
            raise Err(ScriptError_Exit(code))


class Runtime(exports.Runtime):
    """`hypervisor:plugin/runtime`."""

    def open_streams(self) -> None:
        """Opens what an empty script leaves open; see `streams.touch`."""
        streams.touch()

    def setup(self, bundle: Bundle) -> None:
        """Loads a bundle; see `runtime.setup`."""
        runtime.setup(bundle)

    def call(self, event: str, context: str) -> str:
        """Calls the handler; see `runtime.call`."""
        return runtime.call(event, context)

    def evaluate(self, source: str) -> str | None:
        """Runs a turn of a session; see `runtime.evaluate`."""
        return runtime.evaluate(source)


class Policy(exports.Policy):
    """`hypervisor:plugin/policy`."""

    def authorize(self, rules: bytes, action: Action) -> Decision:
        """Asks the rules' `authorize`; see `policy.authorize`."""
        return policy.authorize(rules, action)

    def check(self, rules: bytes) -> None:
        """Loads the rules without deciding anything; see `policy.check`."""
        policy.check(rules)


class PolicyRules(exports.PolicyRules):
    """`hypervisor:plugin/policy-rules`."""

    def prepare(self, rules: bytes) -> None:
        """Loads the rules for this instance; see `policy.check`."""
        policy.check(rules)

    def authorize(self, action: Action, parties: Parties) -> Decision:
        """Asks the `authorize` of the rules that were loaded; see `policy.decide`."""
        return policy.decide(action, parties)


streams.install()
eventloop.install()
sqlite.install()
zones.install()
stdlib.install()
entropy.seal()
heap.settle()
