"""Signatures: whether digests are signed as workloads ask, by keys and commands of the daemon's config.

Verdicts are kept in memory only, so that no state on disk, lost or forged, can ever cause a release.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar

from automator.core.cosign import Material, PublicKey, check_all, parse_key
from automator.core.facts import Signature, SignatureKey, Unavailable
from automator.core.reference import Repository
from automator.edges.checks import Commands, Ended, ImageCommand, read_key, unusable_key
from automator.errors import CheckError
from automator.reasons import reason

T = TypeVar("T")
REMEMBERED = 100_000
"""Good signatures that are remembered."""

ImageDigest = tuple[Repository, str]
Question = tuple[Repository, SignatureKey]
Found = tuple[Material, ...]


class Source(Protocol):
    """Where signatures are (`edges.registry` fetches them)."""

    def fetch(self, repository: Repository, digest: str, suffices: Callable[[Found], bool]) -> Found: ...


class Registries(Protocol):
    """What asks registries within the time of a cycle (`cycle.observe`)."""

    @property
    def left(self) -> float: ...
    def signatures(
        self, subjects: list[ImageDigest], fetch: Callable[[Repository, str], T]
    ) -> Mapping[ImageDigest, T | Unavailable]: ...


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


@dataclass
class Signatures:
    """Finds out who signed what; one for each config repo."""

    source: Source
    signers: Mapping[str, Signer]
    """By the names that `signed_by` uses."""
    commands: Commands
    _good: dict[_Proof, None] = field(default_factory=dict)
    _running: dict[tuple[Repository, str, str], Future[Ended]] = field(default_factory=dict)
    """Commands that were late, by what they are about and the key's name."""

    def ask(
        self, questions: Collection[Question], registries: Registries, now: datetime
    ) -> Mapping[Question, Signature | Unavailable]:
        """Whether each digest is signed by those who must have signed it; what is remembered, and keys
        before commands, since a key costs a few requests only."""
        asking = _Asking(
            self, {name for _, (_, signers) in questions for any_of in signers for name in any_of}
        )
        asking.ask_registries(questions, registries)
        asking.ask_commands(questions, registries)
        return {question: asking.verdict(question, now) for question in questions}

    def remembers(self, proof: _Proof) -> bool:
        """Whether this was proven before."""
        return proof in self._good

    def remember(self, proof: _Proof) -> None:
        """Keep what was proven, for as long as this process lives and the key stays the same."""
        if len(self._good) >= REMEMBERED:
            del self._good[next(iter(self._good))]
        self._good[proof] = None

    def run(self, command: ImageCommand, repository: Repository, digest: str) -> Future[Ended]:
        """The answer of a command, which may be running since an earlier cycle."""
        about = (repository, digest, command.key)
        if about not in self._running:
            self._running[about] = self.commands.submit(command, str(repository), digest)
        return self._running[about]

    def took(self, command: ImageCommand, repository: Repository, digest: str) -> None:
        """The answer of a command was taken: asked again, it is run again."""
        self._running.pop((repository, digest, command.key), None)


class _Asking:
    """What is known while the questions of one moment are answered."""

    def __init__(self, signatures: Signatures, names: Collection[str]) -> None:
        self._signatures = signatures
        self._keys: dict[str, _Key] = {}
        self._commands: dict[str, ImageCommand] = {}
        self._unusable: dict[str, Unavailable] = {}
        self._failed: dict[tuple[Repository, str, str], Unavailable] = {}
        self._flaws: dict[tuple[Repository, str, str], str | None] = {}
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

    def _open(self, question: Question, among: Collection[str]) -> Iterator[str]:
        """Signers among these that may still answer a question."""
        repository, (digest, signers) = question
        for any_of in signers:
            if not any(self._is_good(repository, digest, name) for name in any_of):
                yield from (name for name in any_of if name in among)

    # -- keys

    def ask_registries(self, questions: Collection[Question], registries: Registries) -> None:
        """Fetch the signatures of what keys may prove."""
        wanted: dict[ImageDigest, dict[str, None]] = {}
        for question in questions:
            names = dict.fromkeys(self._open(question, self._keys))
            if names:
                repository, (digest, _) = question
                wanted.setdefault((repository, digest), {}).update(names)
        if not wanted:
            return

        def fetch(repository: Repository, digest: str) -> Found:
            about = [q for q in questions if q[0] == repository and q[1][0] == digest]

            def suffices(found: Found) -> bool:
                return all(self._proven(question, found) for question in about)

            return self._signatures.source.fetch(repository, digest, suffices)

        for (repository, digest), answer in registries.signatures(list(wanted), fetch).items():
            for name in wanted[(repository, digest)]:
                self._take(repository, digest, name, answer)

    def _proven(self, question: Question, found: Found) -> bool:
        """Whether what was found is all that a question needs of registries."""
        _, (digest, _) = question
        names = set(self._open(question, self._keys))
        good = {name for name in names if check_all(found, self._keys[name].key, digest).is_good}
        return all(good.intersection(any_of) for any_of in question[1][1] if names.intersection(any_of))

    def _take(self, repository: Repository, digest: str, name: str, answer: Found | Unavailable) -> None:
        if isinstance(answer, Unavailable):
            self._failed[(repository, digest, name)] = answer
            return
        checked = check_all(answer, self._keys[name].key, digest)
        if checked.is_good:
            self._signatures.remember(self._proof(repository, digest, name))
        else:
            self._flaws[(repository, digest, name)] = checked.flaw

    # -- commands

    def ask_commands(self, questions: Collection[Question], registries: Registries) -> None:
        """Run the commands that may prove what no key did, within the time that the cycle has left."""
        running: dict[tuple[Repository, str, str], Future[Ended]] = {}
        for question in questions:
            repository, (digest, _) = question
            for name in self._open(question, self._commands):
                answer = self._signatures.run(self._commands[name], repository, digest)
                running[(repository, digest, name)] = answer
        wait(running.values(), timeout=max(0.0, registries.left))
        for about, answer in running.items():
            self._take_command(about, answer)

    def _take_command(self, about: tuple[Repository, str, str], answer: Future[Ended]) -> None:
        repository, digest, name = about
        if not answer.done():
            late = reason("signature/late", key=name, image=repository, digest=digest)
            self._failed[about] = Unavailable(late, waiting=True)
            return
        self._signatures.took(self._commands[name], repository, digest)
        try:
            ended = answer.result()
        except CheckError as error:
            self._failed[about] = Unavailable(error.reason)
            return
        if ended.code == 0:
            self._signatures.remember(self._proof(repository, digest, name))
        else:
            words = ended.words or "it says nothing"
            self._flaws[about] = f"its command ended with {ended.code}: {words}"

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
                flaws = (self._flaws.get((repository, digest, name)) for name in any_of)
                return Signature(now, False, any_of, next(filter(None, flaws), None))
            missing = missing or unknown[0]
        return missing or Signature(now, True)

    def _unknown(self, repository: Repository, digest: str, name: str) -> Unavailable | None:
        return self._unusable.get(name) or self._failed.get((repository, digest, name))


def _read_key(signer: KeyFile) -> _Key:
    pem = read_key(signer.name, signer.path)
    try:
        return _Key(parse_key(pem), hashlib.sha256(pem).hexdigest())
    except ValueError as error:
        raise unusable_key(signer.name, signer.path, str(error)) from None
