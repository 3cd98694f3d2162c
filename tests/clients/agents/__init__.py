"""Other people's coding agents, unchanged, against a real swarm.

    programs   which ones, and how each is told of a node                     pure
    install    their locked versions into a cache of this checkout            [io]
    drive      a swarm without internet; each writes one file by its model    [io]
    shapes     what they send, without anybody's sentences                    pure

`./dev clients [NAME…]` runs them all and prints a table. The shapes of their first requests lie in `requests/` and are
read by the dialects' readers in every test run, so that a field they send stays understood where they cannot run.
"""
