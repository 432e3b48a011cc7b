"""Data is worked on, not carried through: what is large goes only to programs that were reviewed.

A policy never sees what a client encrypted, only sizes and digests. So this rule bounds what can be taken out through
any program at all: an unknown program gets inputs too small to be a dump of anything, and a request that an agent sends
takes no more than a query's worth with it.
"""

KIB = 1024
MIB = 1024 * KIB

# SHA-256 of programs that were reviewed, for inputs of any size that the host takes.
REVIEWED = {
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
}

# The most that an unknown program is given, input and arguments together.
MOST_INPUT = {
    "execute-wasm": 1 * MIB,
    "execute-script": 256 * KIB,
    "invoke-agent": 1 * MIB,
}

# The most that an agent sends along with one request, whoever wrote it.
MOST_OUTGOING = 16 * KIB


def authorize(action: Action) -> Decision:
    """Bounds sizes by what is done and by whether the program is known."""
    given = action.sizes.input + action.sizes.argument_bytes
    if action.kind == "outgoing-request":
        if given > MOST_OUTGOING:
            return Deny(f"{given} bytes in one request look like a raw dump: at most {MOST_OUTGOING} may leave")
        return True
    if action.kind == "deploy-agent" or action.subject in REVIEWED:
        return True
    most = MOST_INPUT[action.kind]
    if given > most:
        return Deny(f"an input of {given} bytes is a raw dump: a program that was not reviewed gets at most {most}")
    return True
