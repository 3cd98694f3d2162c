"""Access from other machines: who holds an API key, and what it is good for.

    Authorization: Bearer myco-…  ──▶ keys (which key, is it in force) ──▶ ring [io] ──▶ scope, profile
                                            │                                 │
                                  store [io] (hashes)        limits (rate, answers at a time, wrong guesses)

Flows in: the credentials of a request, its address, `now`. Flows out: a `Pass` that lasts as long as the request, or an
error of `core.errors`.

Rules of this package:

- A secret exists in the answer to `keys add` and nowhere else; what is kept is its SHA-256, which is enough because it
  is no password: 256 random bits are not guessed from their hash.
- Fail closed: a file of keys that cannot be read lets nobody in, and is never overwritten.
- A key that is removed is gone at once, also for what it is doing at that moment.
- `keys` and `limits` do no I/O.
"""
