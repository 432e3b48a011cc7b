"""under-filter.py UNIT COMMAND …: runs a command under the system calls that the unit of systemd leaves to its service.

A service manager is not needed for it, so the filter can be tried wherever the tests run.
"""

import os
import subprocess
import sys

import seccomp  # Debian's python3-seccomp


def members(name: str) -> set[str]:
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split("\n")[1:]
    found: set[str] = set()
    for line in listed:
        if (member := line.strip()) and not member.startswith("#"):
            found |= members(member)
    return found


def allowed(unit: str) -> set[str]:
    # What systemd leaves to every service, so that it can be started.
    calls = members("@default")
    with open(unit, encoding="utf-8") as file:
        filters = [line.split("=", 1)[1].strip() for line in file if line.startswith("SystemCallFilter=")]
    for text in filters:
        named = set().union(*(members(word) for word in text.lstrip("~").split()))
        calls = calls - named if text.startswith("~") else calls | named
    return calls


def main() -> None:
    unit, command = sys.argv[1], sys.argv[2:]
    rules = seccomp.SyscallFilter(seccomp.ERRNO(1))  # EPERM, as SystemCallErrorNumber says
    for call in allowed(unit):
        try:
            rules.add_rule(seccomp.ALLOW, call)
        except (ValueError, RuntimeError, OSError):
            pass  # not a call of this machine
    rules.load()
    os.execv(command[0], command)


main()
