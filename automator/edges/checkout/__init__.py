"""The config repo: GitPython and every git process live here and nowhere else."""

from automator.edges.checkout.clone import BLOB_LIMIT, Checkout
from automator.edges.checkout.history import FileLog, LogEntry
from automator.edges.checkout.publish import Identity
from automator.edges.checkout.reading import SUBMODULE, SYMLINK, Entry, TreeChange
from automator.edges.checkout.remote import Remote
from automator.edges.checkout.words import Landed, Lost, Refused

__all__ = [
    "BLOB_LIMIT",
    "SUBMODULE",
    "SYMLINK",
    "Checkout",
    "Entry",
    "FileLog",
    "Identity",
    "Landed",
    "LogEntry",
    "Lost",
    "Refused",
    "Remote",
    "TreeChange",
]
