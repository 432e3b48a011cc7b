"""provenance.py FOLDER COMMIT STARTED: a statement of where the files of a release come from, on standard output.

An in-toto Statement (v1) with SLSA's provenance predicate (v1). It says what this machine did; whoever signs it vouches for that.
"""

import datetime
import hashlib
import json
import os
import pathlib
import subprocess
import sys

# Of a release's files, those that are about the others.
ABOUT = {"SHA256SUMS", "SHA256SUMS.sig", "provenance.json"}


def sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()[0]


def tool(name: str, version: str) -> dict[str, object]:
    return {"name": name, "annotations": {"version": version}}


def main() -> None:
    folder, commit, started = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    files = sorted(path for path in folder.iterdir() if path.name not in ABOUT)
    rustc = subprocess.run(["rustc", "--version", "--verbose"], capture_output=True, text=True, check=True, timeout=60).stdout
    source: dict[str, object] = {"name": "source", "digest": {"gitCommit": commit}}
    if uri := os.environ.get("RELEASE_SOURCE"):
        source["uri"] = uri
    parameters: dict[str, object] = {"commit": commit, "command": ["make", "dist"]}
    if "DIST_BINARIES" in os.environ:
        parameters["binaries"] = "built before, by somebody else's word"
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": path.name, "digest": {"sha256": sha256(path)}} for path in files],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:wasm-hypervisor:make-dist:1",
                "externalParameters": parameters,
                "internalParameters": {"target": first_line("rustc", "--print", "host-tuple")},
                "resolvedDependencies": [
                    source,
                    {"name": "Cargo.lock", "digest": {"sha256": sha256(pathlib.Path("Cargo.lock"))}},
                    tool("rustc", " ".join(rustc.split())),
                    tool("cc", first_line("cc", "--version")),
                    tool("ld", first_line("ld", "--version")),
                ],
            },
            "runDetails": {
                "builder": {"id": os.environ.get("RELEASE_BUILDER", "urn:wasm-hypervisor:builder:unnamed")},
                "metadata": {"startedOn": started, "finishedOn": now},
            },
        },
    }
    json.dump(statement, sys.stdout, indent=2)
    print()


main()
