"""Where the WIT package `hypervisor:plugin` is, and the types of its worlds."""

import shutil
from pathlib import Path

WIT: Path = Path(__file__).parent / "wit"
"""The folder with the definitions, for `--wit-path` of tools that do not find it themselves."""

_TYPES = Path(__file__).parent / "types"


def worlds() -> list[str]:
    """The worlds of the package, by name."""
    return sorted(folder.name for folder in _TYPES.iterdir())


def write_types(world: str, folder: Path | str) -> None:
    """Writes the module `wit_world` into a folder, as it is when a component of this world is built, for type checkers.

    A copy, because they look for what is theirs outside of site-packages.
    """
    if world not in worlds():
        raise ValueError(f"there is no world `{world}`, but {', '.join(worlds())}")
    shutil.copytree(_TYPES / world, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
