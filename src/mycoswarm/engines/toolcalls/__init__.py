"""Tool calls that work on small models, whatever engine runs them and whatever dialect the client speaks.

Flows in: a request with tools, what the model can do, and the engine's chat. Flows out: the same answer, in which every
call is a ToolCall with arguments that its tool can take.

    way          native, constrained or refused: decided once, from the model's abilities
    serve        round an engine's chat: `serve(request, abilities, chat)`

    native       calls that the engine's own parser found      ┐
    recognise    calls in text, while it streams               │ -> repair -> Call, or Hopeless and why
      candidate    one place where a call may begin            │      toolbox   which tool is meant
      extent       where a value ends that is being written    │      lenient   which value is meant
      marks        the marks of the model families             │      schema    the shape it must have
      shapes       JSON, Python and tags to calls              │
    constrain    the request for a model without tools         │
      grammar      schemas that every engine understands       │
    unwrap       its JSON answer back to text and calls        ┘

Rules: a call that is right passes as it was written; only what a known tool can take is made of one that is wrong;
nothing is dropped silently (a call beyond repair stays text, or goes out as the engine gave it, and a Note says why);
text that is no call comes out byte for byte, however the stream was cut; half a call at the token limit is no call.
"""
