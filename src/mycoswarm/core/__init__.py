"""The vocabulary: what every other package says to every other. No I/O.

Flows in: nothing. Flows out: frozen msgspec structs, distinct ids, one error tree, the settings table, the clock.

Rules of this package: no sockets, no files but the settings file it is handed the text of, no subprocess; every struct
is frozen and can be written as JSON; a closed union is matched exhaustively by those who read it.
"""
