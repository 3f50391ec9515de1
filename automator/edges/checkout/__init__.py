"""The config repo: GitPython and every git process live here and nowhere else."""

from automator.edges.checkout.branches import BranchFile, BranchLook
from automator.edges.checkout.clone import BLOB_LIMIT, Checkout
from automator.edges.checkout.git import Ending, end_all_processes
from automator.edges.checkout.history import FileLog, LogEntry
from automator.edges.checkout.publish import Identity, Seal
from automator.edges.checkout.reading import SUBMODULE, SYMLINK, Entry, TreeChange
from automator.edges.checkout.releaselog import LoggedCommit, RawChanges, Signature
from automator.edges.checkout.remote import Remote
from automator.edges.checkout.signers import Signers
from automator.edges.checkout.signing import GpgKey, SshKey
from automator.edges.checkout.words import NOT_COUNTED, Landed, Lost, Refused

__all__ = [
    "BLOB_LIMIT",
    "NOT_COUNTED",
    "SUBMODULE",
    "SYMLINK",
    "BranchFile",
    "BranchLook",
    "Checkout",
    "Ending",
    "Entry",
    "FileLog",
    "GpgKey",
    "Identity",
    "Landed",
    "LogEntry",
    "LoggedCommit",
    "Lost",
    "RawChanges",
    "Refused",
    "Remote",
    "Seal",
    "Signature",
    "Signers",
    "SshKey",
    "TreeChange",
    "end_all_processes",
]
