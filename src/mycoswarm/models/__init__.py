"""Which models exist and where: the catalogue, fetching, and the files on this machine.

Flows in: a name to pull, the models directory. Flows out: `Progress` while it works, `ModelFile`s for the embedded
engine, errors with a way out.

    catalog        the models that can be fetched, every byte pinned   pure
    gguf_header    what the head of a GGUF file says                   pure, and one function that reads a file
    chat_template  what a template does with tools                     pure
    describe       header -> parameters, context, abilities            pure
    sources        package index -> one GGUF file                      [io]
    requantise     Q4_1 -> Q8_0 in a child process                     [io]
    store          the models directory                                [io]

Rules: a hash is checked before bytes are used, and wrong bytes are deleted; space is checked before the first byte is
fetched; what is interrupted goes on where it stopped; a model appears in one rename or not at all; numpy and gguf are
loaded in the child only, never in the node.
"""
