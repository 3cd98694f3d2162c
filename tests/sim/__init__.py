"""Whole swarms on virtual time: `./dev sim` and the runs that every change must survive."""
