"""What a rules file sees. All names of this module are there without an import; importing them pleases an editor.

    def authorize(action: Action) -> Decision:
        if action.kind == "deploy-agent":
            return Deny("nothing is deployed here")
        return True
"""

from dataclasses import dataclass
from typing import Literal

type Kind = Literal["execute-wasm", "execute-script", "deploy-agent", "invoke-agent", "outgoing-request"]
"""The kinds of action."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What is paid. `chain` is a CAIP-2 identifier (`eip155:8453`); `amount` counts the asset's smallest unit."""

    chain: str
    asset: str
    payer: str
    amount: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large an action is, in bytes (`arguments` is their number). What an action does not have is 0."""

    program: int
    input: int
    arguments: int
    argument_bytes: int


@dataclass(frozen=True, slots=True)
class Action:
    """An action that the host is about to carry out. It holds sizes and digests, nothing that a client encrypted.

    `subject` is the SHA-256 of the program, `caller` the client's public key (33 bytes, compressed): both in lower-case
    hexadecimal. `agent` is the agent's address, `NAME.OWNER`; `agent_name` and `agent_owner` are its parts. `calling_agent` is
    that of the agent that calls it, where one agent calls another, with `calling_agent_name` and `calling_agent_owner`;
    `caller_owner` is the owner as whom a client speaks, who proved it. Each of these, `caller`, `charge` and `method` are None
    where there is none. `resource` is the path of the host's API, or the absolute URL of an
    outgoing request. `imports` are the component's, in ascending order.
    """

    kind: Kind
    subject: str
    agent: str | None
    caller: str | None
    charge: Charge | None
    resource: str
    method: str | None
    imports: tuple[str, ...]
    sizes: Sizes
    caller_owner: str | None = None
    calling_agent: str | None = None

    @property
    def agent_name(self) -> str | None:
        """The name of the agent, whoever owns it."""
        return _name(self.agent)

    @property
    def agent_owner(self) -> str | None:
        """The owner of the agent: `operator`, or what `hv owner` prints."""
        return _owner(self.agent)

    @property
    def calling_agent_name(self) -> str | None:
        """The name of the agent that calls, whoever owns it."""
        return _name(self.calling_agent)

    @property
    def calling_agent_owner(self) -> str | None:
        """The owner of the agent that calls."""
        return _owner(self.calling_agent)


def _name(address: str | None) -> str | None:
    return None if address is None else address.partition(".")[0]


def _owner(address: str | None) -> str | None:
    return None if address is None else address.partition(".")[2]


@dataclass(frozen=True, slots=True)
class Allow:
    """The action may be carried out. `True` says the same."""


@dataclass(frozen=True, slots=True)
class Deny:
    """The action may not be carried out. `reason` is shown to the caller. `False` is a denial without one."""

    reason: str

    def __post_init__(self) -> None:
        if not isinstance(self.reason, str):
            raise TypeError(f"Deny takes a text as its reason, not {type(self.reason).__name__}")


type Decision = bool | Allow | Deny
"""What `authorize` returns."""

__all__ = ["Action", "Allow", "Charge", "Decision", "Deny", "Kind", "Sizes"]
