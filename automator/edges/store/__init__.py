"""The local memory: one SQLite file in the state folder, which may be lost at any time.

What is here may delay or withhold a release, never cause one (DESIGN promise 1): the last tag
lists, when a tag was first seen, build times, the last report of each config repo, pushes that a server
refused, the sites found in files, and messages that are not sent yet. A damaged file is moved aside,
loudly, and a new one begun. All times are UTC.
"""

from automator.edges.store.memory import Refusal, Store
from automator.edges.store.opening import DATABASE, LOCK, locked, private_folder
from automator.edges.store.outbox import Kept, Posted
from automator.edges.store.plaintext import PlainText
from automator.edges.store.sitetable import KeptSites

__all__ = [
    "DATABASE",
    "LOCK",
    "Kept",
    "KeptSites",
    "PlainText",
    "Posted",
    "Refusal",
    "Store",
    "locked",
    "private_folder",
]
