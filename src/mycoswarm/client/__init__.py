"""The Python client of a node's own API: what the command line, the agent host and other people's programs use.

Flows in: typed requests of `core`. Flows out: the views of `core.views`, canonical deltas, errors of `core.errors`.

- `http`    one synchronous `Client` over the standard library; every answer is typed, every failure is a MycoError
- `daemon`  the node process itself: find the running one, start one, wait until it is ready, end it
- `settings_file`  config.toml as the node and `mycoswarm config` read it

Rules of this package:

- Only loopback: the user port is plaintext, so another host is refused before a socket is opened.
- Standard library and msgspec only; a command must not pay for a web stack it does not use.
- Closing a stream closes its socket at once: that is how a node learns that nobody is listening any more.

Example:

    from mycoswarm.client.daemon import connect
    from mycoswarm.core.chat import ChatRequest, Text, message

    with connect().chat(ChatRequest("auto", (message("user", "Hello"),))) as answer:
        for delta in answer:
            if isinstance(delta, Text):
                print(delta.text, end="", flush=True)
"""
