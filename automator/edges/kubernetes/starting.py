"""Starting: whether an image is at fault when a container of it does not start, or what is around it.

Only words tell, and each container runtime has its own. What they do not say clearly (a registry that is
down, is busy or wants a login, a disk that is full, a runtime that takes its time) is never held against the
image: the next version would fare no better.
"""

from __future__ import annotations

import re

_ENOUGH = 8000
"""Characters that are looked at: words are anybody's."""
_MIRRORS = re.compile(r"\(Mirrors also failed: .*\]\): ", re.DOTALL)
"""What CRI-O says of mirrors before it speaks of the registry: that they lack an image proves nothing."""
_NO_SUCH_IMAGE = re.compile(
    r"""
      failed\ to\ resolve\ (reference|image)\ "?[^"\s]+"?:\ \S+:\ not\ found     # containerd
    | no\ match\ for\ platform\ in\ manifest                                     # containerd
    | no\ matching\ manifest\ for\ \S+                                           # Docker
    | manifest\ for\ \S+\ not\ found                                             # Docker
    | no\ image\ found\ in\ (image\ index|manifest\ list)\ for\ architecture     # CRI-O
    | (manifest|name)\ unknown                                                   # registries, by any of them
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NO_SUCH_PROGRAM = re.compile(
    r"""
      no\ command\ specified                                   # containerd, Docker
    | \bexec:\ \\*"                                            # runc: exec: "/app": permission denied
    | \bexecutable\ file\b | \bopen\ executable\b              # runc, crun
    | exec\ format\ error
    | unable\ to\ find\ (user|group)\b                         # containerd, Docker
    """,
    re.VERBOSE | re.IGNORECASE,
)
_OWN = {
    "ErrImagePull": _NO_SUCH_IMAGE,
    "ImagePullBackOff": _NO_SUCH_IMAGE,
    "CreateContainerError": _NO_SUCH_PROGRAM,
}


def is_images_own(why: str, words: str) -> bool:
    """Whether a container that waits for the reason `why`, in these words, does so for its image. A kubelet
    before 1.32 does not say, between two tries, why an image could not be pulled: then it is not known."""
    own = _OWN.get(why)
    return own is None or own.search(_MIRRORS.sub("", words[:_ENOUGH])) is not None
