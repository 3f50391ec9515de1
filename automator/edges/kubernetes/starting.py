"""Starting: whether an image is at fault when a container of it does not start, or what is around it.

Only words tell, and each container runtime has its own. What they do not say clearly (a registry that is
down, is busy or wants a login, a disk that is full, a hook of the node's that fails, a runtime that takes its
time) is never held against the image: the next version would fare no better.
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
    | \b(manifest|name)\ unknown                                                 # registries, by any of them
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
_PROGRAM_OF_THE_NODE = re.compile(
    r"""
      \b(OCI|prestart|create(runtime|container)|startcontainer|poststart)\ hooks?\b
    | \b(run|running|executing)\ (\w+\ ){0,2}hooks?\b                           # runc, crun, youki
    | \bfork/exec\b                                         # a runtime, or its shim: no image's is run so
    | \bunable\ to\ retrieve\ OCI\ runtime\ error\b         # containerd: the runtime itself could not be run
    | \bfailed\ to\ start\ shim\b                           # containerd
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""What says that it is a program of the node that could not be run: the other words are the same."""
NEVER_RAN = frozenset({"StartError", "ContainerCannotRun", "RunContainerError"})
"""What a container has ended with that could not be started: by containerd, and by Docker; and for which it
waits after that."""
_OWN = {
    "ErrImagePull": _NO_SUCH_IMAGE,
    "ImagePullBackOff": _NO_SUCH_IMAGE,
    "CreateContainerError": _NO_SUCH_PROGRAM,
    **dict.fromkeys(NEVER_RAN, _NO_SUCH_PROGRAM),
}


def is_images_own(why: str, words: str) -> bool:
    """Whether a container that waits for the reason `why`, or ended with it, in these words, does so for its
    image. A kubelet before 1.32 does not say, between two tries, why an image could not be pulled: then it is
    not known."""
    own = _OWN.get(why)
    if own is None:
        return True
    said = _MIRRORS.sub("", words[:_ENOUGH])
    if own is _NO_SUCH_PROGRAM and _PROGRAM_OF_THE_NODE.search(said):
        return False
    return own.search(said) is not None
