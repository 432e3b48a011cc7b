"""sbom.py RAW SOURCE BUILT LINKED: makes of what cargo-cyclonedx wrote what a binary is made of, on standard output.

The tool asks cargo about the whole workspace, so that crates of other packages and of tests are in its list. BUILT is a file with a line
`NAME@VERSION` for each crate that cargo builds for this binary, LINKED one of those that are linked into it: the others' scope is
`excluded`. SOURCE is a folder whose name is to be nowhere in it.
"""

import json
import pathlib
import sys


def named(component: dict[str, str]) -> str:
    return f"{component['name']}@{component['version']}"


def main() -> None:
    raw, source = pathlib.Path(sys.argv[1]), sys.argv[2]
    built, linked = (set(pathlib.Path(file).read_text().split()) for file in sys.argv[3:5])
    sbom = json.loads(raw.read_text().replace(source, "/source"))
    wanted = built - {named(sbom["metadata"]["component"])}
    sbom["components"] = [it for it in sbom["components"] if named(it) in wanted]
    if missing := wanted - {named(it) for it in sbom["components"]}:
        sys.exit(f"sbom: cargo builds what is not listed: {', '.join(sorted(missing))}")
    for component in sbom["components"]:
        component["scope"] = "required" if named(component) in linked else "excluded"
    kept = {it["bom-ref"] for it in sbom["components"]} | {sbom["metadata"]["component"]["bom-ref"]}
    sbom["dependencies"] = [
        {**it, "dependsOn": [ref for ref in it.get("dependsOn", []) if ref in kept]}
        for it in sbom["dependencies"]
        if it["ref"] in kept
    ]
    json.dump(sbom, sys.stdout, indent=2)
    print()


main()
