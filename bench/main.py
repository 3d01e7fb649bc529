"""`bench/run [ext|view|vd]`: run the benchmarks, print their tables, write them to bench/results/."""

from __future__ import annotations

import argparse
import importlib
import sys

NAMES = ("ext", "view", "vd")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bench/run",
        description="Time us and the peers in the same run. The table goes to standard output and to bench/results/.",
        epilog="example: bench/run view",
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"which: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="few rounds: to try it, not to quote it; nothing is written")
    options = parser.parse_args()
    for name in options.names or NAMES:
        if name not in NAMES:
            parser.error(f"no benchmark '{name}' (known: {', '.join(NAMES)})")
        table = importlib.import_module(f"bench.{name}").run(options.quick)
        print(table.text())
        if not options.quick:
            print(f"written to {table.save(name)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
