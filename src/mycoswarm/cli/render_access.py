"""Views of keys and certificates to tables and lines. Pure but for the clock: moments are shown as dates."""

import datetime as dt
import time

from mycoswarm.cli.printer import Cell, Style, Table
from mycoswarm.core.access import Keys, KeyView, NewKey, WebCertificate
from mycoswarm.core.views import NodeDetail

_TRUST = (
    ("this computer", "mycoswarm certs trust"),
    ("another, with its PEM", "mycoswarm certs trust --print > mycoswarm.crt"),
    ("Debian, Ubuntu", "sudo cp mycoswarm.crt /usr/local/share/ca-certificates/ && sudo update-ca-certificates"),
    ("Fedora, RHEL", "sudo cp mycoswarm.crt /etc/pki/ca-trust/source/anchors/ && sudo update-ca-trust"),
    ("macOS", "security add-trusted-cert -r trustRoot -p ssl -k ~/Library/Keychains/login.keychain-db mycoswarm.crt"),
    ("Windows", "certutil -user -addstore Root mycoswarm.crt"),
    ("Firefox", "Settings, Certificates, Authorities, Import"),
    ("Android, iOS", "send it the file and open it; then trust it in the security settings"),
    ("Python, Node, curl", "SSL_CERT_FILE, NODE_EXTRA_CA_CERTS, CURL_CA_BUNDLE=mycoswarm.crt"),
)


def keys(view: Keys) -> Table:
    """One row a key."""
    now = time.time()
    rows = tuple(
        (
            Cell(key.name, "strong"),
            Cell(key.id, "dim"),
            Cell(", ".join(key.scopes)),
            Cell(key.profile),
            Cell(limits(key)),
            Cell(_day(key.created)),
            Cell(_day(key.used) if key.used else "never", "" if key.used else "dim"),
            *(_end(key, now),),
        )
        for key in view.keys
    )
    columns = ("name", "id", "scopes", "profile", "limits", "made", "last used", "expires")
    return Table(columns, rows, frozenset(), spare=(3, 5, 4, 1))


def limits(key: KeyView) -> str:
    """What it may at most."""
    said = [f"{key.rate}/min"] if key.rate else []
    said += [f"{key.concurrent} at a time"] if key.concurrent else []
    return ", ".join(said) or "none"


def made(view: NewKey, detail: NodeDetail) -> list[str]:
    """What to do with a new key."""
    end = f" It ends on {_day(view.key.expires)}." if view.key.expires else ""
    said = [f"This is the only time that it is shown.{end}"]
    if detail.lan:
        said.append(f"Programs send it as API key to {detail.lan[0]} (OpenAI: {detail.lan[0]}/v1).")
        said.append("They must trust this swarm's web CA: mycoswarm certs show")
    else:
        said.append("Other machines can use it once this node listens for them: mycoswarm up --listen lan")
    return said


def certificate(view: WebCertificate) -> list[tuple[str, Cell]]:
    """What there is to trust, and what it is good for."""
    facts = [
        ("web CA", Cell("SHA-256", "strong")),
        *(("", Cell(part)) for part in _halves(view.fingerprint)),
        ("address", Cell(", ".join(view.urls) or "loopback only: listen = lan opens it", "" if view.urls else "dim")),
    ]
    if view.names:
        facts.append(("good for", Cell(", ".join(view.names))))
        facts.append(("until", Cell(_day(view.until))))
    if view.problem:
        facts.append(("problem", Cell(view.problem, "bad")))
    return facts


def how_to_trust() -> list[str]:
    """A line for each system."""
    width = max(len(system) for system, _ in _TRUST)
    return ["", "To trust it on", *(f"  {system.ljust(width)}  {how}" for system, how in _TRUST)]


def on_the_lan(detail: NodeDetail) -> list[tuple[str, Cell]]:
    """A row of `up` and `status` for a node that listens on the LAN."""
    return [("", Cell(f"{detail.lan[0]}, with an API key: mycoswarm keys add NAME"))] if detail.lan else []


def _end(key: KeyView, now: float) -> Cell:
    if not key.expires:
        return Cell("never")
    style: Style = "bad" if key.expires <= now else ""
    return Cell(f"{_day(key.expires)}{' (over)' if key.expires <= now else ''}", style)


def _day(moment: int) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%d")


def _halves(fingerprint: str) -> tuple[str, str]:
    return fingerprint[:48].rstrip(":"), fingerprint[48:]
