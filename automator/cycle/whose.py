"""Whose: whether what a branch holds is ours, so that overwriting or deleting it loses nobody's work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from automator.core.pullrequest import FileEdit, asked_in, does_as_it_says, goal_in, subject_of
from automator.cycle.proposalbook import UNKNOWN, Kept
from automator.cycle.proposed import mark
from automator.edges.checkout import Identity
from automator.edges.checkout.branches import BranchFile, BranchLook

Edits = tuple[tuple[str, str, str], ...]
"""File, and what stands for its text before and after."""


def judged(
    look: BranchLook,
    tip: str,
    hands: tuple[Identity, Identity],
    known: Sequence[tuple[tuple[str, ...], Edits]],
    is_on_base: Callable[[str], bool],
    now: datetime,
) -> Kept:
    """What a branch holds, and by `foreign` whose it is if not ours. `hands` are the author and the committer
    of our commits; `known` is what we did, or would do now: goals, and what becomes of which text.

    Ours is one commit, of our author or with exactly the texts that we would make, that does what it says;
    above it only merges of the base, and all of it together still does what it says.
    """
    commit, files, brought = look.commit, _edits(look.files), _edits(look.brought)
    does = look.is_alone and all(does_as_it_says(commit.message, edits) for edits in (files, brought))
    marks = _marks(brought)
    goal = goal_in(commit.message)
    same = [e for of, e in known if of == goal and _ends(e, 1) == _ends(marks, 1)]
    is_exact = marks in same
    author = (commit.author, commit.mail) == _person(hands[0])
    committer = look.committer == _person(hands[1])
    if not does or (same and not is_exact) or not (author or is_exact):
        return _theirs(look, tip, now)
    # A commit that we made was made on the base; another's hands may have put it on something else.
    below = () if committer else commit.parents
    if not all(is_on_base(parent) for parent in (*look.merged, *below)):
        return _theirs(look, tip, now)
    since = commit.time.timestamp()
    return Kept(tip, goal, marks, since, armed=UNKNOWN, asked=asked_in(commit.message))


def is_our_change(look: BranchLook, message: str, hands: tuple[Identity, Identity]) -> bool:
    """Whether a branch holds a commit of ours with the same change as that of `message`, and nothing else."""
    commit = look.commit
    if not look.is_alone or look.merged or subject_of(commit.message) != subject_of(message):
        return False
    return ((commit.author, commit.mail), look.committer) == (_person(hands[0]), _person(hands[1]))


def _theirs(look: BranchLook, tip: str, now: datetime) -> Kept:
    foreign = look.commit.author, tip if look.merged else look.commit.commit
    return Kept(tip, foreign=foreign, since=now.timestamp(), armed=UNKNOWN)


def _edits(files: Iterable[BranchFile]) -> list[FileEdit]:
    return [FileEdit(f.path, f.before_text, f.after_text) for f in files]


def _marks(edits: Iterable[FileEdit]) -> Edits:
    return tuple(sorted((e.path, mark(e.before or ""), mark(e.after or "")) for e in edits))


def _ends(edits: Edits, end: int) -> set[tuple[str, str]]:
    return {(each[0], each[end]) for each in edits}


def _person(who: Identity) -> tuple[str, str]:
    return who.name.strip(), who.email.strip()
