"""Reads the config: one TOML file, then AUTOMATOR_… variables over it, checked as a whole."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, time
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource

from automator.config.repos import RepoConfig
from automator.config.sections import PREFIX, Config, FlawedRules
from automator.config.values import Misspelt, shown_name
from automator.core.guardrails import Flaw
from automator.errors import ConfigError
from automator.reasons import Reason, reason

DEFAULT_FILE = "config.toml"

_Location = tuple[str | int, ...]

_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[^/]+:")
_LONGEST_TOLD = 16
"""Characters of a wrong value that is told: enough for a word or number that is misspelt."""
_TOML_IN_OUR_WORDS = {
    "Cannot declare": "a table stands there twice",
    "Cannot mutate immutable namespace": "this adds to a table that is complete",
    "Cannot redefine namespace": "this adds to a table that is complete",
    "Duplicate inline table key": "a key stands twice in an inline table",
}
"""What the library says by quoting names, which may hold a login."""


def config_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Which file `load` reads: `path`, else AUTOMATOR_CONFIG, else config.toml here if it exists."""
    named = environ.get(f"{PREFIX}CONFIG")
    if path is None and named:
        path = Path(named)
    if path is None:
        return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).is_file() else None
    return path


def load(path: Path | None, environ: Mapping[str, str], *, require_repos: bool = True) -> Config:
    """Read the config: `path` (else AUTOMATOR_CONFIG, else config.toml), then the environment.

    Relative paths are taken from the config file's folder. Without `require_repos` a config that
    names no config repo, or no config at all, is fine (`tags IMAGE` needs none).

    Raises ConfigError (`config/missing`, `config/toml`, `config/key`, `config/together`,
    `config/unknown-key`, `config/no-repos`). Where several keys are wrong, the others are notes of the error.
    """
    file = config_file(path, environ)
    table = {} if file is None else _read(file)
    variables = _Variables(Config, environ)()
    config = _validated(file, table, variables, environ)
    if require_repos and not config.repos:
        if file is None:
            raise ConfigError(reason("config/missing", file=Path(DEFAULT_FILE).absolute()))
        raise ConfigError(reason("config/no-repos", file=file))
    folder = (file.parent if file is not None else Path()).absolute()
    anchored: Config = _anchored(config, folder)
    in_file = file is not None and "rules" not in variables
    anchored._origin = file.name if file is not None and in_file else f"the environment ({PREFIX}RULES)"
    return anchored


class _Variables(EnvSettingsSource):
    """AUTOMATOR_… variables of a given environment, nested by `__`."""

    def __init__(self, settings: type[BaseSettings], environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._environ.items()}


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(reason("config/missing", file=file)) from None
    except OSError as error:
        raise ConfigError(reason("config/unreadable", file=file, problem=error.strerror)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(reason("config/toml", file=file, line=1, problem="not UTF-8")) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a plain ValueError
        line, problem = _toml_trouble(error)
        # Not chained, as whoever logs the chain tells the library's own words.
        raise ConfigError(reason("config/toml", file=file, line=line, problem=problem)) from None


def _toml_trouble(error: Exception) -> tuple[str, str]:
    """The line, and what is wrong there, without what is written there."""
    if isinstance(error, RecursionError):
        return "somewhere", "it is nested too deeply"
    if not isinstance(error, tomllib.TOMLDecodeError):
        return "somewhere", "a number is too long"
    words, _, place = str(error).rpartition(" (at ")
    line = re.match(r"line (\d+), column", place)
    own = (told for begin, told in _TOML_IN_OUR_WORDS.items() if words.startswith(begin))
    return line[1] if line else "the last", next(own, words)


def _validated(
    file: Path | None, table: dict[str, Any], variables: dict[str, Any], environ: Mapping[str, str]
) -> Config:
    where = str(file) if file is not None else "the environment"
    # `Config(**…)` would take these for arguments of pydantic-settings' own.
    strange = [_unknown(where, (key,)) for key in table if key.startswith("_")]
    strange += _unknown_variables(environ)
    try:
        config = Config(**_merged({k: v for k, v in table.items() if not k.startswith("_")}, variables))
    except ValidationError as error:
        for detail in error.errors():
            strange += _problems(detail, where, variables)
    if not strange:
        return config
    failure = ConfigError(strange[0])
    for other in strange[1:]:
        failure.add_note(other.sentence)
    raise failure


def _merged(table: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(table)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _unknown_variables(environ: Mapping[str, str]) -> list[Reason]:
    # Only nested names: a Kubernetes Service called "automator" puts AUTOMATOR_PORT and the like
    # into every pod of its namespace.
    names = [n for n in environ if n.upper().startswith(PREFIX) and "__" in n]
    strange = []
    for name in sorted(names):
        section = name[len(PREFIX) :].partition("__")[0].lower()
        where = f"the environment ({shown_name(name)})"
        if section not in Config.model_fields:
            strange.append(_unknown(where, (section,)))
        elif section == "rules":  # a list has no names below it
            hint = f"all rules stand in {PREFIX}RULES together, as JSON"
            strange.append(reason("config/unknown-key", file=where, key=shown_name(name), hint=hint))
    return strange


def _problems(detail: Any, where: str, variables: Mapping[str, Any]) -> Iterator[Reason]:
    """What one finding of the models is about: usually one key."""
    error = detail.get("ctx", {}).get("error")
    if isinstance(error, FlawedRules):
        variable = _variable(variables, ("rules",))
        yield from (_flaw(flaw, variable or where) for flaw in error.flaws)
        return
    where = _variable(variables, detail["loc"]) or where
    if detail["type"] == "extra_forbidden":
        yield _unknown(where, detail["loc"])
        return
    key, expected = _key(detail["loc"]) or "the config", _expected(detail, detail["loc"])
    of_several = detail["type"] == "value_error" and isinstance(detail["input"], Mapping | BaseModel)
    if of_several and key != "rules":  # which is itself a table where a list of tables belongs
        yield reason("config/together", file=where, key=key, expected=expected)
        return
    yield reason("config/key", file=where, key=key, expected=expected, found=_found(detail))


def _flaw(flaw: Flaw, where: str) -> Reason:
    quoted = re.match(r"""(["`])(?P<text>.*)\1""", flaw.found, re.DOTALL)
    found = flaw.found if quoted is None or _is_short(quoted["text"]) else "something else"
    return reason("config/key", file=where, key=flaw.key, expected=flaw.expected, found=found)


def _unknown(where: str, location: _Location) -> Reason:
    key, name = _key(location), str(location[-1])
    known = _keys_beside(location)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
    return reason("config/unknown-key", file=where, key=key, hint=hint)


_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "text in quotes",
    "string_too_short": "text that is not empty",
    "model_type": "a table",
    "dict_type": "a table",
    "tuple_type": 'a list of texts such as ["apps/**"]',
    "path_type": "a path",
}


def _expected(detail: Any, location: _Location) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    match kind:
        case "value_error":
            return str(context["error"])
        case "greater_than_equal":
            return f"a number of at least {context['ge']}"
        case "less_than_equal":
            return f"a number of at most {context['le']}"
        case "literal_error":
            return str(context["expected"])
        case "missing":
            return "this key: " + _sentence(location).rstrip(".")
    return _EXPECTED.get(kind, str(detail["msg"]))


_OF_FEW_WORDS = re.compile(
    r"(?:bool|int|float|finite_number|literal|enum|greater_than|less_than)(?:_\w+)?", re.ASCII
)
"""Types of errors about values that are numbers, choices, or true and false."""


def _found(detail: Any) -> str:
    """What stands there: its kind, or itself where no secret belongs there and none can be.

    A secret often stands where the config wants a table, the path of a file, or an address.
    """
    value, kind = detail["input"], detail["type"]
    if kind == "missing":
        return "nothing"
    if isinstance(value, bool) or value in ("", [], ()):
        return json.dumps(value)
    is_of_few_words = _OF_FEW_WORDS.fullmatch(kind) or isinstance(
        detail.get("ctx", {}).get("error"), Misspelt
    )
    if is_of_few_words and isinstance(value, str | int | float) and _is_short(str(value)):
        return json.dumps(value, ensure_ascii=False)
    return _kind_of(value, "text" if kind.endswith("_type") else "other text")


def _is_short(text: str) -> bool:
    return len(text) <= _LONGEST_TOLD and "@" not in text


def _kind_of(value: object, text: str) -> str:
    match value:
        case Mapping() | BaseModel():
            return "a table"
        case list() | tuple():
            return "a list"
        case str():
            return text
        case int() | float():
            return "a number"
        case date() | time():  # a moment is a date
            return "a date or time"
    return "something else"


def _key(location: _Location) -> str:
    """`repos.shop.url`, `rules[0].images[1]`; of a name that has a login in it, what follows that."""
    key = ""
    for part in location:
        part = part if isinstance(part, int) else shown_name(part)
        name = part if isinstance(part, int) or re.fullmatch(r"[\w-]+", part) else f'"{part}"'
        key += f"[{name}]" if isinstance(part, int) else f".{name}"
    return key.removeprefix(".")


def _variable(variables: Any, location: _Location) -> str | None:
    """The variable that said what stands at a location, or within which it stands."""
    walked: list[str] = []
    for part in location:
        if isinstance(variables, str):
            break
        if not isinstance(variables, Mapping) or part not in variables:
            return None
        walked.append(shown_name(str(part)))
        variables = variables[part]
    return f"the environment ({PREFIX}{'__'.join(walked).upper()})" if walked else None


def _sentence(location: _Location) -> str:
    model = _model_at(location[:-1])
    described = model.model_fields[str(location[-1])].description if model is not None else None
    return described or "a value"


def _keys_beside(location: _Location) -> list[str]:
    model = _model_at(location[:-1])
    return sorted(model.model_fields) if model is not None else []


def _model_at(location: _Location) -> type[BaseModel] | None:
    here: type[BaseModel] = Config
    parts = iter(location)
    for part in parts:
        field = here.model_fields.get(str(part))
        below = next(models_in(field.annotation), None) if field is not None else None
        if field is None or below is None:
            return None
        if get_origin(field.annotation) in (dict, tuple):
            next(parts, None)  # the name of a config repo or a host, the number of a rule
        here = below
    return here


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every section that a field's annotation mentions: `dict[str, RepoConfig]`, `X | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def _anchored(value: Any, folder: Path) -> Any:
    """`value` with every relative path, and every `url` that is one, taken from `folder`."""
    if isinstance(value, BaseModel):
        changed = {name: _anchored(getattr(value, name), folder) for name in type(value).model_fields}
        if isinstance(value, RepoConfig) and not _REMOTE.match(value.url):
            changed["url"] = str(_anchored(Path(value.url), folder))
        return value.model_copy(update=changed)
    if isinstance(value, dict):
        return {name: _anchored(below, folder) for name, below in value.items()}
    if isinstance(value, tuple):
        return tuple(_anchored(part, folder) for part in value)
    return folder / value.expanduser() if isinstance(value, Path) else value
