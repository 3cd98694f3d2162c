"""`/proc/self/mountinfo`: the file systems that can hold something of ours."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

import msgspec

_DISKS = {
    *("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "reiserfs", "ntfs", "ntfs3", "fuseblk"),
    *("vfat", "exfat", "apfs", "hfs", "9p", "virtiofs"),
}
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "ceph", "glusterfs", "fuse.glusterfs"}
_NOT_OURS = ("/boot", "/efi", "/etc/", "/var/lib/docker/", "/var/lib/containers/", "/var/lib/kubelet/", "/snap/")
"""Firmware partitions, single files that container engines mount over /etc, and the inside of other containers."""


class Mount(msgspec.Struct, frozen=True):
    """network: it may stop answering when another machine does."""

    mount: str
    device: str
    filesystem: str
    network: bool = False


def parse(text: str) -> tuple[Mount, ...]:
    """Real file systems in order of their mount points; of several mounts of one device the highest one.

    The root is always among them, whatever it is made of (a container's overlay, a live system's tmpfs).
    """
    found: dict[str, Mount] = {}
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if not separator or len(left) < 5 or len(right) < 2:
            continue
        mount, filesystem, device = _unescape(left[4]), right[0], _unescape(right[1])
        if mount != "/" and (filesystem not in _DISKS | _NETWORK or mount.startswith(_NOT_OURS)):
            continue
        entry = Mount(mount, device, filesystem, filesystem in _NETWORK)
        # Subvolumes have device numbers of their own but one disk; sources that are no device ("overlay", "none")
        # tell nothing, there the number does.
        key = device if device.startswith("/dev/") else left[2]
        known = found.get(key)
        if known is None or len(mount) < len(known.mount):
            found[key] = entry
    return tuple(sorted(found.values(), key=lambda entry: entry.mount))


def holding(path: str, mounts: Iterable[str]) -> str | None:
    """The mount point that `path` lies on: the longest of `mounts` that leads to it."""
    target = PurePosixPath(path)
    leading = [mount for mount in mounts if target.is_relative_to(mount)]
    return max(leading, key=len, default=None)


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
