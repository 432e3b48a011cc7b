"""Holds a file to the Compose Specification: its fields, and that what services name is in it.

Usage: compose.py FILE

Prints it, as JSON. YAML's merge keys are merged: they are no part of the specification.
"""

import json
import sys

import compose_spec
import yaml


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        document = yaml.safe_load(file)
    compose = compose_spec.PyCompose.from_yaml(yaml.safe_dump(document))
    compose.validate()
    for service in document["services"].values():
        for other in service.get("depends_on", []):
            if other not in document["services"]:
                sys.exit(f"{other} is no service")
    print(json.dumps(document))


main()
