"""Signatures: whether digests are signed as workloads ask, by keys and commands of the daemon's config.

Verdicts are kept in memory only, so that no state on disk, lost or forged, can ever cause a release.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from automator.core.facts import Signature, SignatureKey, Unavailable
from automator.core.reference import Repository
from automator.core.signed import Checked, Material
from automator.edges.checks import Commands, ImageCommand, read_key, unusable_key
from automator.errors import CheckError
from automator.reasons import reason

if TYPE_CHECKING:
    from automator.core.cosign import PublicKey

T = TypeVar("T")
REMEMBERED = 100_000
"""Good signatures that are remembered."""
LATE_CYCLES = 2
"""Cycles in a row that may leave a command unasked before it is dropped: a version above may be asked about
in turns with it."""

ImageDigest = tuple[Repository, str]
Question = tuple[Repository, SignatureKey]
About = tuple[Repository, str, str]
"""A repository, a digest, and the name of a key."""


class Source(Protocol):
    """Where signatures are (`edges.registry` fetches them)."""

    def fetch(self, repository: Repository, digest: str, suffices: Callable[[Material], bool]) -> None: ...


class Registries(Protocol):
    """What asks registries within the time of a cycle (`cycle.observe`)."""

    def signatures(
        self, subjects: list[ImageDigest], fetch: Callable[[Repository, str], T]
    ) -> Mapping[ImageDigest, T | Unavailable]: ...
    def wait(self, answers: Collection[Future[Any]]) -> None: ...


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A public key of the config."""

    name: str
    path: str


Signer = KeyFile | ImageCommand


class _Key(NamedTuple):
    """A public key as its file holds it now."""

    key: PublicKey
    fingerprint: str


class _Proof(NamedTuple):
    """A good signature: what is remembered of it ends with its key."""

    repository: Repository
    digest: str
    name: str
    fingerprint: str


@dataclass(slots=True)
class _Run:
    """A command that runs, or has a place in the queue."""

    answer: Future[int]
    asked_at: datetime
    was_late: bool = False
    """It was waited for before, and is not again."""
    unasked: int = 0
    """Cycles since its question was asked."""


@dataclass
class Signatures:
    """Finds out who signed what; one for each config repo."""

    source: Source
    signers: Mapping[str, Signer]
    """By the names that `signed_by` uses."""
    commands: Commands
    _good: dict[_Proof, None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    """Of what is remembered: a thread that is late may bring a proof still."""
    _runs: dict[About, _Run] = field(default_factory=dict)
    _prints: dict[str, str] = field(default_factory=dict)
    """The key files' fingerprints when this cycle began; empty for one that is none."""

    def begin(self) -> frozenset[str]:
        """A cycle begins: the names of the keys that are others than in the one before."""
        for about, run in list(self._runs.items()):
            run.unasked += 1
            if run.unasked > LATE_CYCLES:
                self._drop(about)
        prints = {
            n: _fingerprint(signer) for n, signer in self.signers.items() if isinstance(signer, KeyFile)
        }
        changed = frozenset(name for name, found in prints.items() if self._prints.get(name, found) != found)
        self._prints = prints
        return changed

    def forget(self, repository: Repository) -> None:
        """There is news of a repository: what commands are about to tell of it may be old."""
        for about in [about for about in self._runs if about[0] == repository]:
            self._drop(about)

    def ask(
        self, questions: Collection[Question], registries: Registries, now: datetime
    ) -> Mapping[Question, Signature | Unavailable]:
        """Whether each digest is signed by those who must have signed it; what is remembered, and keys
        before commands, since a key costs a few requests only."""
        asking = _Asking(
            self, {name for _, (_, signers) in questions for any_of in signers for name in any_of}
        )
        asking.ask_registries(questions, registries)
        asking.ask_commands(questions, registries, now)
        return {question: asking.verdict(question, now) for question in questions}

    def remembers(self, proof: _Proof) -> bool:
        """Whether this was proven before."""
        return proof in self._good

    def remember(self, proof: _Proof) -> None:
        """Keep what was proven, for as long as this process lives and the key stays the same."""
        with self._lock:
            if len(self._good) >= REMEMBERED:
                del self._good[next(iter(self._good))]
            self._good[proof] = None

    def run(self, command: ImageCommand, proof: _Proof, now: datetime) -> _Run:
        """A command, which may be running since an earlier cycle. What it proves is remembered, whoever
        still waits for it."""
        about = (proof.repository, proof.digest, proof.name)
        if about not in self._runs:
            answer = self.commands.submit(command, str(proof.repository), proof.digest)
            answer.add_done_callback(partial(self._remember_if_good, proof))
            self._runs[about] = _Run(answer, now)
        self._runs[about].unasked = 0
        return self._runs[about]

    def _remember_if_good(self, proof: _Proof, answer: Future[int]) -> None:
        if not answer.cancelled() and answer.exception() is None and answer.result() == 0:
            self.remember(proof)

    def took(self, about: About) -> None:
        """The answer of a command was taken: asked again, it is run again."""
        self._runs.pop(about, None)

    def _drop(self, about: About) -> None:
        self._runs.pop(about).answer.cancel()  # one that runs ends within its own time


class _Asking:
    """What is known while the questions of one moment are answered."""

    def __init__(self, signatures: Signatures, names: Collection[str]) -> None:
        self._signatures = signatures
        self._keys: dict[str, _Key] = {}
        self._commands: dict[str, ImageCommand] = {}
        self._unusable: dict[str, Unavailable] = {}
        self._failed: dict[About, Unavailable] = {}
        self._flaws: dict[About, str | None] = {}
        self._asked_at: dict[About, datetime] = {}
        """Of commands that were started earlier."""
        for name in sorted(names):
            self._read(name, signatures.signers.get(name))

    def _read(self, name: str, signer: Signer | None) -> None:
        if isinstance(signer, ImageCommand):
            self._commands[name] = signer
        elif signer is not None:
            try:
                self._keys[name] = _read_key(signer)
            except CheckError as error:
                self._unusable[name] = Unavailable(error.reason)

    def _proof(self, repository: Repository, digest: str, name: str) -> _Proof:
        key, command = self._keys.get(name), self._commands.get(name)
        fingerprint = "" if key is None else key.fingerprint
        return _Proof(repository, digest, name, repr(command.argv) if command is not None else fingerprint)

    def _is_good(self, repository: Repository, digest: str, name: str) -> bool:
        return self._signatures.remembers(self._proof(repository, digest, name))

    def _open(self, question: Question, among: Collection[str]) -> Iterator[tuple[str, ...]]:
        """Signers among these of which one may still answer a part of a question."""
        repository, (digest, signers) = question
        for any_of in signers:
            if not any(self._is_good(repository, digest, name) for name in any_of):
                yield tuple(name for name in any_of if name in among)

    # -- keys

    def ask_registries(self, questions: Collection[Question], registries: Registries) -> None:
        """Fetch the signatures of what keys may prove."""
        wanted: dict[ImageDigest, set[tuple[str, ...]]] = {}
        for question in questions:
            repository, (digest, _) = question
            for any_of in filter(None, self._open(question, self._keys)):
                wanted.setdefault((repository, digest), set()).add(any_of)
        if not wanted:
            return

        def fetch(repository: Repository, digest: str) -> Mapping[str, Checked]:
            return self._judged(repository, digest, wanted[(repository, digest)])

        for (repository, digest), answer in registries.signatures(list(wanted), fetch).items():
            for name in {name for any_of in wanted[(repository, digest)] for name in any_of}:
                if isinstance(answer, Unavailable):
                    self._failed[(repository, digest, name)] = answer
                elif not answer[name].is_good:
                    self._flaws[(repository, digest, name)] = answer[name].flaw

    def _judged(
        self, repository: Repository, digest: str, wanted: Collection[tuple[str, ...]]
    ) -> Mapping[str, Checked]:
        """What the signatures of a digest are worth for each key, looked at until one of each that are
        wanted is good. Each is judged once, and none is kept."""
        from automator.core.cosign import check  # slow to import, and few workloads ask for signatures

        found = {name: Checked(False) for any_of in wanted for name in any_of}

        def suffices(material: Material) -> bool:
            for name in [name for name, checked in found.items() if not checked.is_good]:
                found[name] = found[name].or_else(check(material, self._keys[name].key, digest))
                if found[name].is_good:
                    self._signatures.remember(self._proof(repository, digest, name))
            return all(any(found[name].is_good for name in any_of) for any_of in wanted)

        self._signatures.source.fetch(repository, digest, suffices)
        return found

    # -- commands

    def ask_commands(self, questions: Collection[Question], registries: Registries, now: datetime) -> None:
        """Run the commands that may prove what no key did, within the time that the cycle has left."""
        runs: dict[About, _Run] = {}
        for question in questions:
            repository, (digest, _) = question
            for any_of in self._open(question, self._commands):
                for about in ((repository, digest, name) for name in any_of):
                    command = self._commands[about[2]]
                    runs[about] = self._signatures.run(command, self._proof(*about), now)
        awaited = [run.answer for run in runs.values() if not run.was_late]
        if awaited:
            registries.wait(awaited)
        for about, run in runs.items():
            self._take_command(about, run)

    def _take_command(self, about: About, run: _Run) -> None:
        repository, digest, name = about
        if not run.answer.done():
            run.was_late = True
            late = reason("signature/late", key=name, image=repository, digest=digest)
            self._failed[about] = Unavailable(late, waiting=True)
            return
        self._signatures.took(about)
        self._asked_at[about] = run.asked_at
        try:
            code = run.answer.result()
        except CheckError as error:
            self._failed[about] = Unavailable(error.reason)
            return
        if code == 0:
            self._signatures.remember(self._proof(repository, digest, name))
        else:
            self._flaws[about] = f"its command ended with {code}"

    # -- verdicts

    def verdict(self, question: Question, now: datetime) -> Signature | Unavailable:
        """What is known by now: one no is a no, whatever else could not be asked."""
        repository, (digest, signers) = question
        missing: Unavailable | None = None
        for any_of in signers:
            if any(self._is_good(repository, digest, name) for name in any_of):
                continue
            unknown = [found for name in any_of if (found := self._unknown(repository, digest, name))]
            if not unknown:
                about = [(repository, digest, name) for name in any_of]
                at = min((self._asked_at.get(one, now) for one in about), default=now)
                return Signature(at, False, any_of, next(filter(None, map(self._flaws.get, about)), None))
            missing = missing or unknown[0]
        return missing or Signature(now, True)

    def _unknown(self, repository: Repository, digest: str, name: str) -> Unavailable | None:
        return self._unusable.get(name) or self._failed.get((repository, digest, name))


def _read_key(signer: KeyFile) -> _Key:
    from automator.core.cosign import parse_key

    pem = read_key(signer.name, signer.path)
    try:
        return _Key(parse_key(pem), hashlib.sha256(pem).hexdigest())
    except ValueError as error:
        raise unusable_key(signer.name, signer.path, str(error)) from None


def _fingerprint(signer: KeyFile) -> str:
    try:
        return _read_key(signer).fingerprint
    except CheckError:
        return ""
