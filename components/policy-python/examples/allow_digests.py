"""Only programs on a list may run: nothing else is executed, deployed or invoked.

A digest is the SHA-256 of the component or script, as `sha256sum program.wasm` prints it. In hypervisor.toml:

    [policy]
    rules = "components/policy-python/examples/allow_digests.py"
"""

# Digest → what it is. Put your own here; this one is the empty file.
ALLOWED = {
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855": "nothing",
}


def authorize(action: Action) -> Decision:
    """Allows what is listed. A request that an agent sends is judged by the digest of the agent."""
    if action.subject in ALLOWED:
        return True
    return Deny(f"the program {action.subject} is not on the operator's list")
