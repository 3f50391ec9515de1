"""Reasons: why a workload is where it is, as typed values with stable codes.

Every outcome and every error carries one `Reason`. The table `CODES` is the only list of codes;
`automator explain CODE` prints a row of it, and the suite fails on a code that nothing uses or a
reason without a code. This module is ground: it imports nothing of automator.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache

LINE_LIMIT = 200


class Status(StrEnum):
    """The five outcomes a workload can have (DESIGN promise 5)."""

    RELEASED = "released"
    CURRENT = "current"
    WAITING = "waiting"
    HELD = "held"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Code:
    """One row of the table: what a code means, whoever raises it."""

    code: str
    sentence: str
    """Template over the reason's parameters, `str.format` fields only."""
    next_step: str
    """What a person does about it; template over the same parameters."""
    meaning: str
    """A paragraph for `explain CODE`."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A typed "because": code, parameters, and the time at which the answer changes by itself."""

    code: str
    params: tuple[tuple[str, str], ...] = ()
    changes_at: datetime | None = None

    @property
    def sentence(self) -> str:
        return CODES[self.code].sentence.format_map(dict(self.params))

    @property
    def next_step(self) -> str:
        return CODES[self.code].next_step.format_map(dict(self.params))

    def __str__(self) -> str:
        return self.sentence


def one_line(text: object, limit: int = LINE_LIMIT) -> str:
    """`text` as one line of at most `limit` characters without control characters.

    Registry answers, file contents and server words are untrusted: this is what they pass before
    they reach a log, an error or a commit.
    """
    whole = str(text)
    if not whole.isprintable():
        whole = "".join(c if c.isprintable() else " " for c in whole)
    flat = " ".join(whole.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def reason(code: str, *, changes_at: datetime | None = None, **params: object) -> Reason:
    """Make a reason, refusing at once a code or a parameter that the table does not know.

    Raises KeyError for an unknown code, or for parameters other than the ones the code's
    templates use: both are bugs, and the suite makes every reason once.
    """
    wanted = _parameters(code)
    if wanted != params.keys():
        raise KeyError(f"reason {code} takes {sorted(wanted)}, not {sorted(params)}")
    return Reason(code, tuple((k, one_line(v, 400)) for k, v in params.items()), changes_at)


@cache
def _parameters(code: str) -> frozenset[str]:
    row = CODES[code]
    return frozenset(_fields(row.sentence) | _fields(row.next_step))


def _fields(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def _table(*rows: Code) -> dict[str, Code]:
    table = {row.code: row for row in rows}
    if len(table) != len(rows):
        raise ValueError("a reason code stands twice in the table")
    return table


CODES: dict[str, Code] = _table(
    # -- the config ---------------------------------------------------------------------------
    Code(
        "config/missing",
        "there is no config file {file}",
        "`automator init` writes one; or name another file with --config or AUTOMATOR_CONFIG",
        "The config comes from --config, else AUTOMATOR_CONFIG, else config.toml in the current folder, and "
        "from AUTOMATOR_… variables; here none of them says anything.",
    ),
    Code(
        "config/unreadable",
        "{file} cannot be read: {problem}",
        "let the user that runs automator read the file",
        "The config file exists, but the operating system does not let automator read it.",
    ),
    Code(
        "config/toml",
        "{file}:{line}: not valid TOML: {problem}",
        "mend that line; texts stand in quotes, tables in [brackets]",
        "The config file is not valid TOML, so nothing of it is used.",
    ),
    Code(
        "config/key",
        "{file}: {key}: expected {expected}, found {found}",
        "change it; config.example.toml explains every key",
        "A key of the config, or a variable that overrides it, has a value that cannot be used.",
    ),
    Code(
        "config/together",
        "{file}: {key}: expected {expected}",
        "add or change what it names; config.example.toml explains every key",
        "Settings of the config that are fine one by one do not go together, or one needs another.",
    ),
    Code(
        "config/unknown-key",
        "{file}: {key} is no key of the config; {hint}",
        "correct or remove it; config.example.toml explains every key",
        "Unknown keys are errors, because a misspelt one would silently leave a default in force.",
    ),
    Code(
        "config/file",
        "{key}: the file {file} cannot be used: {problem}",
        "let the user that runs automator read the file, or name another one",
        "Files of secrets and certificates are read when they are used, so that they may be exchanged at any "
        "time; `check --only-config` reads them all.",
    ),
    Code(
        "config/clear-text",
        "{key}: a login goes to {address} in clear text",
        "use https, or ssh for a config repo; within one cluster, make sure that nobody reads along",
        "The address begins with `http://`, and a password or token of the config is sent there: whoever is "
        "on the way can read it, and use it. Allowed, since a server inside of a cluster may have nothing "
        "else. It is told by a start, a reload, `once` and `check --only-config`.",
    ),
    Code(
        "config/open-file",
        "{key}: everybody on this machine may {access} the file {file}",
        "take that right from others with chmod (o= for a secret, o-w for another file), or mount it so",
        "A file that holds a secret is for the user that runs automator alone, and one that says whom to "
        "believe is for few to write. This one's mode lets everybody in, and no folder above it keeps them "
        "out. It is used all the same. It is told by a start, a reload, `once` and `check --only-config`.",
    ),
    Code(
        "config/no-repos",
        "{file} names no config repo",
        "add a table [repos.NAME] with its `url`",
        "Without a config repo there is nothing to watch and nowhere to write.",
    ),
    # -- the state folder ---------------------------------------------------------------------
    Code(
        "state/unusable",
        "the state folder {folder} cannot be used: {problem}",
        "make the folder writable for the user that runs automator, or set `state` to another one",
        "Clones and the local database live in the state folder, which must be writable and have space left.",
    ),
    Code(
        "state/locked",
        "the state folder {folder} is in use by {holder}",
        "stop the other automator, or give this one another `state` folder",
        "Two automators must not share a state folder; a lock, which ends with its process, sees to it.",
    ),
    Code(
        "state/newer",
        "{file} was written by a newer automator (format {found}, this one reads {known})",
        "run the newer automator, or delete the file: only waiting times start again",
        "An older program does not touch a database whose format it does not know.",
    ),
    Code(
        "state/damaged",
        "{file} was damaged ({problem}); it is kept as {kept} and a new one begun",
        "nothing to do; `min_age` counts from now on again, and tags are looked up once more",
        "The local database may be lost at any time: that can delay a release and never causes one.",
    ),
    Code(
        "state/sites-damaged",
        "the sites of {repo} that were kept in {file} cannot be read; its files are parsed again",
        "nothing to do; if it comes again, look after the disk",
        "What was found in files is kept, so that a restart need not parse them all again. What cannot be "
        "read there is made anew from the config repo, at the cost of some time.",
    ),
    # -- the daemon ---------------------------------------------------------------------------
    Code(
        "daemon/listen",
        "cannot listen on {address}: {problem}",
        "stop what listens there, or change daemon.listen in the config",
        "The address for /healthz, /readyz and /metrics is taken or is not one of this machine.",
    ),
    Code(
        "daemon/bug",
        "the cycle of {repo} broke off: {error}",
        "report it with the lines around this one; the next cycle comes as planned",
        "A bug of automator: an error that it does not know ended a cycle. Nothing was half written.",
    ),
    Code(
        "daemon/late",
        "the cycle of {repo} takes longer than its interval",
        "raise the interval, or find out what is slow",
        "A cycle was still running when the next was due; that one is left out, and cycles never overlap. "
        "Told once for each such cycle.",
    ),
    Code(
        "daemon/crowded",
        "no thread for every cycle that is due: {why}",
        "see which Git servers hang, or raise the limit of tasks (`TasksMax`, `pids_limit`, `ulimit -u`)",
        "A cycle has a thread and up to three processes of git, of which the system permits only so many. "
        "What waits begins as soon as there is room, first come, first served. Told once, until none "
        "waits. See docs/operations.md, Sizes.",
    ),
    Code(
        "daemon/cut-off",
        "the cycle of {repo} did not end within {limit} and was left behind",
        "nothing to do: a push is either done or not; raise daemon.stop_timeout to wait longer",
        "The daemon was told to stop and a running cycle took longer than daemon.stop_timeout.",
    ),
    Code(
        "daemon/stuck",
        "the cycle of {repo} has been running for {time}: the git processes at work for it are ended",
        "read the stack in the log; if the next cycle is stuck too, report it",
        "A cycle outlasted daemon.stuck_after, although everything it waits for has a time limit of its own.",
    ),
    Code(
        "daemon/impatient",
        "a git step of {repo} may take {timeout}, but its cycle is taken for stuck after {limit}",
        "raise daemon.stuck_after well above the config repo's timeout, or lower that",
        "What repos.NAME.timeout permits, as a long first clone, is ended by the watchdog "
        "(daemon.stuck_after).",
    ),
    Code(
        "daemon/gave-up",
        "the cycle of {repo} did not end for {time} after its processes were ended: exit with code 4",
        "have the supervisor start it again; report it with the stack in the log",
        "A cycle that is stuck in automator itself ends only with the process (daemon.give_up_after).",
    ),
    Code(
        "daemon/state-hangs",
        "the state folder could not be closed within {limit} and was left as it is",
        "look at the disk that `state` is on; the next start goes on where this process ended",
        "The daemon was told to stop and all cycles had ended, but a write to the state folder hung, as on a "
        "network disk that is away. Nothing that matters is lost: it is in Git.",
    ),
    Code(
        "reload/done",
        "the new config is used; changed: {changed}",
        "nothing to do",
        "The file of the config changed, or SIGHUP came; what the new one changes was built anew.",
    ),
    Code(
        "reload/refused",
        "the new config is not used, the old one stays: {problem}",
        "mend what it names; the config is read again when its file changes, at SIGHUP, and each half minute "
        "where what is wrong is not in the file",
        "The config was read again, and is broken, or cannot be used as things are (a full disk, an address "
        "that is taken). automator goes on with the one that it has.",
    ),
    Code(
        "reload/fixed",
        "{key} cannot change while automator runs",
        "start automator again, or take the change back",
        "Some settings hold for the life of a process, as the folder that it has locked.",
    ),
    Code(
        "reload/busy",
        "the cycle of {repo} did not end within {limit}",
        "nothing to do: it is tried again when that cycle has ended",
        "What a changed config builds anew must not be at work meanwhile. Other config repos go on by the "
        "old one.",
    ),
    Code(
        "reload/no-cycles",
        "no cycle runs: the new config could not be opened, nor the old one again: {problem}",
        "mend what it names; it is tried again every few seconds",
        "Cycles were ended for a changed config, and then neither could be opened, as where a disk turned "
        "read-only. /healthz is red meanwhile.",
    ),
    # -- outcomes of the decision -----------------------------------------------------------
    Code(
        "current/newest",
        "{current} is the newest that {rule} allows, of {count} tags",
        "nothing to do",
        "No tag that passes the policy is newer than the version in the config repo.",
    ),
    Code(
        "released/pushed",
        "{before} -> {after} in {commit}",
        "nothing to do",
        "The release was committed and the push landed on the branch.",
    ),
    Code(
        "released/rolled-back",
        "{before} -> {after} in {commit}, since {why}",
        "see what was wrong; a newer version is released as usual",
        "A check failed after a release, and `on_failure: rollback` has the version before put back.",
    ),
    Code(
        "waiting/planned",
        "{before} -> {after} would be released",
        'run `automator once` to release it, or set `mode` to "write"',
        'A release is ready, but this run only plans: `plan`, or a config repo with `mode = "observe"`.',
    ),
    Code(
        "waiting/first-look",
        "the tags of {image} have not been listed yet",
        "wait: the first cycle is running",
        "Shown from the moment the config repo was read until registries have answered for the first time.",
    ),
    Code(
        "waiting/limit",
        "{after} waits: {limit} releases are made in one cycle (max_releases_per_cycle)",
        "wait for the next cycle, or raise max_releases_per_cycle",
        "`max_releases_per_cycle` keeps an adoption from being an avalanche; the rest follows cycle by "
        "cycle.",
    ),
    # -- YAML text ---------------------------------------------------------------------------
    Code(
        "yaml/unparsable",
        "does not parse as YAML at line {line}: {problem}",
        "mend the file, or list it under `ignore` in the config",
        "The file is not valid YAML, so no site in it can be located; sites of other files are not affected.",
    ),
    Code(
        "yaml/too-deep",
        "is nested deeper than {limit} levels at line {line}",
        "list the file under `ignore` in the config",
        "Nesting is bounded, so that a hostile file cannot exhaust the daemon.",
    ),
    Code(
        "yaml/too-large",
        "has {size} characters; files over {limit} are not read",
        "list the file under `ignore` in the config",
        "File sizes are bounded, so that a hostile or generated file cannot exhaust the daemon.",
    ),
    # -- sites -----------------------------------------------------------------------------------------
    Code(
        "site/alias-shared",
        "{field} (line {line}) shares its value with other places through an anchor ({uses} in all)",
        "give all of them to one workload, write the value out in each place, or drop the anchor",
        "An anchored value that is used by an alias stands for several places: a new value would change all "
        "of them, so it is written only if each of them is an image of the same workload.",
    ),
    Code(
        "site/block-scalar",
        "{field} (line {line}) is a block scalar",
        "write the value on one line, quoted or plain",
        "Values spelled with `|` or `>` are not edited: their line breaks are part of the layout.",
    ),
    Code(
        "site/tagged",
        "{field} (line {line}) carries a YAML tag other than !!str",
        "drop the tag",
        "A tag such as `!Ref` or `!!float` gives the text another meaning, so its value is not edited.",
    ),
    Code(
        "site/templated",
        "{field} (line {line}) is filled in by a template",
        "write the tag literally, or let the template's source be the site",
        "A value with `${…}` or `{{ … }}` is made elsewhere; a literal written here would break that.",
    ),
    Code(
        "site/range",
        "{field} (line {line}) is a chart's version, where {tag} would be read as a range",
        "release a version of three parts",
        "Helm and Argo CD take `1.10` for any 1.10.x, so that what runs would not be what was released.",
    ),
    Code(
        "site/no-digest-here",
        "{field} (line {line}) is a chart's version, which takes no digest",
        "set the tag alone (`pin: tag`), or use an OCIRepository, which has a key for the digest",
        "Helm and Argo CD read this field as a version; `1.4.3@sha256:…` would be none.",
    ),
    Code(
        "site/digest-beside",
        "{field} (line {line}) has a digest beside it that cannot move along",
        "write the digest behind the tag (`1.4.3@sha256:…`) or under `digest`, or remove it",
        "A new tag beside the old digest would be a stale pin. Where it is not certain that a digest is this "
        "image's own and stands here alone, nothing is written.",
    ),
    Code(
        "site/merged",
        "{field} (line {line}) is merged (`<<`) into a mapping that names another image",
        "write the version out where the other image is named",
        "A merged version stands for every mapping that it is merged into; one of them is of another image.",
    ),
    Code(
        "site/template-shared",
        "{field} (line {line}) sets the version of several images",
        "give each image a template variable of its own",
        "A template variable that different images use as their version stands for all of them.",
    ),
    Code(
        "site/too-many",
        "{field} (line {line}) is one of {count} places of one image in its file, and {most} is the most",
        "split the file, or let a generator or template name the image once",
        "Every place of an image is followed through the history of its file. Nobody writes a file with so "
        "many of one image; it would take the memory that all others need.",
    ),
    Code(
        "site/escaped",
        "{field} (line {line}) spells its tag with escapes or over several lines",
        "write the value literally on one line",
        "A scalar is edited only where its characters are exactly what it reads as.",
    ),
    Code(
        "site/duplicate-key",
        "{field} (line {line}): the key stands twice in its mapping",
        "remove one of the two",
        "Readers disagree on which of two equal keys counts, so neither is edited.",
    ),
    Code(
        "site/sha-key",
        "{field} (line {line}) has a hash without its algorithm beside its tag",
        "remove `sha`, or pin with `digest` or `tag@sha256:…`",
        "A new tag beside the old hash would leave a stale pin, and a bare hash is not written by automator.",
    ),
    Code(
        "site/unreadable",
        "{field} (line {line}) is neither an image reference nor a tag",
        "mend the value, or `where.field` of the policy",
        "The scalar that a policy names does not read as an image, so it is not edited.",
    ),
    Code(
        "site/empty",
        "{field} (line {line}) has no characters to replace",
        'write a first value, for instance ""',
        "An empty value has no place of its own in the text; automator only replaces what is written.",
    ),
    Code(
        "site/sops",
        "{field} (line {line}) is in a file whose SOPS MAC covers it",
        "take the image out of the encrypted file, or encrypt with `mac_only_encrypted: true`",
        "Changing any value of such a file would break its message authentication code.",
    ),
    Code(
        "site/bad-value",
        "{field}: `{tag}` with digest `{digest}` is no version that can be written",
        "report it with the registry's answer",
        "Only tags and digests of the OCI grammar are written into files, and never an empty value.",
    ),
    Code(
        "site/digest-unknown",
        "{field} (line {line}) needs the digest of {tag}, which is not known",
        "wait until the registry answers for this tag",
        "A new tag beside an old digest would run the old image, so both change together or not at all.",
    ),
    Code(
        "site/moved",
        "{field} (line {line}) no longer holds the value it was found with",
        "nothing to do; the next cycle looks again",
        "The text is not the one the site was located in, and the place does not read the same there.",
    ),
    Code(
        "site/edited-twice",
        "{field} (line {line}) would get two different values",
        "report it as a bug",
        "Two edits of one release aim at the same characters.",
    ),
    Code(
        "site/verify-failed",
        "the edited text does not read as intended from line {line} on",
        "report it as a bug with the file",
        "After each edit the text is parsed again; if anything but the intended values differs, nothing "
        "is committed.",
    ),
    # -- sites that another file tells -----------------------------------------------------------------
    Code(
        "site/sources-differ",
        "{field} (line {line}) depends on `{name}`, which stands for several things: {answers}",
        "give each of them a name or a variable of its own",
        "A chart's HelmRepository, or the use of a Compose variable, stands in another file. Where those "
        "files disagree on what it is, a new value could reach the wrong image, so nothing is written.",
    ),
    Code(
        "site/overridden",
        "{field} (line {line}) has a default for `{name}`, which {file} sets to something that is no version "
        "of its own",
        "write the version literally into {file}, or take the variable out of it",
        "Compose uses a default only where its `.env` does not set the variable; changing one that is not in "
        "force would release nothing.",
    ),
    # -- claims ----------------------------------------------------------------------------------------
    Code(
        "claim/twice",
        "{site} is claimed by {workload} and by {other}",
        "narrow `where` of one of them",
        "Two workloads would write to one place. Both are held until their claims are apart; an invalid "
        "workload keeps its claims.",
    ),
    Code(
        "claim/other-image",
        "{site} holds {found}, not {image}",
        "mend `image`, `where.field` or the comment at the site",
        "A field or a comment gives a place to a workload of another image; a different literal "
        "repository is never overwritten.",
    ),
    Code(
        "claim/field-nothing",
        "no file has a scalar at `{field}`",
        "mend `where.field` or `where.paths`",
        "`where.field` leads to no scalar in any file that the workload may own.",
    ),
    Code(
        "claim/field-twice",
        "`{field}` leads to several places in {file}",
        "pick one item, for instance `images[name=web].newTag`",
        "`where.field` must lead to at most one scalar in a file.",
    ),
    Code(
        "claim/paths",
        "`{pattern}` is no path pattern: {problem}",
        "mend `where.paths`",
        "`where.paths` are gitignore-style globs. Until they can be read, the workload is held and keeps "
        "every site of its image.",
    ),
    Code(
        "claim/unknown-workload",
        "a comment at {site} names the workload {workload}, which no policy file has",
        "mend the comment, or write the policy",
        "`# automator: NAME` gives a site to the workload of that name.",
    ),
    # -- markers ---------------------------------------------------------------------------------------
    Code(
        "claim/comment",
        "the comment on line {line} gives no site to {workload}: {problem}",
        "put it behind an image or its tag, or on the line above at the same indentation",
        "`# automator: NAME` gives the image at which it stands to the workload of that name. Anywhere else "
        "it does nothing.",
    ),
    Code(
        "marker/malformed",
        "the Flux marker on line {line} cannot be read: {problem}",
        "make the whole comment one JSON object that names `namespace:policy`",
        "Flux reads a comment as a marker only if the whole of it is one JSON object that names a policy "
        "with its namespace. Any other is passed over in silence.",
    ),
    Code(
        "marker/alone",
        "the Flux marker on line {line} stands at no value",
        "put it behind the value, or on the line above at the same indentation",
        "A marker is about the value before it on its line, or about the one on the line below. Here there "
        "is none: a key without a value, a mapping, or nothing at all.",
    ),
    Code(
        "marker/text",
        "the Flux marker on line {line} is text of a block scalar, no comment",
        "move the value out of the block scalar, or give it to a workload with `where.field`",
        "Everything inside `|` and `>` is text to YAML, so Flux does not see a marker there and writes "
        "nothing.",
    ),
    Code(
        "marker/long-value",
        "the Flux marker on line {line} stands at a value of several lines",
        "write the value on one line, with the marker behind it",
        "A marker belongs to a value on one line; an image reference never needs more.",
    ),
    Code(
        "marker/misfit",
        "the Flux marker on line {line} wants {wanted}, and stands at {found}",
        "choose the ending that fits (`:tag`, `:name`, `:digest`, none for the whole reference), or move it",
        "Flux writes what the ending of a marker says, whatever stood there: a tag over a whole reference, "
        "or a whole reference over a tag.",
    ),
    Code(
        "marker/unparsable",
        "the Flux marker on line {line} has no effect: the file is no YAML",
        "mend the file, or move the value into one that is plain YAML",
        "Flux leaves out files that it cannot parse, such as Helm templates, and says nothing about it.",
    ),
    Code(
        "marker/top-list",
        "the Flux marker on line {line} has no effect: the document is a list at its top",
        "give the list a key, or release the image with a policy of automator alone",
        "Flux passes over documents that are no mapping. Automator finds images there like anywhere else.",
    ),
    Code(
        "marker/unknown-policy",
        "the Flux marker on line {line} names {policy}, and no ImagePolicy in the config repo is called so",
        "mend the name, or write the ImagePolicy",
        "The config repo holds ImagePolicies of Flux, but none of this name (namespaces are compared where "
        "both are stated). Flux passes over such a marker in silence.",
    ),
    Code(
        "marker/none",
        "no file has a marker of the Flux policy {marker}, which `where.marker` of {workload} names",
        "mend `where.marker`, or write the marker at the image",
        "`where.marker` lets a workload own the sites at which a comment names that Flux policy. No comment "
        "does.",
    ),
    Code(
        "marker/shared",
        "Flux also writes at {site}: its marker names the policy {marker}",
        "remove the marker, or suspend the ImageUpdateAutomation for it",
        "A workload owns this site, and it has a Flux marker too. Two writers with different rules undo each "
        "other's commits.",
    ),
    # -- the decision ----------------------------------------------------------------------------
    Code(
        "site/none",
        "no site in the config repo is owned by {workload}: no file names {image} where the policy looks",
        "check `image` and `where` of {workload}, or add the image to a manifest",
        "A workload without a site has nothing to release to. The repository is watched again as soon "
        "as a file names it.",
    ),
    Code(
        "site/differ",
        "{first} is at {first_version} and {other} at {other_version}: sites that differ are held "
        "before the first release",
        "give each its own workload with `where` ({place}), or set them to the same version",
        "One policy owns sites at different versions, as staging and production often are. Automator "
        "cannot know "
        "whether they are meant to move together, so it waits for a person before the first release.",
    ),
    Code(
        "guard/hold",
        "on hold until {until}: {reason}",
        "remove `hold` at {place}",
        "A person stopped this workload in its policy; nothing is released until the hold is removed or "
        "ends.",
    ),
    Code(
        "guard/freeze",
        "frozen until {until}: {reason}",
        "remove `freeze` at {place}",
        "A person stopped this policy file, or the whole config repo (`_freeze.yaml`); nothing is released "
        "until the freeze is removed or ends.",
    ),
    Code(
        "guard/step",
        "{tag} is more than a {step} step from {current}",
        "widen `step`, or set a version in between by hand",
        "`step` limits how far one release may jump: `patch` keeps major and minor number, `minor` the "
        "major number.",
    ),
    Code(
        "guard/step-unknown",
        "how far {tag} is from {current} cannot be told, and `step` is {step}",
        "set the site to a version that the policy can order, or remove `step`",
        "`step` compares with the current version; one that is no semantic version (`latest`, a commit SHA) "
        "gives nothing to compare with.",
    ),
    Code(
        "guard/min-age",
        "{tag} is {age} old; min_age {min_age}; eligible at {at}",
        "wait, or name the version under `urgent`",
        "`min_age` counts from the time at which automator first saw this digest under this tag, not from "
        "the build: build times can be made up. A tag that is pushed again begins anew.",
    ),
    Code(
        "guard/platforms",
        "{tag} of {image} is not there for {missing} (it is for: {there})",
        "push the missing platforms under the tag, or change `platforms`",
        "Every platform that the policy lists must be in what the registry serves for the tag. In the "
        "first hour after a tag was seen this is asked again in each cycle, since builds push one platform "
        "after the other.",
    ),
    Code(
        "guard/unsigned",
        "{tag} of {image} has no signature by {keys} ({digest})",
        "sign the image: `cosign sign --key … {image}@{digest}`",
        "`signed_by` names keys of the daemon's config; what the registry serves for the tag must be signed "
        "by one of them. In the first hour after a tag was seen this is asked again in each cycle, since "
        "builds sign what they have pushed; then once an hour, and when an event names the image.",
    ),
    Code(
        "guard/bad-signature",
        "{tag} of {image} has a signature, but none that counts for {keys} ({digest}): {problem}",
        "find out who signed it; then sign this digest with the right key",
        "A signature counts when it was made with the key's private half, over exactly this digest. One that "
        "is by another key, of another image, altered or unreadable counts as little as none. Of a command "
        "only the number is told with which it ended: run it by hand to read what it says.",
    ),
    Code(
        "guard/unknown-key",
        "{place}: `signed_by` names {key}, which the daemon's config does not have (it has: {known})",
        "correct the name, or add [keys.{key}] to the config",
        "Policies name keys, the operator defines them under [keys.NAME] in the daemon's config. Without the "
        "key nothing can be verified, so nothing is released.",
    ),
    Code(
        "guard/window",
        "{tag} waits for its time: now is {side} `{window}`; it may be released {opens}",
        "wait, or name the version under `urgent`; the windows stand at {place}",
        "`windows` say when releases may happen. A denied time beats an allowed one; where times are "
        "allowed, one of them must be open.",
    ),
    Code(
        "guard/rejected-digest",
        "{tag} is the digest {digest} now, which a person refused (`reject`)",
        "push the tag again, or remove the digest from `reject`",
        "`reject` names digests as well as versions; what a tag stands for is refused with the digest.",
    ),
    Code(
        "follow/none",
        "no place in the config repo is at the tag {followed} of {image}",
        "set the place that is meant to {followed}, or say under `where` which one it is",
        "A workload that follows a tag and does not say where owns the places that are at this tag.",
    ),
    Code(
        "follow/elsewhere",
        "`follow` is about the tag {followed}, and {place} is at {current}",
        "set the site to {followed}, or change the policy",
        "A followed tag moves only sites that are at that tag; every other version was written on purpose.",
    ),
    Code(
        "current/followed",
        "{current} is what the registry serves for {followed}",
        "nothing to do",
        "The followed tag and the sites have the same digest.",
    ),
    Code(
        "current/moved-digest",
        "at {current}, but the registry serves {digest} for that tag of {image} now",
        "push a new tag for a new image; to go with a moving tag use `follow`",
        "A tag was pushed again after its digest was written into the config repo. That is no release: "
        "what runs stays what was released, until a newer tag comes.",
    ),
    Code(
        "history/downgrade-undone",
        "was moved down to {tag} until {author} set {version} in {commit}",
        "change the policy so that it allows {version}, or list {tag} under `accept`",
        "The policy excludes the current version and permits moving down, but a person undid such a move. "
        "Neither that version nor an older one is moved down to again by itself.",
    ),
    Code(
        "history/digest-left",
        "{tag} is the digest {digest} again, which the site held before and no longer does",
        "list the digest under `accept` ({place}) if it is wanted again",
        "Under `follow` a digest that a site held and left is never taken again by itself: somebody moved "
        "away from it.",
    ),
    Code(
        "group/member-stops",
        "group {group}: {member} stops {tag}: {why}",
        "see {member}; `automator explain {stopped_by}` explains the reason",
        "The members of a group move together or not at all: one that is held, waiting or failed holds all.",
    ),
    Code(
        "group/no-common",
        "group {group}: no newer version is there for every member; {tag} is not",
        "push the version for the others too, or give the members groups of their own",
        "With `match: version` all members go to one version, so it must pass the filters and the range of "
        "every one of them, and be below the current version of none.",
    ),
    Code(
        "facts/too-many-candidates",
        "{limit} newer tags of {image} were looked up, and none passes the guards",
        "narrow the tags with `glob`, `regex` or `semver`, or raise max_lookups",
        "Guards such as `platforms` need to look at a tag. Looking up more than `max_lookups` in one cycle "
        "would spend the registry's budget.",
    ),
    Code(
        "facts/too-many",
        "{count} build times of {image} would have to be looked up; the limit is {limit}",
        "narrow the tags with `glob` or `regex`, or raise max_lookups",
        "`order: newest` needs the build time of every tag that passes the filters. Looking up more than "
        "`max_lookups` in one cycle would spend the registry's budget.",
    ),
    Code(
        "current/undated",
        "the build time of the current tag {current} of {image} is not known",
        "set the site to a tag that the registry has, or choose another order",
        "`order: newest` compares build times; without the current one nothing can be called newer.",
    ),
    Code(
        "current/unorderable",
        "{author} set {place} to {current} after a release, and order {order} cannot compare that",
        "set the site to a version that the policy can order, or hold the workload",
        "A person replaced a released version with one that the policy cannot order (`latest`, a commit "
        "SHA). "
        "Whether a newer version is wanted is then theirs to say.",
    ),
    Code(
        "current/outside",
        "{current} is outside {rule}, and {best}, the best tag inside it, is not newer",
        "widen the policy at {place}, or set an older version by hand",
        "The current version does not pass the policy, and everything that does is older. Automator "
        "never moves down by itself.",
    ),
    Code(
        "tag/none",
        "none of {count} tags of {image} passes {rule}",
        "run `automator explain` on the workload to see which rule drops each tag",
        "The registry answered, but no tag passes the filters and the range.",
    ),
    Code(
        "tag/gone",
        "{tag} is in the tag list of {image}, but the registry has no manifest for it",
        "wait for the push to finish, or push the tag again",
        "A tag without a manifest cannot be pulled, so it is never released.",
    ),
    Code(
        "tag/chosen",
        "{tag} is the best tag that passes every rule",
        "nothing to do",
        "The tag that is released, or would be, where no guard, window or hold stands before it.",
    ),
    Code(
        "tag/current",
        "{tag} is the current version",
        "nothing to do",
        "The highest version among the workload's sites: what every other tag is compared with.",
    ),
    Code(
        "tag/older",
        "{tag} is not newer than the current {current}",
        "nothing to do",
        "Automator never moves a workload to an older version by itself.",
    ),
    Code(
        "tag/lower",
        "{tag} passes, but {chosen} is newer",
        "nothing to do",
        "Of the tags that pass every rule the best is taken.",
    ),
    Code(
        "tag/undated",
        "the build time of {tag} is not known",
        "set org.opencontainers.image.created when building",
        "Under `order: newest` a tag whose image does not say when it was built cannot be ordered, so "
        "it is dropped.",
    ),
    # -- files of the config repo ------------------------------------------------------------------
    Code(
        "file/exists",
        "{file} exists, and nothing was written",
        "move it away, choose another folder with --to, or overwrite it with --force",
        "`init` and `import` overwrite nothing unless they are told to, and never follow a symbolic link.",
    ),
    Code(
        "file/not-written",
        "{file} cannot be written: {problem}",
        "check the folder, its permissions and the room on the disk",
        "A new file is written as a whole, or not at all.",
    ),
    Code(
        "file/symlink",
        "{file} is a symbolic link; automator reads and writes only regular files",
        "put the policy or manifest where the link points, or list the link under `ignore`",
        "A link may point anywhere, so it is never followed and never written.",
    ),
    Code(
        "file/submodule",
        "{file} is a submodule; what is inside belongs to another repository",
        "make the other repository a config repo of its own",
        "Only files of the config repo itself are read and written.",
    ),
    Code(
        "file/unreadable",
        "{file} {problem}",
        "mend the file, or list it under `ignore` in the config",
        "The file could not be read, so no site in it is known. Other files are not affected.",
    ),
    Code(
        "file/too-large",
        "is larger than {limit} bytes",
        "list the file under `ignore` in the config",
        "File sizes are bounded, so that one file cannot exhaust the daemon.",
    ),
    Code(
        "file/binary",
        "is not UTF-8 text",
        "list the file under `ignore` in the config",
        "Only UTF-8 text can be edited byte for byte. Encrypted and binary files are left alone.",
    ),
    Code(
        "policy/broken-file",
        "{file} does not parse; its workloads are held as of its last valid version in Git",
        "run `automator check` and mend {file}",
        "A broken policy file must not free its sites for another policy, nor release under rules "
        "nobody can read.",
    ),
    # -- observing -----------------------------------------------------------------------------------
    Code(
        "registry/late",
        "the registry of {image} has not answered; this cycle waited {seconds} seconds for it",
        "wait; if it stays so, look at the registry or raise daemon.observe_timeout",
        "All looks of a cycle together have daemon.observe_timeout, of which each round of questions gets a "
        "part, so that one slow registry does not delay the releases of others. Who was late before is "
        "waited for a second at most, or not at all. A late answer is used by the next cycle.",
    ),
    Code(
        "registry/not-asked",
        "the tags of {image} have not been listed yet",
        "wait for the next look at the registry",
        "The repository is not due yet and no complete list is remembered.",
    ),
    # -- publishing -----------------------------------------------------------------------------------
    Code(
        "push/refused",
        "the server refused {after}: {words}",
        "mend what the server names; it is tried again when the head or the target changes, or after an hour",
        "The push was rejected for a reason other than a lost race: a hook, a protected branch, a quota.",
    ),
    Code(
        "push/unsigned",
        "{after} was not pushed: {words}",
        "set `signing` for the config repo, and add its public key to the files of `require_signed`; it is "
        "tried again when the head or the target changes, or after an hour",
        "`require_signed` would not have counted our own commit, so that it would have stopped every cycle "
        "after it. It was not sent.",
    ),
    Code(
        "push/lost-race",
        "{after} was ready, but others pushed first {tries} times in a row",
        "wait: it is tried again in a moment",
        "Automator never merges or forces. Each time somebody pushes first it decides again on the new tip; "
        "on a very busy branch a cycle gives up after ten seconds, five tries at least, and another one goes "
        "on two seconds later.",
    ),
    Code(
        "history/reading",
        "reading the history of its files before anything may be released",
        "wait; the next outcome follows when the history is here",
        "A version that a person turned away must not come back, so a workload's history is read before "
        "its first release.",
    ),
    Code(
        "history/unreadable",
        "the history of its files could not be fetched: {problem}",
        "see the error; it is tried again with the next cycle",
        "Without history nothing is released, since a version that a person turned away might come back.",
    ),
    # -- pull requests ---------------------------------------------------------------------------------
    Code(
        "proposal/open",
        "{after} is proposed in {url}, since {since}",
        "merge it to release {after}, or close it to refuse it",
        "Releases of this workload go through pull requests. Its one rolls on with newer versions, and is "
        "closed where there is nothing to propose any more.",
    ),
    Code(
        "proposal/asked",
        "{after} waits: {url} brings {asked}, which {actor} asked for",
        "merge it, or close it: then {after} is proposed",
        "What a person asked for by a command, of a workload whose releases go through pull requests, is on "
        "the one branch of the workload. It rolls on to nothing else until it is merged or closed.",
    ),
    Code(
        "proposal/planned",
        "{before} -> {after} would be proposed in a pull request",
        'run `automator once` to propose it, or set `mode` to "write"',
        'A version is ready, but this run only plans: `plan`, or a config repo with `mode = "observe"`.',
    ),
    Code(
        "proposal/closed",
        "{tag} was refused: {url} was closed {when}",
        "nothing, if that is meant: a newer version is proposed when it exists. To take {tag} again, reopen "
        "it, or run `automator accept`",
        "Who closes a pull request refuses its version, and those between it and the current one. A pull "
        "request that automator closed itself says so in its text, and refuses nothing.",
    ),
    Code(
        "proposal/merged",
        "{after} was merged in {url}, and the branch does not have it",
        "wait for the next cycle; if the branch was rewound on purpose, `automator accept` brings {after} "
        "back",
        "A pull request that was merged a moment ago is seen on the branch in the next cycle. One that was "
        "merged and is not there any more was taken back, and is not proposed again unasked.",
    ),
    Code(
        "proposal/foreign-commit",
        "{branch} has commit {commit} of {author}, which automator leaves alone",
        "merge the pull request as it is, remove that commit, or close it and delete its branch: automator "
        "then goes on",
        "The branch of a pull request of ours holds a commit whose author is not the one of the config, or "
        "that changes more than the versions it names. It is neither overwritten nor deleted.",
    ),
    Code(
        "proposal/armed",
        "{after} waits: {url} is still to be merged by the forge, which did not take that back",
        "nothing: it is tried again; or switch the automatic merge of {url} off",
        "The policy says `automerge` no longer. Until the forge has taken back what it was told, nothing "
        "else is brought to the branch, since it would be merged unasked.",
    ),
    Code(
        "proposal/other-base",
        "{branch} is the branch of {url}, which goes to {base}",
        "give this config repo another `pull_request.branch_prefix`",
        "Two config repos that are two branches of one repository, with workloads of the same name, need "
        "branches of different names for their pull requests.",
    ),
    Code(
        "proposal/limit",
        "{after} waits: {count} pull requests are open (max_open_prs)",
        "merge or close some of them, or raise `max_open_prs`",
        "`max_open_prs` bounds what people are asked to review at a time; the rest is proposed as the open "
        "ones are merged or closed.",
    ),
    Code(
        "proposal/same-file",
        "{after} is proposed in the next cycle: a release has just changed {file}",
        "wait for the next cycle",
        "A pull request is made on the branch's tip. A release that was pushed in this cycle changed a file "
        "of it, so that it is made anew.",
    ),
    Code(
        "proposal/moved",
        "{after} is proposed in the next cycle: somebody moved {branch} meanwhile",
        "nothing, if it happens now and then: another automator or a person was first",
        "The branch of a pull request is only overwritten where it is at the commit that we looked at.",
    ),
    Code(
        "proposal/no-forge",
        "{place}: releases of {workload} go through pull requests, and no forge is configured",
        "add the forge under [forges] in config.toml, or remove `deliver`",
        "`deliver: pull-request` needs a forge on which automator may open one; nothing is pushed instead.",
    ),
    Code(
        "proposal/left-behind",
        "{branch}: {problem}",
        "see to it by hand; automator tries again when the branch moves",
        "A pull request that has nothing to propose any more, or its branch, could not be taken away.",
    ),
    Code(
        "history/cut-short",
        "the history of {file} was read back to {since} and no further: what people turned away before that "
        "is not known",
        "raise `history_limit` of the config repo if older commits count; list versions that must not come "
        "back "
        "under `reject`",
        "History is read to the beginning of a file or up to a bound: `history_limit` commits, 2,000 changes "
        "of one file, or as far back as the server's own copy goes. Beyond the bound the mark rule cannot "
        "see. It is a warning: releases go on.",
    ),
    Code(
        "history/newer-format",
        "{file} was written by a newer automator in {commit}, whose record of format {found} is not "
        "understood here (up to {known} is)",
        "run the newer automator; until then such commits count as somebody's own",
        "Release records carry their format. One that this version does not know is believed in nothing: its "
        "commit counts as a person's, whose word may keep versions back and is never rolled back. It is a "
        "warning: releases go on.",
    ),
    # -- people, and what a commit says ------------------------------------------------------------
    Code(
        "history/turned-away",
        "was {mark} until {author} set {version} in {commit}",
        "wait for a version newer than {mark}, or take {mark} again: `automator accept`, or set it by hand",
        "A person has the last word: when somebody goes back to an older version, the versions they turned "
        "away do not come back by themselves. A newer version is released as usual, and a person who "
        "writes a version by hand takes everything up to it again.",
    ),
    Code(
        "history/accepted-before",
        "{tag} was accepted, and after that {author} set {version} in {commit}",
        "take {tag} out of `accept` and list it again in a later commit, or set the image to {tag} by hand",
        "`accept` takes back what people had turned away until then. Who goes back once more, after the "
        "version was listed, has the last word again.",
    ),
    Code(
        "history/contested",
        "{one} and {other} set it back and forth between {value} and {before} ({commits})",
        "find out what the other one follows (another automator, a bot, a pipeline, an `accept` or "
        "`downgrade` "
        "that still stands) and stop one of the two; then set the image by hand, or list a newer version "
        "under `accept`",
        "The last four commits that wrote this field went back and forth between two versions, and one side "
        "was "
        "an automator by itself. Each round restarts the workload, so automator leaves the field alone "
        "until a person has written it, or has listed under `accept` a version that is none of the two.",
    ),
    Code(
        "history/undated",
        "was {mark}, whose build time is not known, until {author} set {version} in {commit}",
        "wait for an image built after {mark} was written, or set the image by hand to a newer one",
        "`order: newest` compares build times, and the registry no longer tells that of a tag which "
        "stood here "
        "before. It was built before it was written to the config repo: only what was built later is "
        "surely newer.",
    ),
    Code(
        "release/template",
        "the template of the commit message cannot be used: {problem}",
        "mend `subject` or `body` under [commit] in the config",
        "Subject and body of commits come from templates in the daemon's config. They are tried when the "
        "config is read; one that fails only later costs the wording, never the release.",
    ),
    # -- the command line ---------------------------------------------------------------------------
    Code(
        "usage/no-folder",
        "{path} is not a folder",
        "name a folder that holds the config repo's files",
        "`check` reads a plain folder, such as a checkout of the config repo.",
    ),
    Code(
        "usage/unknown-workload",
        "no workload is named {name}; {known}",
        "run `automator status` to see all names",
        "The name given on the command line is in no policy file of the config repo.",
    ),
    Code(
        "usage/output",
        "what this command says cannot be written: {problem}",
        "make room where its output goes; see `automator status` for what it did",
        "Standard output or standard error refused what was written to it, as a file on a full disk does. "
        "The work itself is not undone by that.",
    ),
    Code(
        "usage/unknown-owner",
        "no workload has the owner {name}; {known}",
        "use the `owner` of a workload, as the policy files write it",
        "The owner given on the command line stands in no policy file of the config repo.",
    ),
    Code(
        "usage/unknown-code",
        "there is no reason code {name}; {known}",
        "copy the code as `explain` or the log shows it",
        "The code given to `explain` is not in the table of reasons; codes look like `guard/hold`.",
    ),
    Code(
        "state/ages-began",
        "the state folder is new since {at}, so `min_age` counts from then for: {workloads}",
        "keep the state folder over restarts; a version that must not wait is named under `urgent`",
        "When a digest was first seen under a tag is remembered in the state folder and nowhere else. "
        "Without it every version counts as new; nothing is released too early, but everything later.",
    ),
    Code(
        "state/soaks-began",
        "the state folder is new since {at}, so soaks count from then for: {workloads}",
        "keep the state folder over restarts; a version that must not wait is named under `urgent`",
        "A soak counts from when we first saw the release upstream on its branch, and that is remembered in "
        "the "
        "state folder and nowhere else: the time that a commit bears is anybody's claim.",
    ),
    Code(
        "usage/test-bench",
        "--tags-file, --policy, --at and --current belong together",
        "give at least `--tags-file FILE --policy FILE`",
        "The test bench of `explain` needs a list of tags and a policy; it asks neither config nor registry.",
    ),
    Code(
        "usage/tags-file",
        "{place}: {problem}",
        "write a tag on each line, then `seen=TIME`, `built=TIME`, `digest=…`, `platforms=a,b` as needed",
        "A tags file lists what a registry could answer, to try a policy on it. `automator tags IMAGE` "
        "prints such a list.",
    ),
    Code(
        "usage/current",
        '"{current}" is no current version',
        "give a tag such as 1.4.2, or `1.4.2@sha256:…`",
        "The test bench puts this version where the workload's site would be.",
    ),
    Code(
        "usage/time",
        '"{text}" is no time from 1970 to 2199',
        "write a time with its zone, such as 2026-12-01T09:00:00Z",
        "Times are RFC 3339: date, time to the second, zone.",
    ),
    Code(
        "usage/several-repos",
        "this is about one config repo, and any of {repos} may be meant",
        "name it with --repo, or before the workload: REPO/WORKLOAD",
        "The config has several config repos, or several have a workload of this name. A command changes "
        "one.",
    ),
    Code(
        "usage/until",
        "{text} is no time to come",
        "write 2026-12-01T09:00:00Z, or a duration from now such as 2h or 3d",
        "`--until` takes an RFC 3339 time, or a duration from now; it must lie in the future.",
    ),
    Code(
        "usage/moment",
        "{option} takes no {text}",
        "write a date (2026-11-01), a time (2026-11-01T09:00:00Z), or how long ago (30d)",
        "`--since` and `--until` take a date in UTC, an RFC 3339 time, or a duration that is counted back "
        "from now; not before 1970.",
    ),
    Code(
        "usage/empty-period",
        "nothing lies between {since} and {until} UTC",
        "give `--since` an earlier time than `--until`",
        "The period that was asked for ends before it begins.",
    ),
    Code(
        "usage/unwritable",
        "cannot write {file}: {problem}",
        "name a file in a folder that you may write to",
        "The report could not be written to the file that `--html` names.",
    ),
    Code(
        "usage/no-forge",
        "the config names no forge for the config repo {repo}",
        "add a [forges] table for its host, or leave out `--forge` or `--status`",
        "Who approved a pull request is known to the forge alone, and statuses are written there; the config "
        "does not say how to ask it.",
    ),
    Code(
        "usage/commit",
        "--status needs the commit whose status is to be set, and found {found}",
        "name it in full with `--commit SHA`",
        "`check --status` writes its verdict as a status of one commit on the forge. Without `--commit` it "
        "is "
        "the one that GitHub, Gitea, Forgejo, GitLab or Bitbucket names to the job.",
    ),
    Code(
        "usage/no-version",
        "{command}: the version that is named is empty",
        "name one, or leave the option out; a variable of a script may not have been set",
        "An empty version is not taken for none: what was meant could be anything.",
    ),
    Code(
        "usage/no-policy-file",
        "there is no policy file {file}; {known}",
        "name a file of the policies folder",
        "`--file` takes the name of a policy file of the config repo.",
    ),
    Code(
        "usage/which-workload",
        'the policies have no workload "{name}"; there are: {known}',
        "name one of them",
        "A policy file may hold many workloads; the test bench tries one.",
    ),
    Code(
        "usage/file",
        "{file} cannot be read: {problem}",
        "check the path and its permissions",
        "A file that the command line names is needed for what was asked; it is not there, or not readable.",
    ),
    Code(
        "usage/unknown-repo",
        "the config has no repo named {name}; it has {known}",
        "use one of the names under [repos] in the config",
        "The name given on the command line is not among the config's repos.",
    ),
    Code(
        "usage/unknown-runtime",
        "the config has no runtime named {name}; {known}",
        "use one of the names under [runtimes] in the config",
        "The name given with --runtime is not among the config's runtimes.",
    ),
    Code(
        "usage/no-runtimes",
        "the config names no runtime that could be asked what runs",
        "add a table [runtimes.NAME] to the config: a Kubernetes cluster, or a Docker engine",
        "`drift` compares what runs with what Git says; without [runtimes.NAME], or where those asked for "
        "belong to other config repos, there is nothing to compare.",
    ),
    Code(
        "policy/none",
        "no policy file names a workload",
        "write a policy, as docs/policies.md tells; `automator init` proposes the first ones",
        "Without a policy there is nothing to watch and nothing is ever changed.",
    ),
    # -- init ---------------------------------------------------------------------------------------
    Code(
        "init/bad-host",
        "{host} is no registry host",
        "give the host as images have it, such as registry.example.com:5000",
        "`--insecure` takes the host that stands in image references, in lower case, with its port.",
    ),
    Code(
        "init/bad-url",
        "the URL cannot be used: it has a user or password in it, or more than scheme, host and path",
        "give the URL alone; `credentials` in the config name the file of the password",
        "A URL never carries a password: the config, command lines and logs would show it. Nor has a Git URL "
        "a `?` or `#`; in a path, write %40 for an `@`.",
    ),
    Code(
        "init/not-root",
        "{path} is only a part of the checkout {root}",
        "run `automator init {root}`",
        "Policies stand in a folder at the top of the config repo.",
    ),
    Code(
        "init/bad-folder",
        "{folder} cannot be the folder of the policies",
        "give a folder of the config repo by its path from the top, such as policies or release/policies",
        "`--policies` names the folder as the config has it: a path inside the config repo.",
    ),
    Code(
        "init/foreign-policies",
        "the folder of the policies is somebody else's: {file} is an object of Kubernetes",
        "choose another folder with `--policies FOLDER`; the config that `init` writes names it",
        "Policies of other tools may live in a folder of the same name, which has to be automator's alone.",
    ),
    Code(
        "init/no-branch",
        "{url} has no branch {branches}",
        "name the branch with `--branch`",
        "For a URL without `--branch`, `init` tries main and master.",
    ),
    Code(
        "init/broken-policies",
        "the policies that there are have an error: {problem}",
        "run `automator check` and mend what it says, then run `init` again",
        "What a broken policy covers cannot be known, so nothing is proposed beside it.",
    ),
    Code(
        "init/no-images",
        "no file in {place} names an image",
        "name the folder or URL of the config repo; `automator images` shows what is found",
        "Policies are proposed for the images that the config repo's files name.",
    ),
    # -- import -------------------------------------------------------------------------------------
    Code(
        "import/nothing",
        "nothing of {tool} was found in {path}",
        "name the folder that holds its settings, or look at another tool's name",
        "The importer reads settings in manifests of a checkout; what exists only in a cluster has to be "
        "written to files first, with `kubectl get … -o yaml` for instance.",
    ),
    # -- setting an image by hand, or in a pipeline ------------------------------------------------------
    Code(
        "set/target",
        "no image can be set to `{text}`: {problem}",
        "write a tag (`1.4.3`), a tag and a digest (`1.4.3@sha256:…`), or a digest (`@sha256:…`)",
        "`set` writes exactly the version that it is given, so that must be one that a registry may have.",
    ),
    Code(
        "set/image",
        "`{text}` names no image repository: {problem}",
        "name the image repository as the file writes it, without its version",
        "`set` finds the places of an image by its repository; the version to replace is said by `old`.",
    ),
    Code(
        "set/field",
        "`{field}` is no field path",
        "copy a field from `automator images`, such as `spec.template.spec.containers[app].image`",
        "A field path has keys joined by dots, list items by name, index or `[key=value]`, and `|` before "
        "what lies in a text.",
    ),
    Code(
        "set/field-nothing",
        "there is no value at {field}",
        "see `automator images FILE` for the fields that hold an image",
        "The field that is to be set is not in the file.",
    ),
    Code(
        "set/field-several",
        "{field} leads to several values, in lines {lines}",
        "name one list item (`images[name=web].newTag`), or the old version if they differ in it",
        "A field given by hand must lead to one value. It is looked for in every document of the file.",
    ),
    Code(
        "set/other-image",
        "{field} (line {line}) holds {found}, not {image}",
        "correct the image or the field",
        "Where both an image and a field are given they must agree, so that no other image gets the version.",
    ),
    Code(
        "set/ambiguous",
        "{image} stands at different versions: {versions}",
        "say which of them is to be replaced: `--old VERSION`, or `old=` in Python",
        "Places of one image at different versions are often meant to differ, as staging and production do; "
        "without the old version nobody says which of them move.",
    ),
    Code(
        "set/pinned",
        "{field} (line {line}) is pinned to a digest, and for {tag} none is given",
        "give `{tag}@sha256:…`; or name the old version with its digest, to drop the digest",
        "A new tag beside an old digest would run the old image, so a pinned place gets both or stays.",
    ),
    Code(
        "set/digest-key",
        "{field} (line {line}) has its digest in a key of its own, and for {tag} none is given",
        "give `{tag}@sha256:…`, or remove the digest's key first",
        "A new tag beside an old digest would run the old image; keys are never removed or emptied.",
    ),
    Code(
        "set/no-tag",
        "{field} (line {line}) has no tag that could be kept beside {digest}",
        "give the tag too: `1.4.3@sha256:…`",
        "`@sha256:…` keeps the tag that is there; an image without any version has none.",
    ),
    Code(
        "set/nothing",
        "nothing was set: no file that was read holds {what}",
        "see `automator images` for the images that the files hold, and how they are written there",
        "An image that is not there is told, since a pipeline that sets nothing is found out late. Places "
        "that are at the new version already count as there.",
    ),
    Code(
        "set/several",
        "the new text of several files cannot go to standard output",
        "add `--write` to change the files, or `--diff` to see what would change",
        "Without either, `set` prints the whole new text of the one file that it is given.",
    ),
    Code(
        "set/standard-input",
        "standard input (`-`) stands alone, and cannot be written back",
        "leave out the other files and `--write`; the new text goes to standard output",
        "`set -` is a filter: the old text in, the new text out.",
    ),
    Code(
        "file/named",
        "{file} cannot be used: {problem}",
        "name a text file or a folder that can be read",
        "A file that is named on the command line must be readable text; in a folder, what is none is passed "
        "over.",
    ),
    Code(
        "file/not-replaced",
        "{file} cannot be written: {problem}",
        "let this user write the file and its folder, and make room on the disk",
        "A file is replaced by a new one beside it, in one step, so that no reader ever sees half of it.",
    ),
    Code(
        "file/changed",
        "{file} was changed by somebody else meanwhile",
        "run the command again",
        "The file no longer holds what was read, so the new text does not belong there.",
    ),
    # -- image references and version ranges ------------------------------------------------------------
    Code(
        "reference/invalid",
        '"{text}" is no image reference: {problem}',
        "write it as `registry/path:tag@digest`, for example `ghcr.io/acme/web:1.4.2`",
        "Image references follow the grammar of the OCI distribution project: an optional registry, a "
        "lower-case path, an optional tag of at most 128 characters, an optional sha256 or sha512 "
        "digest.",
    ),
    Code(
        "reference/not-a-repository",
        '"{text}" names one image by tag or digest, where a repository is wanted',
        "write it without `{version}`",
        "A policy watches an image repository; which of its tags are taken is what `semver`, `glob` "
        "and `order` say.",
    ),
    Code(
        "constraint/invalid",
        '"{text}" is no version range: {problem}',
        'write a range such as ">=1.4 <2", "~1.4", "^1.4.2", "1.25.x" or "1.2 - 1.4 || >=2.0.1"',
        "Ranges follow the grammar of Masterminds/semver v3, which Flux, Helm and Argo CD Image "
        "Updater speak too.",
    ),
    Code(
        "tag/undecided",
        "{tag} passes the policy; facts about it are still missing",
        "see the workload's outcome",
        "The tag passes filters and range, but something that must be known before a release could "
        "not be had yet.",
    ),
    # -- registries ----------------------------------------------------------------------------------
    Code(
        "registry/denied",
        "{repository}: access denied ({answer}; used: {credentials})",
        "check the spelling of {repository} (many registries refuse where there is no such repository), "
        "and that the credentials of this registry may pull it",
        "The registry refused. Docker Hub, Quay and others answer so for an image repository that does not "
        "exist, too, lest strangers learn which do.",
    ),
    Code(
        "registry/not-found",
        "{repository}: {what} not found ({answer})",
        "check the spelling of {repository}, or push to it",
        "The registry knows no such image repository, tag or digest.",
    ),
    Code(
        "registry/rate-limited",
        "{repository}: the registry wants to be left alone ({answer}; {wait})",
        "wait; set credentials or a longer `interval` for this registry if it happens often",
        "HTTP 429, or an outage whose end the registry tells. It is left alone for the time it asks for; "
        "nothing is decided meanwhile.",
    ),
    Code(
        "registry/list-interrupted",
        "{repository}: the registry wants to be left alone ({answer}; {wait}); its tag list is read to page "
        "{page}",
        "wait; it is read on from there. Set credentials or a longer `interval` for this registry if it "
        "happens often",
        "A tag list has more pages than the registry gives at a time. Those that were read are kept for two "
        "days at the most, the others are asked for as soon as the registry permits; nothing is decided from "
        "a part of the list.",
    ),
    Code(
        "registry/resting",
        "{repository}: {host} failed again and again and is left alone for now ({problem})",
        "mend {host}, or the way to it; it is tried again by itself, at the latest after some minutes",
        "A host that fails several times in a row is not asked until a time that grows with each failure. "
        "Its workloads wait; those of other hosts go on.",
    ),
    Code(
        "registry/warning",
        "{host} warns: {words}",
        "read what it says; nothing is acted on by itself",
        "A registry may send a `Warning` header beside its answers, of an API that ends for example. It is "
        "told once.",
    ),
    Code(
        "registry/server-error",
        "{repository}: the registry failed ({answer})",
        "wait; the next cycle asks again",
        "HTTP 5xx after a few tries. Nothing is decided from half an answer.",
    ),
    Code(
        "registry/timeout",
        "{repository}: {host} did not answer in time ({problem})",
        'check the network, or raise `timeout` in `[registries."{host}"]` of the config',
        "An answer must begin, go on and end within the limits of the registry's settings.",
    ),
    Code(
        "registry/unreachable",
        "{repository}: {host} cannot be reached ({problem})",
        "check the host's port and the network",
        "The connection was refused, or it broke several times in mid-answer.",
    ),
    Code(
        "registry/tls",
        "{repository}: no trusted TLS connection to {host} ({problem})",
        'set `ca_file` in `[registries."{host}"]` of the config to the certificates of whoever signs its own',
        "Nobody whom the daemon trusts vouches for the registry's certificate, or TLS failed otherwise.",
    ),
    # -- registries: the way there --
    Code(
        "registry/tls-expired",
        "{repository}: the certificate of {host} is out of date ({problem})",
        "have the certificate of the registry renewed, or mend the clock of this machine",
        "A certificate counts between two dates, by the clock of the machine that checks it.",
    ),
    Code(
        "registry/tls-name",
        "{repository}: the certificate of {host} is for another name ({problem})",
        "call the registry by a name in its certificate, or have the certificate issued for this one",
        "The certificate is trusted, and belongs to somebody else: a proxy, another host, or an old name.",
    ),
    Code(
        "registry/no-tls",
        "{repository}: no TLS with {host} ({problem})",
        'correct the port, or set `insecure = true` in `[registries."{host}"]` of the config if it speaks '
        "plain HTTP",
        "What answers there speaks something else than TLS; plain HTTP is only spoken where the config "
        "says so.",
    ),
    Code(
        "registry/tls-wanted",
        "{repository}: plain HTTP is not what {host} speaks ({problem})",
        'remove `insecure = true` from `[registries."{host}"]` in the config',
        "The registry was declared insecure and answers that it wants TLS.",
    ),
    Code(
        "registry/client-certificate",
        "{repository}: {host} does not let us in ({problem})",
        'set `client_cert_file` and `client_key_file` in `[registries."{host}"]` of the config to a '
        "certificate that it accepts",
        "The registry asks who calls, by a certificate of the caller's.",
    ),
    Code(
        "registry/tls-files",
        "{repository}: no TLS with {host}: {problem}",
        "mend that file, or correct its path; it is read again as soon as it changes",
        "A file of certificates or keys that the config or the environment names cannot be used.",
    ),
    Code(
        "registry/dns",
        "{repository}: nobody knows {host} ({problem})",
        "check the spelling of the registry's name, and the name servers of this machine",
        "The name has no address: it is misspelt, or the name servers of this machine do not know it.",
    ),
    Code(
        "registry/proxy",
        "{repository}: {host} cannot be reached by way of the proxy ({problem})",
        "check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY in the daemon's environment; NO_PROXY names hosts to call "
        "directly",
        "The proxy was not reached, refused, or wants a user and password.",
    ),
    Code(
        "registry/address-refused",
        "{repository}: {host} is not on the public internet ({problem})",
        'if it may be called, add `[registries."{host}"]` to the config, with `insecure = true` where it '
        "speaks plain HTTP",
        "Loopback, private and link-local addresses are only called where the config has a table for the "
        "registry: a policy must not make the daemon look around in your network.",
    ),
    Code(
        "registry/too-large",
        "{repository}: the answer of {host} is too large ({problem})",
        "report it to whoever runs the registry",
        "Answers are bounded, so that a hostile registry cannot exhaust the daemon.",
    ),
    Code(
        "registry/not-json",
        "{repository}: the answer about {what} is not JSON ({type})",
        "check that the address is a registry's, and not a proxy's or a login page's",
        "Registries answer in JSON; what answered here is something else.",
    ),
    Code(
        "registry/bad-answer",
        "{repository}: the registry's answer about {what} makes no sense ({problem})",
        "report it to whoever runs the registry",
        "The answer is outside the OCI distribution specification. Nothing is decided from it.",
    ),
    Code(
        "registry/pages",
        "{repository}: its tag list cannot be read to its end ({problem})",
        "report it to whoever runs the registry",
        "A tag list comes in pages; they must end and never repeat, else no list is complete.",
    ),
    Code(
        "registry/long-list",
        "{repository}: its tag list is longer than automator reads ({problem})",
        "delete tags that nobody needs in the registry, or push new images to a repository of their own",
        "Lists are bounded, so that one repository cannot exhaust the daemon; the bound is far beyond what "
        "registries hold.",
    ),
    Code(
        "registry/bad-digest",
        "{repository}: {what} has digest {got}, not {wanted}",
        "report it to whoever runs the registry; do not trust the image",
        "Content is checked against its digest. A difference means a broken or a hostile registry or proxy.",
    ),
    Code(
        "registry/token",
        "{repository}: no token from {realm} ({problem})",
        "check the registry's token service",
        "The registry sends us to a token service. It must speak HTTPS and answer with a token.",
    ),
    Code(
        "credentials/unreadable",
        "credentials in {path} cannot be read: {problem}",
        "mount or mend {path}, or correct its path in the config",
        "Files with secrets are read when they are used, so that they can be changed without a restart.",
    ),
    Code(
        "credentials/docker-config",
        "{path} is no Docker config that can be used: {problem}",
        "mend {path}, or log in again with `docker login`",
        "Docker's config.json, or a Kubernetes secret of type dockerconfigjson, with `auths` or helpers.",
    ),
    Code(
        "credentials/helper",
        "credential helper {helper} failed for {host}: {problem}",
        "run `echo {host} | docker-credential-{helper} get` where the daemon runs",
        "Docker's config names a program that knows the password; it must be on PATH and answer in time.",
    ),
    # -- credentials of clouds -------------------------------------------------------------------
    Code(
        "credentials/cloud-extra",
        "the {cloud} login for {host} needs the Python package {package}, which is not installed",
        "install the extra `{cloud}` of automator's own checkout or wheel (docs/install.md)",
        "The packages of the clouds are large, so each is an extra of its own.",
    ),
    Code(
        "credentials/cloud-host",
        "{host} is no registry of the kind that the {cloud} login opens",
        "correct the registry's name in the config, or give it credentials instead of login",
        "A cloud's token opens more than images, so it is asked for and sent only where it belongs.",
    ),
    Code(
        "credentials/cloud",
        "the {cloud} login for {host} failed: {problem}",
        "see that the daemon runs with an identity of {cloud} that may read the registry",
        "The cloud's own package looks for the identity of the machine, pod or service account it runs as.",
    ),
    # -- Docker engines ------------------------------------------------------------------------
    Code(
        "engine/unreachable",
        "{runtime}: the engine at {host} gives no answer: {problem}",
        "see that the engine runs and that automator's user may open its socket, or mend runtimes.{runtime}",
        "A Docker engine of the config could not be asked what runs there, or not within the runtime's "
        "timeout. Nothing is concluded from that: its workloads are unknown until it answers.",
    ),
    Code(
        "engine/refused",
        "{runtime}: the engine at {host} refuses with {status}: {words}",
        "see what it says; an engine behind TLS needs runtimes.{runtime}.ca_file, or a client certificate",
        "The engine, or a proxy before it, did not let automator look. It asks for the version, for the "
        "containers and for the images, by GET alone.",
    ),
    Code(
        "engine/bad-answer",
        "{runtime}: what answers at {host} is no Docker engine: {problem}",
        "mend runtimes.{runtime}.host",
        "What answered does not speak the Docker engine's API, or one too old for the docker package.",
    ),
    Code(
        "engine/files",
        "{runtime}: the engine at {host} cannot be spoken to by TLS: {problem}",
        "mend the files that runtimes.{runtime} names",
        "A file of certificates or keys for a Docker engine cannot be read. It is read at each look.",
    ),
    # -- signatures ---------------------------------------------------------------------------
    Code(
        "signature/key",
        "key {key} of the config cannot be used: {file}: {problem}",
        "write the public key of cosign, in PEM, to {file}",
        "The file is read at each use, so that a key can be replaced without a restart. Without it nothing "
        "can be verified, so nothing is released that must be signed by it.",
    ),
    Code(
        "signature/command",
        "the command of key {key} told nothing of {image}@{digest}: {problem}",
        "run the command by hand where the daemon runs, with its PATH and HOME",
        "A command says that an image is signed by ending with 0, and that it is not by a number below 124. "
        "One that cannot be started, is killed, takes too long or ends with 124 or more says neither.",
    ),
    Code(
        "signature/late",
        "the command of key {key} has not yet answered for {image}@{digest}",
        "nothing to do: the next cycle takes its answer",
        "A cycle does not wait for slow commands; they go on beside it, within their own time limit.",
    ),
    # -- events of registries and forges ---------------------------------------------------------------
    Code(
        "hooks/unproven",
        "a request to /hooks/{hook} did not prove that {sender} sent it: {word}",
        "let {sender} send what hooks.{hook} of the config asks for; if nobody did, there is nothing to do",
        "A secret, signature or token was missing or wrong, so the body was not even parsed. After a change "
        "of the secret let its file hold the old and the new one, a line each, until the sender has it.",
    ),
    Code(
        "hooks/unreadable",
        "what came to /hooks/{hook} proved its sender, but is no event of {sender}: {word}",
        "name what sends it as hooks.{hook}.sender, or give that sender a hook of its own",
        "The request knew the secret, and its body is not what such a sender sends.",
    ),
    Code(
        "hooks/unknown",
        "a request came to a path below /hooks that the config does not name",
        "write [hooks.NAME] into the config for whoever sends to /hooks/NAME, or mend the URL at the sender",
        "The name is not shown: it is whatever somebody chose to write, and may be a secret put in the wrong "
        "place.",
    ),
    Code(
        "hooks/oversize",
        "a request to /hooks/{hook} was refused: it has more than {limit} bytes",
        "let the sender tell of fewer things at a time",
        "Reading stops at the limit, and the sender is answered 413. No known sender comes near it.",
    ),
    Code(
        "hooks/too-slow",
        "a request to /hooks/{hook} did not arrive in time",
        "look at the network between the sender and automator",
        "A sender that is slow, or pretends to be, must not take the place of others.",
    ),
    Code(
        "hooks/busy",
        "a request to /hooks/{hook} was put off: too many others of its sender came at the same time",
        "nothing: the sender tries again, and registries are polled as ever",
        "Only so many requests of one address to one hook are read at a time, and others are answered 503 "
        "until one is done.",
    ),
    Code(
        "hooks/crowded",
        "a connection to daemon.hooks_listen was turned away: too many are open",
        "nothing, if senders come through again by themselves; else look at who opens connections and sends "
        "nothing",
        "Only so many connections are served at a time, and half as many of one address. More take the place "
        "of the oldest that has sent no request; where all have, they are answered 503, upon which most "
        "senders try again.",
    ),
    Code(
        "hooks/no-request",
        "a connection to daemon.hooks_listen brought no HTTP request: {word}",
        "have senders use http:// there, or put what ends TLS before it; a scanner needs nothing",
        "What came was no HTTP (malformed-request), as TLS is none, or did not come to the end of its "
        "head in time (too-slow).",
    ),
    Code(
        "hooks/bug",
        "an event for hooks.{hook} met a bug: {error}",
        "report it with the version of automator and what sent the event",
        "The event is lost, and nothing else: registries are polled as ever.",
    ),
    Code(
        "hooks/unreadable-secret",
        "hooks.{hook}: the secret in {file} cannot be read ({problem})",
        "put the secret that the sender knows into {file}, readable for automator; events wait until then",
        "The file is read at each event, so that a new secret needs no restart. Without a secret nobody can "
        "prove who sends, so every event is refused with 503; registries are polled as ever.",
    ),
    Code(
        "hooks/keys-unavailable",
        "hooks.{hook}: Google's keys, which sign its tokens, cannot be had ({problem})",
        "let automator reach www.googleapis.com, by its proxy if there is one",
        "Pub/Sub proves itself by a token that Google signs. Its keys are public, and fetched when they are "
        "needed. Events are refused with 503 meanwhile, and Pub/Sub sends them again.",
    ),
    # -- the web: API and dashboard ------------------------------------------------------------------------
    Code(
        "web/not-found",
        "there is nothing at {path}",
        "look at /api/v1/openapi.json, which tells what there is",
        "The daemon answers at the paths of its API and its pages only, spelled exactly.",
    ),
    Code(
        "web/no-repo",
        "there is no config repo {repo}; {known}",
        "name one that [repos] of the config has",
        "The request is about a config repo that this daemon does not serve.",
    ),
    Code(
        "web/no-runtime",
        "the config has no runtime {name}; it has {known}",
        "use one of the names under [runtimes] in the config",
        "The filter `runtime` of /api/v1/drift takes names of the config's runtimes alone.",
    ),
    Code(
        "web/no-workload",
        "there is no workload {name} in {repo}",
        "look at /api/v1/workloads for the names that there are",
        "No policy file of the config repo names it, as of the last cycle.",
    ),
    Code(
        "web/no-code",
        "there is no reason code {name}",
        "spell it as an outcome or an error tells it, such as guard/min-age",
        "What was asked for is no code of this version.",
    ),
    Code(
        "web/wrong-method",
        "{method} is not possible at {path}",
        "use one of the methods that the header Allow names",
        "Reading is GET, and what has an effect is POST; nothing else is known.",
    ),
    Code(
        "web/not-acceptable",
        "{path} answers {kind}, which the request does not accept",
        "accept {kind}, or leave the header Accept away",
        "An address has one kind of answer. Accept in the request excludes it.",
    ),
    Code(
        "web/media-type",
        "the body is {found}, and {wanted} is understood here",
        "send {wanted} with a fitting Content-Type",
        "A body is read only where the request says that it is of the expected kind: forms of strange pages "
        "cannot say so of JSON.",
    ),
    Code(
        "web/oversize",
        "the body has more than {limit} bytes",
        "send what openapi.json describes, which is far shorter",
        "Reading stops at the limit, so that no client can fill the memory; nothing of the body was used.",
    ),
    Code(
        "web/slow-body",
        "the body did not arrive within {seconds} seconds",
        "look at the network in between, and try again",
        "Who sends slowly, or pretends to, must not take the place of others.",
    ),
    Code(
        "web/slow-head",
        "the head of the request did not arrive in time",
        "look at the network in between, and try again",
        "Who connects and asks for nothing must not take the place of others. The connection is just closed; "
        "the metrics count it.",
    ),
    Code(
        "web/long-address",
        "the address has more than {limit} characters",
        "ask for fewer things at a time",
        "No request that openapi.json describes needs so long an address.",
    ),
    Code(
        "web/long-head",
        "the head of the request is too long",
        "send fewer or shorter headers",
        "A request's first line and headers have to fit into some kilobytes.",
    ),
    Code(
        "web/malformed",
        "what came is no HTTP request",
        "speak http:// with this address, or put what ends TLS before it",
        "The connection brought something that is no HTTP/1.1, as TLS is none.",
    ),
    Code(
        "web/parameter",
        "parameter {name}: expected {expected}, found {found}",
        "mend it; openapi.json describes every parameter",
        "A parameter of the address has a value that cannot be used.",
    ),
    Code(
        "web/unknown-parameter",
        "{name} is no parameter of {path}; {known}",
        "correct or remove it",
        "Unknown parameters are errors, because a misspelt filter would silently show everything.",
    ),
    Code(
        "web/body",
        "the body cannot be used: {problem}",
        "send what openapi.json describes",
        "The body of the request is not what this address takes.",
    ),
    Code(
        "web/empty-period",
        "the period from {since} to {until} is empty",
        "let `since` be before `until`, and both before now",
        "Nothing can have happened in the period that was asked for.",
    ),
    Code(
        "web/no-token",
        "a token is needed here",
        "send the header Authorization: Bearer with a token of daemon.token_file, or sign in on the page",
        "API and dashboard are for those who know the token that daemon.token_file holds. Probes and metrics "
        "need none.",
    ),
    Code(
        "web/bad-token",
        "this is not the token",
        "send what daemon.token_file holds now; it is read at each request",
        "The token that came is none of those in the file. It may have been changed there. Failed attempts "
        "are counted, and limited for each client.",
    ),
    Code(
        "web/session-over",
        "the session is over",
        "sign in again",
        "A session lasts some hours, and ends before that when the token in daemon.token_file changes.",
    ),
    Code(
        "web/token-file",
        "nobody can be let in: daemon.token_file {problem}",
        "put a token of 16 characters or more into that file, readable for automator; no restart is needed",
        "The file is read at each request, so that a new token needs no restart. Without a usable token "
        "nobody can prove who asks, so API and dashboard are refused to all. Probes and metrics go on.",
    ),
    Code(
        "web/loopback-only",
        "without daemon.token_file only this machine is answered here, and {why}",
        "set daemon.token_file in the config, and bring its token; or ask on the machine itself",
        "Whoever reaches the port could read everything. So, without a token, a request must come from a "
        "loopback address, to a loopback name, and by no proxy: one that stands on the same machine hides "
        "who asks, and a strange page can give its own name to a loopback address (DNS rebinding). Not every "
        "proxy says that it is one: with one, set daemon.token_file.",
    ),
    Code(
        "web/strange-origin",
        "this was sent by a page of another site",
        "open the dashboard itself, and try again there; behind a proxy set daemon.public_url",
        "A browser sends along who you are to whatever asks it to. So what has an effect must come from a "
        "page of the dashboard, or with the token.",
    ),
    Code(
        "web/too-many",
        "too many {what} in a short time: the next one is taken in {seconds} s",
        "wait for {seconds} s; the header Retry-After says the same",
        "Failed attempts to sign in, and requests to look now, are limited for each client.",
    ),
    Code(
        "web/reading-history",
        "the history of the config repos is being read",
        "ask again in a moment",
        "History is read when somebody asks for it, beside the cycles. It takes a while the first time.",
    ),
    Code(
        "web/not-yet",
        "{repo}/{name} was not decided yet since the start of the process",
        "ask again after the first cycle of {repo}; /readyz tells when that was",
        "What became of each tag is known from the cycle that decided it, and not kept over a restart.",
    ),
    Code(
        "web/cycle-runs",
        "{repo}/{name} is explained once the cycle has ended that runs since {since}",
        "ask again then; its outcome and the reason of it are told meanwhile, without its tags",
        "What became of each tag is found when somebody asks, but not while a cycle works with the same "
        "facts. What was asked while one runs is found at its end.",
    ),
    Code(
        "web/busy",
        "too many others are asking",
        "try again in a moment",
        "Only so many connections are served at a time, and half as many of one client.",
    ),
    Code(
        "web/bug",
        "the answer met a bug",
        "report it with the lines of the log at that time",
        "A bug of automator; nothing was changed by the request. Details are in the log only.",
    ),
    # -- notifications -------------------------------------------------------------------------------------
    Code(
        "notify/template",
        "the template of notifications cannot be used: {problem}",
        "mend `title` or `text` of the receiver; docs/notifications.md names what they see",
        "A Jinja template of the config does not parse, or uses what there is not.",
    ),
    Code(
        "notify/no-extra",
        "the receiver {name} has a url_file, and the package apprise is not installed",
        "install the extra `notify` of automator's own checkout or wheel (docs/install.md)",
        "Chats and mail are reached through apprise, which comes with an extra of automator.",
    ),
    Code(
        "notify/failed",
        "the receiver {name} could not be told: {problem}",
        "wait, it is tried again; if it stays so, try `automator notify test`",
        "What a receiver did not take is kept in the state folder and sent again, later and later.",
    ),
    Code(
        "notify/reached",
        "the receiver {name} takes messages again",
        "nothing to do",
        "A receiver that could not be told for a while has taken what was kept for it.",
    ),
    Code(
        "notify/refused",
        "the receiver {name} refused a message for good, and it is dropped: {problem}",
        "mend the receiver or its settings, and try `automator notify test`",
        "Another try would not change that: a wrong address, a secret that does not count, a redirect.",
    ),
    Code(
        "notify/dropped",
        "messages to {name} were dropped: {problem}",
        "mend the receiver; what is dropped stands in the log and in `automator status`",
        "What waits for a receiver is bounded in number and age; the oldest messages go first. It goes with "
        "the receiver where the config names that no more, or by another name.",
    ),
    Code(
        "notify/broke-off",
        "telling of the daemon itself broke off: {problem}",
        "report it with the lines around this one; what comes next is told as planned",
        "A bug of automator: an error that it does not know kept receivers from being told of a trouble of "
        "the daemon's own. The log has it.",
    ),
    Code(
        "notify/not-kept",
        "messages cannot be written down: {problem}",
        "make room in the state folder; they are kept in memory until then",
        "What is to be told is written to the state folder first, so that a restart does not lose it.",
    ),
    Code(
        "usage/no-receiver",
        "the config has no receiver named {name}; it has {known}",
        "use one of these names, or add a table [notify.NAME]",
        "`automator notify test` tells the receivers of the config.",
    ),
    # -- forges ---------------------------------------------------------------------------------
    Code(
        "forge/unreachable",
        "{host} gives no proper answer to: {what} ({problem})",
        "wait; if it goes on, check the network, the forge, and its `api` and `ca_file` in the config",
        "The forge was not reached, did not answer within the time limit of [forges], or failed by itself "
        "(HTTP 5xx). A question is asked again later; something to be done is looked for before it is done "
        "again.",
    ),
    Code(
        "forge/denied",
        "{host} refuses to {what}: {answer}; used: {login}",
        "give the token or App the permissions that docs/forges.md lists, or a new one where it has expired",
        "HTTP 401: the forge does not know the token. HTTP 403: it knows it, and the token may not do that.",
    ),
    Code(
        "forge/not-found",
        "{host} refuses to {what}: {answer}",
        "check the spelling of the project, and that the token may see it",
        "HTTP 404. Forges also answer so where a private project is hidden from the token.",
    ),
    Code(
        "forge/limited",
        "{host} wants to be left alone ({problem})",
        "wait; a token or App of automator's own shares its allowance with nobody",
        "The forge's rate limit is used up, or it found that too much came at a time. Nothing more is asked "
        "of "
        "it until the time that it names.",
    ),
    Code(
        "forge/conflict",
        "{host} refuses to {what}: {answer}",
        "wait; it is looked at anew",
        "Something else came first: the pull request exists already, it is closed, or its branch has moved.",
    ),
    Code(
        "forge/refused",
        "{host} refuses to {what}: {answer}",
        "do what the forge says, or change its settings of the project",
        "The forge understood and said no, in the words that are quoted.",
    ),
    Code(
        "forge/unsupported",
        "{host} cannot {what}: {problem}",
        "leave it out for this forge",
        "Not every forge has everything; docs/forges.md has a table.",
    ),
    Code(
        "forge/answer",
        "{host}: the answer to {what} makes no sense ({problem})",
        "check that `api` of this forge in the config is its API, and the `kind` the right one",
        "The answer is not what the forge's description says: no JSON, another shape, pages without end, or "
        "more than is read. Nothing is decided from it.",
    ),
    Code(
        "forge/moved",
        "{host} answers to {what} that it has moved to {place}",
        "correct the address of the project, or of the API, in the config",
        "A redirect is followed once, for questions, and only within the forge: tokens are not carried "
        "elsewhere.",
    ),
    Code(
        "forge/secret",
        "{host}: {file} cannot be used: {problem}",
        "mount or mend {file}, or correct its path in the config",
        "The file of a forge's token or of an App's key. It is read at each use, so that it can be changed "
        "without a restart.",
    ),
    Code(
        "forge/app",
        "{host} gives the App {app} no token for installation {installation}: {answer}",
        "check app_id, installation_id and the key, and the clock of this machine",
        "An App signs in with its private key and is given a token for an hour. The forge refused that.",
    ),
    Code(
        "forge/label",
        "the label {label} was not set: {problem}",
        "give the token the permission to label, or leave the label out",
        "A label that is refused costs nothing but itself: the pull request is open without it.",
    ),
    Code(
        "forge/reviewer",
        "{reviewer} was not asked for a review: {problem}",
        "check the name, and that whoever it is may see the project",
        "A reviewer who is refused costs nothing but themself: the pull request is open without them.",
    ),
    Code(
        "forge/draft",
        "the pull request is no draft: {problem}",
        "leave `draft` out for this project",
        "Some forges have drafts only in some projects. It was opened as an ordinary pull request.",
    ),
    # -- feedback to the source ------------------------------------------------------------------------
    Code(
        "feedback/given-up",
        "{place} is not told of {what}: {problem}",
        "see to what the forge says, or set `feedback = false`",
        "The pull requests and issues that a release names get a comment, the source a deployment record. "
        "The forge refused that, or could not be had for a day. The release is not touched by that.",
    ),
    Code(
        "feedback/bug",
        "a bug met by a comment or deployment record ({error})",
        "report it; the release is not touched by it",
        "What was to be told is dropped. Everything else goes on.",
    ),
    # -- git ----------------------------------------------------------------------------------
    Code(
        "git/not-installed",
        "git cannot be started: {problem}",
        "install git 2.32 or newer and see that it is on PATH",
        "Every read and write of a config repo is done by the git program.",
    ),
    Code(
        "git/bad-url",
        "the config repo {url} cannot be used: {problem}",
        "mend `url` or `branch` of the repo in the config",
        "A config repo is named by an https, http, ssh or file URL, by user@host:path, or by an "
        "absolute path. "
        "A URL never carries a password: command lines and logs would show it.",
    ),
    Code(
        "git/credential-file",
        "the file {file} of the config repo's credentials cannot be used: {problem}",
        "write the file, or mend its path or its permissions",
        "Passwords, keys, known hosts and certificates are read from their files each time they are used.",
    ),
    Code(
        "git/busy",
        "the clone {folder} is in use by another process",
        "stop the other automator that uses this state folder, or wait for its git to end",
        "Only one process may work on a clone. A git process that a killed automator left behind counts too.",
    ),
    Code(
        "git/unreachable",
        "{url} cannot be reached: {words}",
        "wait; it is asked again in the next cycle. If it stays so, check host name, network and proxy "
        "(HTTPS_PROXY, NO_PROXY)",
        "The Git server did not answer, broke off, or answered with an error of its own.",
    ),
    Code(
        "git/certificate",
        "the certificate of {url} is not trusted: {words}",
        "where an authority of your own signed it, name its certificates in the config, as "
        "`repos.NAME.credentials.ca_file`; else check the names and dates of the certificate, and what is in "
        "between",
        "Git servers are checked against the machine's own authorities, or against those in `ca_file` alone. "
        "No login was sent to this one.",
    ),
    Code(
        "git/denied",
        "{url} denies access: {words}",
        "check user name, password file or key, and what they may do on the server",
        "The Git server knows who asks and says no, or does not know who asks.",
    ),
    Code(
        "git/host-key",
        "the host key of {url} is not trusted: {words}",
        "add the server's key to `known_hosts_file`, after checking that it is really the server's",
        "Over ssh, a server must show a key that is known before; an unknown or changed one is never "
        "accepted.",
    ),
    Code(
        "git/not-found",
        "no repository at {url}: {words}",
        "check the URL; many servers also say so when the account may not see the repository",
        "The server has no repository of this name, or hides it from this account.",
    ),
    Code(
        "git/redirected",
        "{url} redirects elsewhere: {words}",
        "write the address it redirects to into the config (often the same with .git at its end)",
        "Redirects are not followed, so that credentials never reach a host that they are not for.",
    ),
    Code(
        "git/empty",
        "{url} has no commits, so no branch {branch}",
        "push a first commit",
        "A config repo needs at least one commit with the manifests and the policies.",
    ),
    Code(
        "git/no-branch",
        "{url} has no branch {branch}",
        "create the branch, or name another one under `branch` in the config",
        "The config repo exists, but the configured branch does not.",
    ),
    Code(
        "git/timeout",
        "{step} took longer than {seconds} seconds",
        "wait; it is tried again in the next cycle. If it stays so, check the server or allow more time",
        "Each git process has a deadline; past it, the process and all its children are ended.",
    ),
    Code(
        "git/ended",
        "{step} was ended by automator, since {why}",
        "nothing has to be done: it is tried again in the next cycle",
        "A changed config, or a stop, waits for cycles under way for as long as `stop_timeout`; then what "
        "git does for them is ended. A push that was under way may have landed: the branch is asked.",
    ),
    Code(
        "git/stuck",
        "{step} was ended by automator, since the cycle took too long",
        "see `daemon/stuck` in the log: it tells where the cycle was",
        "A cycle that ran for longer than `stuck_after` is helped to its end: what git does for it is ended. "
        "It is tried again in the next cycle.",
    ),
    Code(
        "git/failed",
        "{step} failed: {words}",
        "see what git says; it is tried again in the next cycle",
        "A git command failed in a way that automator does not know by name.",
    ),
    Code(
        "git/disk",
        "no room to write ({url}): {words}",
        "make room where automator keeps its clone (the state folder; the temporary one for a command that "
        "may not write there), or on the Git server if it is the one that complains",
        "Git could not write because a disk or a quota is full. Nothing half written is used.",
    ),
    Code(
        "git/no-process",
        "{step}: this machine lets automator start no more processes or threads: {problem}",
        "raise the limit of tasks (`TasksMax`, `pids_limit`, `ulimit -u`), or see which Git servers hang; it "
        "is tried again in the next cycle",
        "Git and the programs that it starts are processes, of which the system permits only so many. See "
        "docs/operations.md, Sizes.",
    ),
    Code(
        "git/damaged",
        "the clone {folder} is damaged: {words}",
        "nothing to do: the next cycle makes a new clone",
        "The local clone can be rebuilt from the server at any time, so a damaged one is replaced, not "
        "repaired.",
    ),
    Code(
        "git/moved",
        "the branch {branch} was moved away from {commit} while it was being fetched",
        "wait for the next cycle",
        "Somebody replaced the branch between the question for its head and the fetch.",
    ),
    Code(
        "git/rewound",
        "{new} does not descend from {old}",
        "nothing to do, unless nobody meant to rewind the branch",
        "The branch was rewound or replaced, so what was known about its history does not lead to its "
        "present head.",
    ),
    Code(
        "git/no-commit",
        "the commit {commit} is not in the clone",
        "nothing to do: everything is read afresh",
        "A commit that was the branch's head before is gone, since the branch was rewound or the clone "
        "is new.",
    ),
    Code(
        "git/bad-path",
        "{path} cannot be written: it {problem}",
        "rename the file",
        "Only regular files with plain paths are written: no control characters, nothing outside the "
        "tree, no links.",
    ),
    Code(
        "git/signing",
        "commits cannot be signed with {key}: {problem}",
        "mend the key under `signing` of the config repo; releases fail until then, none goes out unsigned",
        "The key that `signing` names could not be used, or its program is not installed: ssh-keygen for SSH "
        "keys (which must have no passphrase and be readable for automator alone), gpg for GPG keys. Keys "
        "are read for each commit, so nothing needs a restart.",
    ),
    Code(
        "git/signers",
        "the file {file} of `require_signed` cannot be used: {problem}",
        "write the file, or mend its path or its permissions; nothing is done until then",
        "Whose signatures count stands in files of the daemon's config, read in every cycle. Without them "
        "nobody's commit counts.",
    ),
    Code(
        "git/unsigned-tip",
        "{branch} is at {commit} by {author}, which does not count: {problem}",
        "see who pushed it; then sign a commit on top of it, or take it back, or add the key to the files of "
        "`require_signed`",
        "`require_signed` has nothing done on a branch whose newest commit was not signed by an allowed key: "
        "policies are read from there, and who has stolen an account could steer them. The signer vouches "
        "for everything below. Our own commits are signed with the key under `signing`, which must be among "
        "the allowed ones, and merges that the forge makes with the forge's key.",
    ),
    Code(
        "usage/which-repo",
        "the config has several repos ({known}); name the one whose settings count",
        "add `--repo NAME`",
        "`check` reads one folder, and write, ignore and policies may differ between config repos.",
    ),
    Code(
        "usage/no-listener",
        "daemon.listen is switched off in the config, so there is nobody to ask",
        "set daemon.listen, or name an address with --url",
        "`health` asks the daemon's own HTTP listener.",
    ),
    # -- policies -------------------------------------------------------------------------------------------
    Code(
        "pattern/invalid",
        '"{text}" is no pattern: {problem}',
        "write a glob such as `main-*-{{key}}`, or an RE2 expression such as `^(?P<key>[0-9.]+)-alpine$`",
        "A glob knows `*` (any text) and `{key}` (the part that is compared), and covers the whole "
        "tag. Expressions are RE2, as in Flux and Argo CD: no look-around, no back-references.",
    ),
    Code(
        "policy/unparsable",
        "{place}: this policy file {problem}",
        "mend the file; until then its workloads are held as of its last valid version",
        "A policy file is one YAML document with `version: 1` and `workloads`. One that cannot be "
        "read holds its workloads: it never frees their files for others.",
    ),
    Code(
        "policy/reserved-file",
        "{place}: policy files that begin with `_` are reserved, and this version does not know {file}",
        "rename or remove the file",
        "`_freeze.yaml` stops a whole config repo and `_rules.yaml` limits what policies may say. A "
        "version that cannot honour them holds every workload rather than release past them; any "
        "other `_` file is only reported.",
    ),
    Code(
        "policy/unknown-key",
        "{place}: {key} is no key of a policy file",
        "{hint}",
        "Unknown keys are errors, because a guard with a spelling mistake would guard nothing.",
    ),
    Code(
        "policy/missing-key",
        "{place}: {key} is missing: {expected}",
        "add the key",
        "Every policy file says `version: 1`; every workload names its image and how versions are chosen.",
    ),
    Code(
        "policy/wrong-type",
        "{place}: {key} is {found}, expected {expected}",
        "write {expected}",
        "The value has another type than the key wants, such as a number without quotes for a text.",
    ),
    Code(
        "policy/unquoted",
        "{place}: {key} is {found} to YAML, expected text",
        'put it in quotes: "{text}"',
        "YAML reads some plain values as numbers, dates or booleans, and `1.10` thereby becomes 1.1; "
        "text that looks so is put in quotes.",
    ),
    Code(
        "policy/invalid-value",
        "{place}: {key}: {problem}",
        "{hint}",
        "The value has the right type, but cannot be used.",
    ),
    Code(
        "policy/duplicate-key",
        "{place}: {key} stands twice, first in line {line}",
        "remove one of them",
        "YAML forbids repeated keys, and readers differ in which one they take.",
    ),
    Code(
        "policy/duplicate-workload",
        "{place}: workload {name} is also defined at {other}",
        "rename or remove one of them",
        "A workload's name is unique in a config repo: it is the name in commits, log and commands. "
        "Both are held.",
    ),
    Code(
        "policy/no-choice",
        "{place}: {key} does not say which tags may be taken",
        'add `semver: ">=1.0"`, or `glob` or `regex` with `order`',
        "A policy that takes anything is never what somebody meant: a workload has a range, or a "
        "pattern with an order.",
    ),
    Code(
        "policy/conflict",
        "{place}: {key}: {problem}",
        "remove one of the two",
        "Two keys of the workload contradict each other, or one has no effect beside the other.",
    ),
    Code(
        "policy/group-differs",
        "{place}: group {group}: {problem} for {other} ({other_place})",
        "let all members say the same, or give them groups of their own",
        "The members of a group move together, so they must agree on `match`, and with `match: version` on "
        "the order by which versions are compared. Until they do, all of them are held.",
    ),
    Code(
        "policy/no-upstream",
        "{place}: `after` names {missing}, and there is none in this config repo",
        "mend the name; a workload of another config repo is written `repo/name`",
        "A version can only prove itself in a workload that exists. The workload is held rather than "
        "released without its proof.",
    ),
    Code(
        "policy/unreachable",
        '{place}: {key}: no version lies in "{text}"',
        "mend the range",
        "The comparators of the range contradict each other, so the workload could never be released.",
    ),
    Code(
        "policy/ambiguous-glob",
        '{place}: {key}: "{text}" can split a tag in two ways',
        "use `regex` to say which part is compared; until then stars before the key take the least",
        "With a star beside `{key}` there are tags with two possible keys. One is chosen, always the "
        "same way, but perhaps not the one that was meant. A warning only.",
    ),
    Code(
        "policy/odd-range",
        '{place}: {key}: `{comparator}` in "{text}" does not mean what it seems to',
        "write `*` for every version, or name numbers",
        "In the range language of Flux and Helm `^*` is exactly 0.0.0, `<=*` is below 0.1.0, `>*` "
        "above 0.0.0, `<*` below 0.0.0 and `!=*` all but 0.0.0. A warning only.",
    ),
    # -- guard rails ------------------------------------------------------------------------------------
    Code(
        "rule/violated",
        "{place}: {found}, but {rule} ({rule_place}) wants {wanted}",
        "write what the rule wants; who answers for the rule can change it",
        "Rules are guard rails, written in the daemon's config and in `policies/_rules.yaml`. A workload can "
        "be stricter than a rule, never laxer: one that says something against a rule is held.",
    ),
    # -- windows ---------------------------------------------------------------------------------------------
    Code(
        "window/invalid",
        '"{window}" is no window: {problem}',
        'write it as `{{allow: "0 9 * * 1-5", for: 8h, zone: Europe/Berlin}}`, or with `deny`',
        "A window opens at each start that its five cron fields name on the clocks of its zone (UTC where "
        "none is named), and lasts `for` so long, at most 31 days. Zones are named as in the tz database.",
    ),
    # -- promotion -------------------------------------------------------------------------------------------
    Code(
        "guard/soak",
        "{version} has been in {upstream} for {held} of {soak}; eligible at {at}",
        "wait, or let `urgent` name the version in the policy",
        "`after` takes a version only when the workload upstream has held exactly it, tag and digest, "
        "without a break for `soak`. Leaving and coming back begins the soak anew.",
    ),
    Code(
        "guard/soak-ended",
        "{version} was in {upstream} for {longest} of {soak} and is there no longer",
        "wait for what {upstream} holds now, or let it hold {version} again",
        "The workload upstream moved on before the soak was over. A stay that was long enough counts also "
        "afterwards; this one was not.",
    ),
    Code(
        "guard/soak-undeployed",
        "{version} is in {upstream}, and soaks once it is deployed there: {said}",
        "see why it does not come up there, or why the runtime does not answer; or let `urgent` name it",
        "Where a runtime of the config covers the workload upstream, a soak begins only once every such "
        "runtime has reported that it runs the version. What is not known is waited for, however long.",
    ),
    Code(
        "guard/soak-unseen",
        "{version} was in {upstream} and is there no longer; it was not seen deployed: {said}",
        "wait for what {upstream} holds now, or let it hold {version} again",
        "Where a runtime of the config covers the workload upstream, only time counts in which every such "
        "runtime is known to have run the version. What was there before a runtime was configured, or before "
        "the state folder was lost, is not known.",
    ),
    Code(
        "guard/after-never",
        "{upstream} never held {version}@{digest}",
        "let {upstream} have it first",
        "`after` takes only what the workload upstream has held, tag and digest both: another image under "
        "the same tag is another version.",
    ),
    Code(
        "guard/after-not-there",
        "{upstream} never held {version}",
        "let {upstream} have it first",
        "`after` takes only what the workload upstream has held. No registry was asked about this version.",
    ),
    Code(
        "guard/after-no-repo",
        "{upstream} is in the config repo {repo}, which this automator does not have",
        "add [repos.{repo}] to the config, or name another workload under `after`",
        "`after: staging/web` is the workload web of the config repo that the daemon's config calls staging.",
    ),
    Code(
        "guard/after-no-workload",
        "there is no {what} {upstream}",
        "check its name, and whether its policy is in that config repo and branch",
        "What `after` names is nowhere in the policies of its config repo, so nothing proves itself there.",
    ),
    Code(
        "guard/after-invalid",
        "{upstream} cannot be used: {problem}",
        "mend {upstream} first",
        "The workload upstream has an invalid policy, or sites that cannot be told, so what it held is not "
        "known.",
    ),
    Code(
        "guard/after-other-image",
        "no workload of the group {upstream} is {image}",
        "name a group that has this image under `after`, or a workload",
        "Of a group, those members count that are the same image: their digest is what is compared.",
    ),
    Code(
        "guard/after-late",
        "the config repo {repo} of {upstream} has not answered yet",
        "none; it is asked again in the next cycle",
        "Another config repo is read by a reader of its own. While its Git server is slow, nothing that "
        "comes "
        "after its workloads is released, and everything else is.",
    ),
    Code(
        "guard/after-unreadable",
        "the config repo {repo} of {upstream} cannot be read: {problem}",
        "see whether the Git server of {repo} answers, and lets us in",
        "`after` asks the config repo upstream for its newest commit each time a release hangs on it, so "
        "that "
        "what was rolled back a minute ago counts.",
    ),
    Code(
        "guard/after-rejected",
        "{version} was rejected in {upstream}",
        "wait for a newer version, or accept it in {upstream}",
        "What people turned away upstream is turned away downstream too, even where another upstream has "
        "held it long enough.",
    ),
    Code(
        "guard/after-unverified",
        "{version} is in {upstream}, but its checks there have not passed",
        "see the outcome of {upstream}",
        "Time spent upstream counts only once the checks that `verify` names there have passed.",
    ),
    Code(
        "guard/after-unasked",
        "{version} is in {upstream}, of whose checks there nothing is known here",
        "let one automator have both config repos; or take `verify` from {upstream} and name the checks here",
        "What checks said is in the state folder of the automator that asked them. One that has only the "
        "workloads downstream does not know it, and takes nothing on trust.",
    ),
    Code(
        "guard/after-no-order",
        "{upstream} says no order of versions that could be taken over",
        "add `semver`, or `order`, to this workload",
        "A workload that has only `after` orders versions as the one upstream does. Here nobody of those "
        "that it comes after says an order.",
    ),
    Code(
        "guard/after-orders",
        "{first} and {other} choose versions by different rules, and this workload says none",
        "add `semver`, or `order`, to this workload",
        "A workload that has only `after` takes over the rule of upstream, which must be one and the same "
        "where it comes after several.",
    ),
    Code(
        "guard/after-circle",
        "`after` goes in a circle: {circle}",
        "remove one `after` of the circle",
        "Each workload of the circle waits for what another one of it held before. All of them are held; "
        "other workloads are not.",
    ),
    Code(
        "guard/after-refusals",
        "whether somebody refused a version in {upstream} is not known: {problem}",
        "see whether the forge of {upstream} answers, and lets us in",
        "A version whose pull request a person closed upstream is not taken downstream either. Before a "
        "release that hangs on it the forge is asked; without an answer the release waits.",
    ),
    Code(
        "guard/after-unknown",
        "whether {upstream} has held {version}, and kept it, is not known",
        "see whether {upstream} has a policy, and whether its history can be read",
        "`after` needs the history of the workload upstream. While that is not known, nothing goes on: it "
        "may have been rejected there.",
    ),
    # -- verification ----------------------------------------------------------------------------------------
    Code(
        "verify/unknown-check",
        "{place}: there is no check {check} in the config; it has: {known}",
        "add [checks.{check}] to the config, or correct the name",
        "`verify` names checks that the daemon's config defines, so that no policy can name a host or a "
        "program. A release that nobody can verify is not made.",
    ),
    Code(
        "verify/no-runtime",
        "{place}: `verify: deployed`, but no runtime of the config covers {workload}",
        "add [runtimes.NAME] to the config whose `repo` and `paths` cover its files, or remove the check",
        "The check `deployed` is built in, and answered by the runtimes that the daemon's config names. A "
        "release of which nobody could say that it runs is not made.",
    ),
    Code(
        "verify/running",
        "{tag} waits for the checks of {version}: {checks}",
        "wait; where a runtime cannot tell, `automator drift` says what to write; or let `urgent` name the "
        "version in the policy",
        "With `verify`, a version must pass its checks before a newer one takes its place.",
    ),
    Code(
        "verify/apart",
        "{tag} waits: the sites of {workload} differ ({versions}), so that no check can be asked about them",
        "bring its sites to one version, or let `urgent` name {tag}",
        "With `verify`, what a workload holds must pass its checks before a newer version takes its place; a "
        "check is about one version.",
    ),
    Code(
        "verify/failed",
        "{version} failed its check {check}: {said}",
        "set another version, roll back, or name this one under `accept`; what `urgent` names is released",
        "A check that `verify` names said no so many times in a row, or did not pass within its time. "
        "Nothing "
        "newer is released until a person acts.",
    ),
    Code(
        "verify/failed-again",
        "{version} was rolled back to, and failed its check {check} too: {said}",
        "see what else is wrong; set another version, or name this one under `accept`",
        "A rollback is not rolled back again: that two versions fail says that something else does.",
    ),
    Code(
        "verify/stuck",
        "{version} failed its check {check} and is not rolled back: {problem}",
        "set another version, or name this one under `accept`",
        "`on_failure: rollback` undoes only releases that automator made by itself, to a version that the "
        "workload held before, that did not fail, and that the registry still has; a group as a whole, or "
        "not at all.",
    ),
    # -- clusters, as runtimes --------------------------------------------------------------------------
    Code(
        "cluster/kubeconfig",
        "{runtime}: the kubeconfig {file} cannot be used: {problem}",
        "mend it, or name another one as runtimes.{runtime}.kubeconfig",
        "The file that says where the cluster's API is and who we are is read at each look. It needs a "
        "cluster, a context, and a user with a token, a token file or a client certificate.",
    ),
    Code(
        "cluster/login-program",
        "{runtime}: user {user} of {file} logs in by a program ({command}), and none is ever run",
        "make a service account that may get, list and watch, and give the user its token by `tokenFile`",
        "Kubeconfigs of clouds run a program for each login (`exec`). automator runs none of them: in the "
        "cluster, its own service account is enough; from outside, a service account's token in a file.",
    ),
    Code(
        "cluster/file",
        "{runtime}: {file} cannot be used: {problem}",
        "mend the file, and let automator's user read it",
        "A token, a certificate or a key for the cluster's API is read at each look, and one cannot be.",
    ),
    Code(
        "cluster/no-account",
        "{runtime} has no kubeconfig, and there is no service account in {folder}",
        "run automator in the cluster with a service account, or set runtimes.{runtime}.kubeconfig",
        "Without a kubeconfig the service account of automator's own pod is used. A pod has none where "
        "`automountServiceAccountToken` is false.",
    ),
    Code(
        "cluster/unreachable",
        "{runtime}: the API server {host} gives no proper answer about {what}: {problem}",
        "wait; if it goes on, check the network, the server, and the time limit of runtimes.{runtime}",
        "The cluster's API was not reached, did not answer within the time limit, or failed by itself. What "
        "runs there is not known until it answers.",
    ),
    Code(
        "cluster/denied",
        "{runtime}: the API server {host} does not know {login}: {answer}",
        "give it a token or certificate that is valid; tokens of service accounts end after a time",
        "HTTP 401: who we are is not known, or not any more.",
    ),
    Code(
        "cluster/forbidden",
        "{runtime}: the API server {host} does not let automator list {what} {where}: {answer}",
        "add this rule to its role: {rule}; or narrow runtimes.{runtime}.namespaces",
        "HTTP 403: the role of our service account or user lacks a right. Only get, list and watch are ever "
        "needed.",
    ),
    Code(
        "cluster/answer",
        "{runtime}: the answer of {host} about {what} makes no sense: {problem}",
        "check the address; a proxy or a login page may be in between",
        "What answered does not speak the Kubernetes API, or gave a part of a list only. A part never passes "
        "for the whole.",
    ),
    Code(
        "cluster/left-out",
        "{what} are left out at {runtime}: {problem}",
        "add the rule to its role, or leave their synchronizer out of runtimes.{runtime}.status",
        "The status of Flux and Argo CD, and Rollouts, are of use where they may be read, and not needed. "
        "But a synchronizer that was never read may put each file into another namespace: where the runtime "
        "names no `namespaces`, none binds then, and what runs in several is unknown.",
    ),
    # -- drift ---------------------------------------------------------------------------------------------
    Code(
        "drift/same",
        "{place} in {runtime} runs {wanted}, as Git says",
        "nothing to do",
        "What runs is what the config repo says.",
    ),
    Code(
        "drift/pending",
        "not yet deployed: {place} in {runtime} runs {runs}, Git says {wanted}{told}",
        "wait for the synchronizer; past the grace time of the runtime it counts as diverged",
        "What runs is not what the config repo says, and the grace time ([runtimes.NAME] grace) is not over.",
    ),
    Code(
        "drift/rolling",
        "not yet deployed: {place} in {runtime} is on its way to {wanted}: {ready}{told}",
        "wait for the rollout; past the grace time of the runtime it counts as diverged",
        "The controller was told the version that Git says, and has not rolled it out completely.",
    ),
    Code(
        "drift/late",
        "{place} in {runtime} runs {runs}, Git says {wanted}{told}",
        "see whether the synchronizer works and reads this branch and folder; Git is never changed for this",
        "What runs is another version than the config repo says, for longer than the grace time of the "
        "runtime.",
    ),
    Code(
        "drift/foreign",
        "{place} in {runtime} runs {runs}, which Git never said; it says {wanted}{told}",
        "find out who set it, as by `kubectl set image`; write it into the config repo, or have the "
        "synchronizer set it back",
        "What runs is a version that the config repo never had there, for longer than the grace time of the "
        "runtime: somebody changed it past Git.",
    ),
    Code(
        "drift/stuck",
        "{place} in {runtime} does not get to {wanted}: {ready}{told}",
        "see why it does not come up, as with `kubectl describe`; roll back if it is the version",
        "The controller was told the version that Git says, and its rollout has not become complete within "
        "the grace time of the runtime.",
    ),
    Code(
        "drift/unobserved",
        "what runs in {runtime} is not known: {problem}",
        "mend what it names; until then nothing is said of what runs there",
        "The runtime could not be asked. Its workloads are unknown, never diverged, and releases go on.",
    ),
    Code(
        "drift/stale",
        "what runs in {runtime} is not known: the last look was {age} ago",
        "see in the log why there was none since",
        "An old observation says nothing of what runs now.",
    ),
    Code(
        "drift/absent",
        "nothing that runs in {where} is {image} of {site}",
        "nothing to do where it does not run there; else correct the namespace in the file or its "
        "kustomization, or `paths` or `namespaces` of runtimes.{runtime}",
        "Neither the object that the file names nor another one with its image was found.",
    ),
    Code(
        "drift/elsewhere",
        "{site} is not in {runtime}: {sync} applies it to {elsewhere}",
        "set `paths` of runtimes.{runtime} to what is to run there, and make the other cluster a runtime too",
        "Flux or Argo CD stands in this cluster, and puts what it applies into another one. What runs there "
        "is not seen from here.",
    ),
    Code(
        "drift/ended",
        "{place} in {runtime} ended, with {runs}; Git says {wanted}",
        "nothing to do: the next one runs what Git says",
        "A job that has ended is past: that it ran another version is no divergence.",
    ),
    Code(
        "drift/ambiguous",
        "the files of {workloads} say several versions of {image}, and nothing tells which of them is meant "
        "for {place} in {runtime}",
        "name kind, name, namespace and container in the files, or narrow `paths` and `namespaces` of "
        "runtimes.{runtime} (of an engine `project`)",
        "Sites say different versions of one image, and what runs cannot be told apart by object or "
        "namespace. It is unknown, never diverged.",
    ),
    Code(
        "drift/spread",
        "{image} runs in several namespaces of {runtime} ({namespaces}), and nothing tells which of them "
        "{site} is about",
        "write `namespace` into the file or its kustomization, or set runtimes.{runtime}.namespaces (of an "
        "engine `project`)",
        "The file names no namespace, so that what runs in one of them may be another environment's. Nothing "
        "is concluded from it: neither that it runs, nor that it failed.",
    ),
    Code(
        "drift/awaited",
        "not yet deployed: {place} is not in {runtime}; Git says {wanted}{told}",
        "wait for the synchronizer; past the grace time of the runtime it counts as diverged",
        "The object that the file names in full is not there, and the grace time ([runtimes.NAME] grace) is "
        "not over.",
    ),
    Code(
        "drift/git-unread",
        "{runtime} runs {runs}, and the config repo was read last at {at}, before that began",
        "see why the config repo cannot be read (`automator status`), or read it oftener ([repos.NAME] "
        "interval); it is told apart as soon as it was read",
        "What runs may be what Git says by now: somebody may have committed since it was read. So it is "
        "unknown, and never diverged, until the config repo was read after the difference began.",
    ),
    Code(
        "drift/missing",
        "{place} is not in {runtime}; Git says {wanted}{told}",
        "see who deleted it, or why the synchronizer does not make it; where it is not to run there, correct "
        "`paths` of the runtime",
        "The object that the file names in full is not in a cluster that was listed completely, nor anything "
        "that it could be under another name, for longer than the grace time of the runtime.",
    ),
    Code(
        "drift/unsure",
        "{place} in {runtime} runs {runs}, Git says {wanted}: whether they are the same cannot be told",
        "have the synchronizer apply the digest as Git says it, and it can be compared",
        "The runtime names the image in a way that cannot be compared: without a tag, or with a digest that "
        "may be one platform's part of what Git pins.",
    ),
    Code(
        "drift/mirrored",
        "{place} in {runtime} runs {runs}, which may be a mirror's name for {image}: whether they are the "
        "same cannot be told",
        "pin the digest (`pin: digest` in the policy): an equal digest is the same image by any name",
        "Something rewrites the image on its way into the cluster, as by `newName` of an overlay or in "
        "admission. The tag is the one that Git says, and the end of the name; the registry is another.",
    ),
    Code(
        "drift/templated",
        "{site} is filled in by a template, so that Git does not tell which version is to run in {runtime}",
        "write the tag itself there, or in the file of the config repo that the template takes it from",
        "A tag such as `${TAG}` is known to whoever fills it in alone: what runs is neither as Git says nor "
        "otherwise. A workload with other sites is judged by those.",
    ),
    Code(
        "drift/broke-off",
        "the look at {runtime} broke off: {problem}",
        "report it with the lines around this one; the next look comes as planned",
        "A bug of automator: an error that it does not know ended a look at a runtime. Its workloads are "
        "unknown until the next one.",
    ),
    # -- what will surprise ---------------------------------------------------------------------------------
    Code(
        "lint/no-tag",
        "the policy of {workload} takes no tag of {image} ({count} there): {most}",
        "compare the policy with `automator tags {image}`",
        "`check --online` asked the registry. With this policy nothing that is there now could be released.",
    ),
    Code(
        "lint/no-list",
        "{image} could not be asked for its tags: {problem}",
        "{next}",
        "`check --online` asks each registry for the tags of the images that policies watch. What depends on "
        "this list was not looked at.",
    ),
    Code(
        "lint/number-version",
        "{rule} reads a bare number such as {example} as a version, far above all others",
        "leave such tags out with `glob` or `regex`, or give the range an upper bound",
        "Build dates (`20231005`) and commit hashes that happen to be digits count as major versions where "
        "versions of fewer than three numbers are read, and the first of them wins for ever.",
    ),
    Code(
        "lint/commit-order",
        "order {order} compares commit hashes ({example}), whose order is not that of time",
        "use `order: newest`, or put a build number or a time into the tag and order by that",
        "Hashes compare like dice: versions would move back and forth, and most builds never be released.",
    ),
    Code(
        "lint/variant",
        "{tag} is a pre-release of {base} to semver, and not its variant {suffix}",
        'write `glob: "{{key}}-{suffix}"`, so that only this variant is taken and its version is compared',
        "Behind a hyphen, semver reads how finished a version is. Such a tag counts as older than the one "
        "without the suffix, is taken only where pre-releases are, and compares with every other suffix.",
    ),
    Code(
        "lint/upper-prerelease",
        '"{text}" admits {admitted}, a pre-release of the version at which it ends',
        'write "{fixed}"',
        "Pre-releases come before their version, so `<2` does not keep them out once the range takes "
        "pre-releases at all. `<2.0.0-0` does.",
    ),
    Code(
        "lint/window-never",
        "the windows are never open: nothing can ever be released",
        "mend the times, or remove the window that denies them",
        "Deny beats allow, and nothing is left of what is allowed.",
    ),
    Code(
        "lint/after-circle",
        "`after` goes in a circle: {circle}",
        "remove one `after` of the circle",
        "Each workload of the circle waits for a version that another one of it held before, so none ever "
        "takes a new one. Workloads of a group move together and count as one.",
    ),
    Code(
        "lint/chart-unseen",
        "{workload} comes after {upstream}, a chart, of which {runtime} cannot tell whether it runs",
        "nothing to do where a soak from the commit on is enough; else let it come after an image",
        "A chart or another artifact runs under no name of its own. What comes after it soaks from the "
        "commit on, as without a runtime.",
    ),
    Code(
        "lint/group-alone",
        "{workload} is the only member of the group {group}",
        "check the name of the group, or remove `group`",
        "A group of one moves like a workload without a group; often one of the names is misspelt.",
    ),
    Code(
        "lint/group-apart",
        "the members of the group {group} can never move together: {problem}",
        "give the members ranges, tags and windows that meet",
        "A group moves to versions that every member takes, at times when every member may.",
    ),
    Code(
        "lint/no-effect",
        "`{key}` has no effect: {problem}",
        "correct or remove it",
        "What stands there changes nothing, and so probably is not what was meant.",
    ),
    Code(
        "lint/excludes-all",
        '`exclude` leaves nothing: "{glob}" matches every tag that could be taken',
        "make the glob narrower",
        "No tag can pass both the pattern of the workload and this exclusion.",
    ),
    Code(
        "lint/urgent-outside",
        "`urgent` names {version}, which this policy never takes: {problem}",
        "correct the version, or widen the policy",
        "`urgent` goes past waiting times and windows, never past filters and range.",
    ),
    Code(
        "lint/ended",
        "this {what} ended at {until}",
        "remove it",
        "The stop has ended by itself and no longer does anything.",
    ),
    Code(
        "lint/unowned",
        "no policy owns {site} ({image})",
        "give it a workload, or leave it to people",
        "`check --coverage` names every image of the config repo that nobody releases.",
    ),
    Code(
        "lint/overridden",
        "{overlay} sets the image of {site}: what {workload} writes has no effect there",
        "let {workload} own {overlay} too, or remove the image from the overlay",
        "A Kustomization patches what it includes and replaces its images; Flux and Argo CD can do so with "
        "what they deploy. A release in the base would not reach what is described further out.",
    ),
    Code(
        "lint/second-writer",
        "{writer} also writes at {site}: {how}",
        "{stop}",
        "Another bot's config covers a site that a workload owns. Two writers with different rules undo each "
        "other's commits.",
    ),
    # -- edits of policy files -----------------------------------------------------------------------------
    Code(
        "edit/flow",
        "{place}: `{key}` would stand in a mapping in braces",
        "by hand: {by_hand}",
        "Only whole lines are put into a policy file or taken out of it. In `{a: b}`, a new key would change "
        "a line that is there already.",
    ),
    Code(
        "edit/shared",
        "{place}: `{key}` stands in what an anchor, an alias or a merge key may share with other places",
        "by hand: {by_hand}",
        "A change where `&name`, `*name` or `<<` stands may change, or hide, more than the one key.",
    ),
    Code(
        "edit/documents",
        "{place}: the file holds several YAML documents, and `{key}` is wanted in one",
        "by hand: {by_hand}",
        "A policy file is one YAML document; with several it is not known which is meant.",
    ),
    Code(
        "edit/templated",
        "{place}: the file of `{key}` holds templates in double braces",
        "by hand: {by_hand}",
        "What a template makes of a line cannot be foreseen, so such a file is not edited as a policy file.",
    ),
    Code(
        "edit/no-parent",
        "{place}: there is nothing in which `{key}` could stand",
        "check the names; by hand: {by_hand}",
        "The mapping that is to hold the key is not in the file: a misspelt workload, or another file's.",
    ),
    Code(
        "edit/repeated",
        "{place}: a name on the way to `{key}` stands twice in its mapping",
        "remove one of the two; by hand: {by_hand}",
        "Readers disagree on which of two equal keys counts, so neither is edited.",
    ),
    Code(
        "edit/other-value",
        "{place}: for `{key}`, another kind of value stands there already",
        "by hand: {by_hand}",
        "A text replaces a text and an item goes to a list; a mapping is not overwritten by a text, nor a "
        "list by another one.",
    ),
    Code(
        "edit/only-key",
        "{place}: `{key}` is the only key of its mapping, which would be left without a value",
        "remove the mapping instead; by hand: {by_hand}",
        "A key without a value is an error in a policy file, so the last key of a mapping is not removed.",
    ),
    Code(
        "edit/layout",
        "{place}: `{key}` cannot be changed without touching other lines",
        "by hand: {by_hand}",
        "The place is laid out in a way that is not edited: several lines in brackets, a tag, `? key`, a "
        "block scalar, or lines that would read differently afterwards.",
    ),
    Code(
        "edit/value",
        "{place}: `{key}` cannot get this value",
        "leave out double braces and what is no text; by hand: {by_hand}",
        "Policy files get texts, booleans, numbers, lists of texts and flat mappings; no templates.",
    ),
    # -- what people ask for by commands ---------------------------------------------------------------
    Code(
        "action/held-already",
        "{workload} is held already, for this reason and until this time",
        "nothing to do",
        "The policy file has a `hold` for the workload that says the same, so there is nothing to commit.",
    ),
    Code(
        "action/not-held",
        "{workload} has no `hold`",
        "nothing to do; `automator status` tells what else may stop it",
        "There is no `hold` in the workload's policy. A freeze, a window or a guard may stop it all the "
        "same.",
    ),
    Code(
        "action/listed-already",
        "{workload} has {version} under `{key}` already",
        "nothing to do",
        "The list in the policy file names the version, so there is nothing to commit.",
    ),
    Code(
        "action/inherited",
        "{workload} has its `{key}` from {place}, which is for other workloads too",
        "change it there by hand, or give the workload a `{key}` of its own",
        "A command changes the one workload that it names. What stands in the defaults of a policy file is "
        "for all of its workloads, and only a person can mean that.",
    ),
    Code(
        "action/invalid",
        "{workload} cannot be moved or edited as long as its policy is not valid: {problem}",
        "mend the policy, or write the version by hand with `automator set`",
        "A command needs to know what the workload's policy says. An invalid one keeps its sites and is "
        "held.",
    ),
    Code(
        "action/other-format",
        "a file of another format is not edited: {problem}",
        "{hint}",
        "The `version` of a policy file or of `_freeze.yaml` says which words it is written in. In one that "
        "this program does not know, a key of ours may mean nothing or something else, and a stop may be "
        "more than can be read here: nothing is written into such a file, and none is removed. The usual "
        "case is an older program on somebody's machine beside a newer daemon.",
    ),
    Code(
        "action/no-version",
        "{workload}: {version} is no version for it: {what} is wanted",
        "copy the version from `automator explain {workload}`",
        "Versions are given as tags; of a workload that follows a tag, whose versions all have the same tag, "
        "as digests.",
    ),
    Code(
        "action/breaks",
        "afterwards a policy would be invalid: {problem}",
        "make the change by hand",
        "After a command's edit the policies must be as valid as before. Nothing was committed.",
    ),
    Code(
        "action/held",
        "{workload} is on hold already, and for longer: {why} (until {until})",
        "leave it, or `automator resume {workload}` first",
        "A hold that lasts longer is not replaced by one that ends earlier: its reason and its end belong to "
        "who declared it.",
    ),
    Code(
        "action/stopped-meanwhile",
        "somebody else declared another stop of {what} meanwhile: {stop}",
        "look whether it is meant to stay; then run the command again",
        "Somebody else pushed first. A stop that was not there when the command began is neither replaced "
        "nor taken away.",
    ),
    Code(
        "action/still-stopped",
        "{what} is still stopped by {place}: {why}",
        "see `automator status`; releases go on once that is taken away, too",
        "Stops stand beside each other: a hold, one of the defaults, the freezes of a file and of the repo.",
    ),
    Code(
        "action/frozen",
        "{place} has a freeze already, with another reason or end",
        "thaw first, or change it by hand",
        "A freeze that somebody else declared is not replaced: its reason and its end are theirs.",
    ),
    Code(
        "action/frozen-already",
        "{place} has a freeze already, for this reason and until this time",
        "nothing to do",
        "The freeze that is asked for stands there, so there is nothing to commit.",
    ),
    Code(
        "action/not-frozen",
        "{place} has no freeze",
        "nothing to do; `automator status` tells what else may stop a workload",
        "There is no such freeze. One workload may have a `hold`, or another policy file a freeze of its "
        "own.",
    ),
    Code(
        "action/no-sites",
        "{workload} has no site: no file has its image",
        "run `automator explain {workload}`",
        "A workload without a site has no version, so that there is nothing to move.",
    ),
    Code(
        "action/nothing-before",
        "{workload} has held no other version than {current} that nobody turned away, as far as history "
        "tells",
        "name the version with --to",
        "Without --to, a rollback goes to the version before the present one, as the branch's history has "
        "it. There is none, or it is older than the history that may be read (`history_limit`).",
    ),
    Code(
        "action/never-there",
        "{workload} never held {version}, and the registry does not serve it: {problem}",
        "check the version; --force takes it all the same where no digest is needed",
        "A rollback goes to a version that the workload held, or that the registry has now. Anything else is "
        "probably a misspelling.",
    ),
    Code(
        "action/absent",
        "the registry has no tag of {image} that is {version}",
        "run `automator tags {image}` to see what there is",
        "A release takes what the registry has. Not even --force releases a tag that cannot be pulled.",
    ),
    Code(
        "action/not-served",
        "{image}: the registry does not serve {version} any more",
        "choose another version; --force takes it all the same",
        "The workload held this version once, but its image is gone from the registry: a new pod could not "
        "be started.",
    ),
    Code(
        "action/no-digest",
        "{workload} is pinned by digest, and none is known for {version}: {problem}",
        "name another version, or write the digest by hand",
        "A site that has a digest keeps one. Neither history nor the registry tells which digest belongs to "
        "this version.",
    ),
    Code(
        "action/newer",
        "{version} is newer than {current}, which {workload} has now",
        "`automator release {workload} --to {version}` moves up",
        "A rollback goes back. Moving up is a release, for which the policy is asked.",
    ),
    Code(
        "action/not-before",
        "nothing tells that {version} is older than {current}, which {workload} has now",
        "`automator release {workload} --to {version}` asks the policy; --force takes it all the same",
        "A rollback goes past the policy, so that it goes back only: to a version that the order puts below "
        "the present one, or that the workload held before it.",
    ),
    Code(
        "action/rejected",
        "{workload}: {version} was rejected by a person, as {place} says",
        "choose another version; --force takes it all the same",
        "A version under `reject` is never gone back to unasked.",
    ),
    Code(
        "action/moved-on",
        "{workload} is not at {at} any more: {by} set {current}",
        "see `automator status`; then decide anew",
        "The command was meant for another version: the one of --from, or the one that was there when it "
        "began.",
    ),
    Code(
        "action/back-already",
        "{by} took {workload} back to {current} {age} ago",
        "nothing to do, if that is what you want; --from {current} or --to VERSION goes further back",
        "Two people who see the same failure ask for the same rollback. The second one would go a version "
        "too far.",
    ),
    Code(
        "action/still-accepted",
        "{place} still lists {version} under `accept`: that does not bring it back, nor would accepting it "
        "again",
        "take it out there by hand before you accept it once more",
        "A rollback takes the versions that it leaves out of `accept`, where that can be edited exactly and "
        "stands in the workload itself.",
    ),
    Code(
        "action/further-back",
        "{workload} was taken back to {current} by {by} already: this goes further back",
        "`automator release {workload} --to {current}` undoes it, if that was not meant",
        "Each rollback goes to the version before the present one.",
    ),
    Code(
        "action/not-its-digest",
        "{workload}: {version} neither is nor was {digest}; it is {found}",
        "leave the digest out, or copy it from `automator log {workload}`",
        "A digest that is named must be one that the version has in the registry, or had when the workload "
        "held it.",
    ),
    Code(
        "action/lagging",
        "{workload} is at {version}, but {site} is at {other}",
        "--force brings it there, and is written down",
        "Some sites of the workload are at another version, and the policy moves none of them there by "
        "itself.",
    ),
    Code(
        "action/older",
        "{version} is older than {current}, which {workload} has now",
        "`automator rollback {workload} --to {version}` moves down; so does --force",
        "Nothing moves to an older version unless a person says that it is meant.",
    ),
    Code(
        "action/at-it",
        "{workload} is at {version} already",
        "nothing to do",
        "All sites of the workload have this version, so there is nothing to commit.",
    ),
    Code(
        "action/refused",
        "the policy does not let {workload} go to {version} now: {problem}",
        "{next}; --force goes past the policy, and is written down",
        "`release` asks the policy as a cycle does: filters, range, guards, windows, holds and what people "
        "turned away. With --force it is released all the same, and the commit names what it went past.",
    ),
    Code(
        "action/held-back",
        "the policy does not let {workload} go to {version} now: {problem}",
        "{next}",
        "`promote` waits neither for soak nor for checks upstream; everything else that the policy asks for "
        "binds it as it binds a cycle.",
    ),
    Code(
        "action/member",
        "{workload} moves together with {member}, which cannot go along: {problem}",
        "see `automator explain {member}`",
        "The members of a group move together or not at all, also when a person moves them.",
    ),
    Code(
        "action/no-upstream",
        "{workload} comes after no other workload",
        "`automator release {workload} --to VERSION` releases a version",
        "`promote` is for workloads whose policy has `after`.",
    ),
    Code(
        "action/upstream-unclear",
        "{workload}: what {upstream} holds now cannot be promoted: {problem}",
        "name the version with --to, or see `automator explain {workload}`",
        "`promote` takes the exact tag and digest that the workload upstream holds now; those of several "
        "must "
        "be the same.",
    ),
    Code(
        "action/other-digest",
        "{image}: the registry serves {found} for {version}, and {upstream} has {digest}",
        "push the image anew under another tag",
        "A promotion takes what was tried upstream, and not what the tag means by now.",
    ),
    Code(
        "action/moved-tag",
        "{image}:{version} was {held} when it was released; the registry serves {found} for it now",
        "look whether that is what you want; --to a version that nobody pushed again is safer",
        "The tag was pushed again since. Where a site has no digest, the cluster gets the new image.",
    ),
    Code(
        "action/rejects-current",
        "{workload} is at {version} now and stays there",
        "`automator rollback {workload}` moves it",
        "A rejection keeps automator from taking a version. It moves nothing.",
    ),
    Code(
        "action/lost-race",
        "somebody else pushed to {repo} first, {tries} times in a row; nothing was done",
        "run the command again",
        "Each time that somebody else was first, the change was computed anew on what they pushed.",
    ),
    Code(
        "action/push-refused",
        "the server of {repo} refused the commit: {words}",
        "mend what it says; where the branch is protected, set `deliver` to pull-request",
        "These are the Git server's own words: a hook, a branch rule, missing permission. Nothing was "
        "changed.",
    ),
    Code(
        "action/observe-only",
        "{repo} has `mode` observe: nothing is pushed to it",
        "use --dry-run to see the change, or set `mode` to write",
        "In mode observe, automator does everything but the push; that binds commands too.",
    ),
    Code(
        "action/no-forge",
        "{repo} takes changes by pull request, and no forge is configured for it",
        "add [forges] to the config",
        "The config or the policy demands a pull request, which only a forge can open.",
    ),
    Code(
        "action/replaces",
        "{url} brought {before} until now, and brings what you asked for from now on",
        "if that is not meant, close it, or run the other command again",
        "There is one pull request for a workload, and one for each kind of change of it. It was open "
        "already.",
    ),
    Code(
        "action/pull-request-only",
        "{repo} takes this change by pull request only, as {who} says",
        "leave out --push",
        "`--push` insists on pushing to the branch. The config or a policy demands a pull request.",
    ),
    # -- why a tag is dropped -------------------------------------------------------------------------------
    Code(
        "tag/grammar",
        "it is no tag that a registry may have",
        "nothing to do",
        "Tags have at most 128 letters, digits, `_`, `.` and `-`, and begin with none of the last two.",
    ),
    Code(
        "tag/shape",
        "it has the shape of a signature, attestation or SBOM",
        "nothing to do",
        "Signing tools store what belongs to an image under tags such as `sha256-….sig`; they are "
        "never released.",
    ),
    Code(
        "tag/glob",
        'it does not match the glob "{glob}"',
        "change `glob` if it should",
        "The glob must cover the whole tag, from its first character to its last; `*` is any text.",
    ),
    Code(
        "tag/regex",
        'it does not match the expression "{regex}"',
        "change `regex` if it should",
        "The expression must cover the whole tag, and its `key` group must not be empty.",
    ),
    Code(
        "tag/excluded",
        'it matches "{glob}", which `exclude` names',
        "change `exclude` if it should be taken",
        "Tags that a glob of `exclude` matches are never taken.",
    ),
    Code(
        "tag/rejected",
        "a person refused it (`reject`)",
        "nothing to do",
        "The policy lists this exact version under `reject`. Other spellings of the version are meant too.",
    ),
    Code(
        "tag/not-followed",
        "only {followed} is followed",
        "nothing to do",
        "Under `follow` one moving tag is watched, and no other is ever taken.",
    ),
    Code(
        "tag/unreadable",
        '"{key}" is not {wanted}',
        "use a pattern with a key, another order, or `versions: lenient`, if this tag should be read",
        "The part that is compared cannot be read in the workload's order, so the tag has no place in it.",
    ),
    Code(
        "tag/range",
        'it lies outside "{range}"',
        "change `semver` if it should be taken",
        "The version is not in the range that the workload's `semver` names, so no release takes it.",
    ),
    Code(
        "tag/prerelease",
        "it is {what}, and the policy says `prereleases: {mode}`",
        "change `prereleases`, or name a pre-release in the range (`>=1.4-0`), if it should be taken",
        "With `range` a pre-release is taken only where the range itself names one, with `never` not "
        "at all, with `only` nothing else is.",
    ),
    Code(
        "history/rewound",
        "{held} was on the branch, and then the branch was set back past that",
        "set {tag} by hand if it is wanted after all, or wait for a version newer than {held}",
        "Somebody force-pushed the branch to an older commit. The versions that went with it, and those in "
        "between, are not released again by themselves, since the branch no longer tells why they were taken "
        "back. A push that was under way when automator was killed counts too, where the server has the "
        "commit and the branch does not: nobody can tell that from one that was taken back.",
    ),
    Code(
        "registry/bug",
        "{image}: automator failed on the registry's answer: {problem}",
        "report it as a bug; the other workloads are not affected",
        "Something in the answer was not foreseen. It stays with the workloads of this image.",
    ),
    Code(
        "file/odd-path",
        "the path {file} has characters that cannot be printed; its sites are found but never written",
        "rename the file",
        "A path with control or invisible characters is a trap for whoever reads a diff; it is not edited.",
    ),
)
