"""The fabric: who else is there, who may be trusted, and how to reach them.

                     announcements (hints)        codes typed, words compared by people
                              │                                  │
        mdns [io] ────────────┤         pairing, comparing ▶ joining ▶ admission, entry [io] ──┐
                              ▼                                                             ▼
    beats, records ──▶ membership ──commands──▶ service [io] ◀── trust [io] ◀── roster (signed log = trust store)
                              ▲                    │                │
                              │                    │                └─ store, identity, succession [io]
        link [io] ◀── transport [io] / peer_app [io], server [io] over tls [io] ──▶ other nodes

Flows in: the settings, this node's `NodeRecord`, invitations and codes, handlers for the peer API.
Flows out: `Fabric.nodes()` (every member with state and reason), `Fabric.transport` (requests and streams to members).

Beside it, for browsers and programs that know nothing of rosters: the web certificate of a node (`webcerts` [io] over
`webca`, `webkeeping` and `webnames`), signed by keepers; and `entrance` [io], on which both TLS ports stand.

Rules of this package:

- Trust is the roster and nothing else. A caller whose exact certificate is not in it reaches `/join` and no more; being
  on the network, or announced, grants nothing. The roster is asked on every request, never only at the handshake.
- A new roster takes effect in one place and one order: `trust`. `admission` lets others in, `entry` is the way in.
- Announcements and addresses are hints: a dialled node must show the certificate that the roster holds for its id.
- Only addresses of the local network are dialled, and those that the owner typed: `reach`, and once more at the socket.
- `roster` (with `statements`, `authority` and `surplus`), `recovery`, `pairing`, `comparing`, `membership` (with `peer`
  and `awareness`), `reach`, `flood`, `doorway`, `allowance`, `wire`, `codes` and `words` do no I/O: events and `now`
  in, commands out. Sockets and files are in the modules that say [io].
- Ages are taken from the receiver's monotonic clock; a wrong date on any machine changes nothing.
- The web CA is trusted by people's computers, and by nothing in here: no node accepts another by it.
- The rest of the program imports `service.Fabric` and `transport.Transport`, the LAN's listener besides `entrance` and
  the web certificate; the other modules are this package's own.
"""
