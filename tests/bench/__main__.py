"""Runs one benchmark, prints its figures, and writes them as JSON where asked."""

import argparse
import importlib
import pkgutil
import sys
from pathlib import Path

import msgspec

from tests import bench
from tests.bench.figures import Figure

PARTS = {"figures", "__main__", "engine", "load", "dialect_load"}


def main(arguments: list[str]) -> int:
    names = [module.name for module in pkgutil.iter_modules(bench.__path__) if module.name not in PARTS]
    parser = argparse.ArgumentParser(prog="./dev bench")
    parser.add_argument("name", nargs="?", choices=names, help="; ".join(names))
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write a list of {name, value, unit, target, met, how}"
    )
    asked = parser.parse_args(arguments)
    if asked.name is None:
        print("\n".join(names))
        return 0
    figures: list[Figure] = importlib.import_module(f"tests.bench.{asked.name}").run()
    width = max(len(figure.name) for figure in figures)
    for figure in figures:
        promised = "" if figure.target is None else f"target {figure.target:g}  {'met' if figure.met else 'MISSED'}"
        print(f"{figure.name:{width}}  {figure.value:10.3f} {figure.unit:8}  {promised:24}  {figure.how}")
    if asked.json is not None:
        asked.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures)) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
