"""The one error tree.

    MycoError                     500  exit 70  our bug
    ├── InvalidRequest            400  exit 2   the request itself is wrong
    │   ├── ContextTooLong        400  exit 2   the prompt does not fit the model's context
    │   ├── TooLarge              413  exit 2   more bytes than anybody needs
    │   └── WrongMethod           405  exit 2   the path exists, the method does not
    ├── NotFound                  404  exit 4   no such model, node, task
    │   └── UnknownModel          404  exit 4
    ├── Refused                   403  exit 5   not allowed
    │   ├── TokenRequired         401  exit 5
    │   └── WrongCode             403  exit 5   joining
    ├── CannotServe               503  exit 6   no node can do this now
    ├── Busy                      429  exit 1   full; later it will work
    ├── Fixable                   500  exit 1   the owner can mend it
    │   ├── PortTaken             500  exit 1
    │   ├── NotWritable           500  exit 1
    │   ├── DiskFull              507  exit 1
    │   ├── ModelCorrupt          500  exit 1
    │   ├── IndexUnreachable      502  exit 1
    │   └── EngineFailed          502  exit 1   an engine died or answered nonsense
    ├── PeerLost                  502  exit 1   another node went away in the middle
    ├── DaemonUnreachable         503  exit 3   no node answers on this machine
    └── Cancelled                 499  exit 130

Each error is one sentence for people, a hint what to do, and on the wire `{"error": {code, message, hint, retryable}}`.
"""

import errno
from pathlib import Path
from typing import Any, ClassVar

import msgspec


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error as it travels between nodes and to clients."""

    code: str
    message: str
    hint: str = ""
    retryable: bool = False
    data: dict[str, Any] = {}


class MycoError(Exception):
    """Something that went wrong, said in one sentence.

    Args:
        message: one sentence, ends without a full stop; names the thing concerned.
        hint: what the reader can do about it; empty where nothing can be done.
        data: further facts for programs, JSON values only.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 70
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, hint: str = "", **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.data = data

    def body(self) -> ErrorBody:
        """This error as it goes over the wire."""
        return ErrorBody(self.code, self.message, self.hint, self.retryable, self.data)


class InvalidRequest(MycoError):
    code = "invalid_request"
    status = 400
    exit_code = 2


class ContextTooLong(InvalidRequest):
    code = "context_too_long"


class TooLarge(InvalidRequest):
    code = "too_large"
    status = 413


class WrongMethod(InvalidRequest):
    """`data["allow"]`: the methods that the path takes."""

    code = "method_not_allowed"
    status = 405


class NotFound(MycoError):
    code = "not_found"
    status = 404
    exit_code = 4


class UnknownModel(NotFound):
    code = "unknown_model"


class Refused(MycoError):
    code = "refused"
    status = 403
    exit_code = 5


class TokenRequired(Refused):
    code = "token_required"
    status = 401


class WrongCode(Refused):
    code = "wrong_code"


class CannotServe(MycoError):
    code = "cannot_serve"
    status = 503
    exit_code = 6
    retryable = True


class Busy(MycoError):
    """Full for now. `data["retry_after"]`: seconds."""

    code = "busy"
    status = 429
    exit_code = 1
    retryable = True


class Fixable(MycoError):
    code = "fixable"
    status = 500
    exit_code = 1


class PortTaken(Fixable):
    code = "port_taken"


class NotWritable(Fixable):
    code = "not_writable"


class DiskFull(Fixable):
    code = "disk_full"
    status = 507


class ModelCorrupt(Fixable):
    code = "model_corrupt"


class IndexUnreachable(Fixable):
    code = "index_unreachable"
    status = 502
    retryable = True


class EngineFailed(Fixable):
    code = "engine_failed"
    status = 502
    retryable = True


class PeerLost(MycoError):
    code = "peer_lost"
    status = 502
    exit_code = 1
    retryable = True


class DaemonUnreachable(MycoError):
    code = "daemon_unreachable"
    status = 503
    exit_code = 3
    retryable = True


class Cancelled(MycoError):
    code = "cancelled"
    status = 499
    exit_code = 130


def _tree(kind: type[MycoError]) -> dict[str, type[MycoError]]:
    found = {kind.code: kind}
    for child in kind.__subclasses__():
        found |= _tree(child)
    return found


_BY_CODE = _tree(MycoError)


def from_body(body: ErrorBody) -> MycoError:
    """The error that `body` was made from; a code of a newer version becomes the root of the tree."""
    error = _BY_CODE.get(body.code, MycoError)(body.message, body.hint)
    # Not as keywords: another node may name its facts as it likes, `message` and `self` included.
    error.data = dict(body.data)
    return error


def from_os_error(problem: OSError, path: Path, needed: int | None = None, free: int | None = None) -> MycoError:
    """What a failed file operation on `path` means to the owner. needed, free: bytes, where the caller knows them."""
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        sizes = {"needed": needed, "free": free}
        said = f" ({needed / 1e6:.0f} MB are needed, {(free or 0) / 1e6:.0f} MB are free)" if needed else ""
        return DiskFull(f"the disk of {path.parent} is full{said}", "make room there, then try again", **sizes)
    if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NotWritable(f"{path} cannot be written: {problem.strerror}", "check its owner and permissions")
    return Fixable(f"{path}: {problem.strerror or problem}")
