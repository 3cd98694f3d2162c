"""Text and values of one source each, made into `core.hardware` structs. Pure: no files, no processes, no clock.

A parser raises ValueError on input that is not of its source at all; a value that is missing, `N/A` or `[REDACTED]`
becomes None.
"""
