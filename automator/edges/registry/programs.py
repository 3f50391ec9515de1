"""Programs: Docker's credential helpers, each run within bounds.

What belongs here: one question to one helper, through the docker package (`docker.credentials`), whose
own way of running them has no time limit and hands the helper our stderr. Here a helper runs in a
session of its own, says at most so much for at most so long, and is killed with its children when it
says more or takes longer. Protocol: docker-credential-helpers, `get` (server on stdin, JSON on stdout).
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shutil
import subprocess
import time
from typing import IO, Any

from automator.edges import processgroup
from automator.edges.registry.credentials import HUB, Credential, credential, unusable
from automator.errors import RegistryError
from automator.reasons import one_line, reason

HUB_KEY = "https://index.docker.io/v1/"  # the name that Docker's own tools give to the Hub
ANSWER_LIMIT = 1024 * 1024
WORDS_LIMIT = 120
LOOK_EVERY = 0.25  # seconds after which a helper is seen to have ended although its stdout is still held

# Docker's own words, and those of keychains that helpers pass on.
_NOT_FOUND = re.compile(
    r"credentials not found|(?:item|element|entry|secret|credentials?)\b[^\n]{0,60}\bnot (?:be )?found"
    r"|no (?:matching |stored )?credentials? (?:for|found|stored|in)",
    re.IGNORECASE,
)
_SECRETIVE = re.compile(r"(?=\S*[0-9])(?=\S*[A-Za-z])[^\s/.:]{16,}|\S{40,}")
"""A word that may be a secret: long, with letters and digits, and no path, host or address."""


_TELLING = re.compile(r"[{}]|secret|passw|token|bearer|basic|authori[sz]ation|://\S*@", re.IGNORECASE)
"""Words beside which a secret may stand."""


def is_installed(helper: str) -> bool:
    """Whether `docker-credential-HELPER` is on PATH."""
    return shutil.which(f"docker-credential-{helper}") is not None


def ask_helper(helper: str, host: str, seconds: float) -> Credential | None:
    """What `helper` knows of `host`; None where it knows nothing.

    Raises RegistryError (`credentials/helper`) where it fails, talks nonsense, or does not answer
    within `seconds`; nothing of it is left running then.
    """
    from docker.credentials.errors import CredentialsNotFound, StoreError

    try:
        answer = _store(helper, seconds).get(HUB_KEY if host == HUB else host)
    except _Unbounded as e:
        raise failed(helper, host, str(e), retry=True) from None
    except CredentialsNotFound:
        return None
    except StoreError as e:
        words = str(e)
        if _NOT_FOUND.search(words):
            return None
        raise failed(helper, host, _told(words), retry=True) from None
    except Exception:  # noqa: BLE001 - the docker package lets JSON, key and decoding errors through
        # Not chained: the error's text may quote the answer, and the answer holds the secret.
        raise failed(helper, host, "its answer is not Docker's JSON", retry=True) from None
    return _read(helper, host, answer)


def failed(helper: str, host: str, problem: str, *, retry: bool) -> RegistryError:
    return RegistryError(reason("credentials/helper", helper=helper, host=host, problem=problem), retry=retry)


def _read(helper: str, host: str, answer: Any) -> Credential | None:
    username, secret = answer.get("Username"), answer.get("Secret")
    if not isinstance(username, str) or not isinstance(secret, str):
        raise failed(helper, host, "its answer lacks Username or Secret", retry=True)
    found = credential(username, secret)
    if (problem := unusable(found)) is not None:
        raise failed(helper, host, f"of its answer {problem}", retry=True)
    return found if found.secret else None


def _told(words: str) -> str:
    """A failed helper's words, as far as they cannot be a secret."""
    # docker: `Credentials store docker-credential-x exited with "the words".`
    _, quoting, quoted = words.partition(' exited with "')
    quoted = quoted.removesuffix('".') if quoting else words
    if not quoted.strip() or _TELLING.search(quoted):
        return "it ended with an error; its words may hold a secret and are not told"
    return one_line(_SECRETIVE.sub("***", quoted), WORDS_LIMIT)


# -- a helper's process ---------------------------------------------------------------------------


class _Unbounded(Exception):
    """A helper said too much or took too long, and was killed."""


def _store(helper: str, seconds: float) -> Any:
    """docker's store, running its program by our means. Imported late: docker takes 100 ms."""
    from docker.credentials import Store
    from docker.credentials.errors import StoreError, process_store_error

    class BoundedStore(Store):  # type: ignore[misc]
        def _execute(self, subcmd: str, data_input: bytes) -> bytes:
            try:
                code, output = _run([self.exe, subcmd], data_input, seconds)
            except OSError as e:
                raise StoreError(f"it cannot be started: {e.strerror}") from e
            if code != 0:
                error = subprocess.CalledProcessError(code, self.program, output)
                raise process_store_error(error, self.program)
            return output

    return BoundedStore(helper)


def _run(command: list[str], asked: bytes, seconds: float) -> tuple[int, bytes]:
    """Exit code and stdout of a program. Raises OSError, and _Unbounded once it is killed."""
    ends_at = time.monotonic() + seconds
    process = subprocess.Popen(  # noqa: S603 - the operator's Docker config names it
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # helpers log there, secrets too
        start_new_session=True,
    )
    with process:  # closes the pipes
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError):  # some answer without reading
                process.stdin.write(asked)
                process.stdin.close()
            output = _read_all(process, process.stdout, ends_at)
            code = process.wait(max(0.0, ends_at - time.monotonic()))
        except (_Unbounded, subprocess.TimeoutExpired):
            _end(process)
            late = time.monotonic() >= ends_at
            problem = f"no answer in {seconds:g} seconds" if late else f"more than {ANSWER_LIMIT} bytes"
            raise _Unbounded(f"{problem}, so it was killed") from None
        except BaseException:
            _end(process)
            raise
    processgroup.leave(process.pid)  # an agent that it started may stay
    return code, output


def _read_all(process: subprocess.Popen[bytes], stdout: IO[bytes], ends_at: float) -> bytes:
    """What comes until stdout's end, or until the helper ended while a child of it holds stdout."""
    output = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        while (left := ends_at - time.monotonic()) > 0:
            if selector.select(min(left, LOOK_EVERY)):
                chunk = os.read(stdout.fileno(), 65536)
                output += chunk
                if not chunk:
                    return bytes(output)
                if len(output) > ANSWER_LIMIT:
                    raise _Unbounded
            elif process.poll() is not None:
                return bytes(output)
    raise _Unbounded


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole session that the helper began, itself and its children."""
    processgroup.kill(process.pid)
    process.wait()
    processgroup.collect(process.pid)
