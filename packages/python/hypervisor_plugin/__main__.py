"""Writes the types of a world into a folder, or says what there is."""

import sys

from hypervisor_plugin import WIT, worlds, write_types

match sys.argv[1:]:
    case []:
        print(WIT, *worlds(), sep="\n")
    case [world, folder] if world in worlds():
        write_types(world, folder)
    case _:
        sys.exit(f"python -m hypervisor_plugin [WORLD DIR], where WORLD is one of {', '.join(worlds())}")
