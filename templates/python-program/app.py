"""Greets everybody its arguments name, and counts the lines of its standard input."""

import sys

from componentize_py_types import Err
from wit_world import exports


class Run(exports.Run):
    def run(self) -> None:
        """Called once."""
        names = sys.argv[1:]
        if not names:
            print("name somebody to greet", file=sys.stderr)
            # The program ends with the code 1.
            raise Err(None)
        for name in names:
            print(f"hello, {name}")
        print(f"{sum(1 for _ in sys.stdin)} lines")
