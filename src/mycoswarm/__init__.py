"""mycoSwarm: one private AI out of the machines a household owns.

Nothing is imported here, so that `mycoswarm --version` stays quick.
"""

__version__ = "0.1.0"
