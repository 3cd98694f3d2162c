"""How a model answers: one protocol over the embedded engine, Ollama and every OpenAI-compatible server.

Flows in: a canonical `ChatRequest` whose model is the engine's own name for it, and the model files of this machine
(`model_file.ModelFiles`, implemented above this package). Flows out: canonical deltas, `ModelOffer`s with measured
speed and memory, errors of `core.errors`.

    engine               the protocol
    openai_request       request -> JSON body        ┐
    ollama_request                                   │ pure: translation, once, on the node that executes
    stream               event stream -> deltas      │
    ollama_stream        NDJSON -> deltas            │
    failure              HTTP refusal -> our error   ┘
    fit, probe, names    memory, speed, names        pure decisions
    openai_chat          the two HTTP calls          [io]
    local_http           a session to a LAN address  [io]
    llamacpp             the embedded engine         [io]   llamacpp_child: what runs in its processes
    minilm               the built-in embedder       [io]   minilm_child: what runs in its process
    child, child_life    one process, from outside and from inside [io]
    back_off, stay       when a model is started again, when it leaves memory: pure
    ollama               Ollama's own API            [io]
    openai_compatible    LM Studio, vLLM, llama-server and their like [io]
    find                 which engines run here      [io]

Rules: always stream upstream, for a stream is what an engine can be made to stop; a failure before the first delta of
the answer is raised, one after it is an Error delta; closing a generator closes the connection, which frees the slot;
a connection is never used again after a stream; sessions come from `egress`, so no address leaves the local network;
what a model cannot do is refused here, because engines ignore it silently.
"""
