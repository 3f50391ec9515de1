"""Writes what automator needs at run time as a CycloneDX 1.5 document: the same lock, the same bytes.

`python -m deploy.supply.sbom`, by `make sbom`. Names, versions, hashes and who needs whom are the lock's.
Licences are left out: a lock has none, and what happens to be installed here is no source.
Specification: CycloneDX 1.5, JSON; package URLs of type `pypi`.
"""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from pathlib import Path
from typing import Any

from automator import __version__
from deploy.supply.lockfile import ITSELF, ROOT, BadLock, Pin, read_lock

LOCK = ROOT / "locks" / "runtime.txt"


def bill(pins: tuple[Pin, ...]) -> dict[str, Any]:
    """The document of a lock's packages, with automator as what they are components of."""
    itself = _itself()
    components = [_component(pin) for pin in sorted(pins)]
    edges = [{"ref": itself["bom-ref"], "dependsOn": _needs(ITSELF, pins)}]
    edges += [{"ref": _purl(pin), "dependsOn": _needs(pin.name, pins)} for pin in sorted(pins)]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": itself},
        "components": components,
        "dependencies": edges,
    }
    # A number of its own for each content, and no clock: whoever makes it again gets the same file.
    content = json.dumps(document, sort_keys=True)
    document["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, content).urn
    return document


def _itself() -> dict[str, Any]:
    purl = f"pkg:pypi/{ITSELF}@{__version__}"
    licence = [{"license": {"id": "Apache-2.0"}}]
    return {
        "type": "application", "bom-ref": purl, "name": ITSELF, "version": __version__,
        "licenses": licence, "purl": purl,
    }  # fmt: skip


def _component(pin: Pin) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": _purl(pin),
        "name": pin.name,
        "version": pin.version,
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in sorted(pin.hashes)],
        "purl": _purl(pin),
    }
    if pin.marker is not None:
        component["properties"] = [{"name": "automator:installed-where", "value": pin.marker}]
    return component


def _purl(pin: Pin) -> str:
    return f"pkg:pypi/{pin.name}@{pin.version.replace('+', '%2B').replace('!', '%21')}"


def _needs(name: str, pins: tuple[Pin, ...]) -> list[str]:
    return sorted(_purl(pin) for pin in pins if name in pin.wanted_by)


def main(arguments: list[str]) -> int:
    """Write the document; returns 0, or 2 where the lock cannot be read or the file not written."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.supply.sbom", description="Write the SBOM of a lock."
    )
    parser.add_argument("--lock", type=Path, default=LOCK)
    parser.add_argument("--output", type=Path, help="a file; standard output by default")
    options = parser.parse_args(arguments)
    try:
        text = json.dumps(bill(read_lock(options.lock)), indent=2, sort_keys=True) + "\n"
        if options.output is None:
            sys.stdout.write(text)
        else:
            options.output.parent.mkdir(parents=True, exist_ok=True)
            options.output.write_text(text)
    except (BadLock, OSError) as error:
        sys.stderr.write(f"no SBOM: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
