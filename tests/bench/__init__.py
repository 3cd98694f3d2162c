"""`./dev bench NAME`: figures, measured side by side in one run, never asserted.

A benchmark is a module of this package with `def run() -> list[Figure]`; what it needs to run apart lies beside it.
"""
