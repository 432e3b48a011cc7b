"""Who may deploy, and who may call which agent. `rules.txt` is TOML:

    deployers = ["02…"]          # public keys, 33 bytes in hexadecimal; everybody where there is no such line

    [agents.billing]             # agents of this name; all others may be called by everybody
    callers = ["03…"]
    methods = ["POST"]
"""

import tomllib

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.policy import (
    Action,
    ActionKind,
    Decision,
    Decision_Allow,
    Decision_Deny,
    ErrorCode_InvalidRules,
)


class Policy(exports.Policy):
    def authorize(self, rules: bytes, action: Action) -> Decision:
        table = read(rules)
        caller = action.caller.hex() if action.caller else ""
        if action.kind == ActionKind.DEPLOY_AGENT:
            if caller not in table.get("deployers", [caller]):
                return Decision_Deny("this client is no deployer")
        elif action.kind == ActionKind.INVOKE_AGENT:
            # An address is a name, a dot and an owner.
            name = (action.agent or "").partition(".")[0]
            agent = table.get("agents", {}).get(name, {})
            if caller not in agent.get("callers", [caller]):
                return Decision_Deny(f"this client may not call {name}")
            if action.method not in agent.get("methods", [action.method]):
                return Decision_Deny(f"{name} takes {', '.join(agent['methods'])}")
        return Decision_Allow()

    def check(self, rules: bytes) -> None:
        read(rules)


def read(rules: bytes) -> dict:
    try:
        table = tomllib.loads(rules.decode())
    except ValueError as error:
        raise Err(ErrorCode_InvalidRules(str(error))) from None
    agents = table.get("agents", {})
    if unknown := table.keys() - {"deployers", "agents"}:
        raise Err(ErrorCode_InvalidRules(f"unknown key `{min(unknown)}`"))
    if not isinstance(agents, dict) or not all(isinstance(it, dict) for it in agents.values()):
        raise Err(ErrorCode_InvalidRules("`agents` has a table for each agent: [agents.billing]"))
    lists = [table.get("deployers", [])]
    for name, agent in agents.items():
        if unknown := agent.keys() - {"callers", "methods"}:
            raise Err(ErrorCode_InvalidRules(f"agents.{name}: unknown key `{min(unknown)}`"))
        lists.extend(agent.values())
    if not all(isinstance(it, list) and all(isinstance(text, str) for text in it) for it in lists):
        raise Err(ErrorCode_InvalidRules("`deployers`, `callers` and `methods` are lists of texts"))
    return table
