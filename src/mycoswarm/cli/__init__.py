"""The command line: one file a verb, which asks the node over HTTP and shows its answer.

Flows in: arguments, standard input, the node's views and deltas (through `client`). Flows out: data on stdout;
progress, logs, notes and the footer of an answer on stderr; an exit code.

- `main`      the entry: the table of verbs (loaded only when typed), errors to sentences, exit codes
- `app`       what every verb gets: global options, printer, paths, the node's client
- `printer`   the only module that writes: tables on a terminal, plain columns in a pipe, `--json`
- `words`     sizes, durations, speeds and machines as people read them (pure)
- `render`    views to tables and lines (pure); `render_swarm` those of membership and health
- `durations` spans of time as they are typed
- `session`   a node to talk to: the running one or a private one; the starter model where there is none
- `answer`    one stream of deltas to text, figures and footer; `speaking` prints it while it comes
- `conversation`, `repl`, `markdown`   what `chat` adds
- `banner`    what `up` says once the node is ready
- everything else is the verb of that name

Rules of this package:

- It imports `core` and `client` only; nothing else of the product.
- A verb's module imports click and `app` at its top; whatever is heavier is imported inside its function, so that
  `mycoswarm --version` and the completion of a shell stay quick.
- What comes from a node or a model is text of others: control characters never reach a terminal.
- Whether something can be asked of the person is decided in one place, `Printer.can_ask`.
"""
