"""Policies from files and folders, and their versions: a policy that changed since the last run counts one up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from netpersona.errors import PolicyError
from netpersona.policy.model import Policy, PolicySet
from netpersona.policy.parse import merge, parse

Texts = dict[str, str]  # file -> its text
Versions = dict[str, tuple[int, str]]  # policy -> its version, and the hash of what it said then


def read(paths: Iterable[Path]) -> Texts:
    """The text of every policy file; a folder stands for its *.yaml and *.yml.  Raises PolicyError."""
    texts: Texts = {}
    for path in paths:
        files = sorted([*path.glob("*.yaml"), *path.glob("*.yml")]) if path.is_dir() else [path]
        if not files:
            raise PolicyError(f"{path}: no *.yaml or *.yml file is in this folder")
        for file in files:
            try:
                texts[str(file)] = file.read_text(encoding="utf-8")
            except OSError as error:
                raise PolicyError(f"{file}: {error.strerror}; name a policy file or a folder of them") from error
            except UnicodeDecodeError as error:
                raise PolicyError(f"{file}: not UTF-8 text at byte {error.start}") from error
    return texts


def parsed(texts: Mapping[str, str]) -> PolicySet:
    """Everything that these files say, as one set.  Raises PolicyError with every problem of every file."""
    sets, problems = [], []
    for file, text in texts.items():
        try:
            sets.append(parse(text, file))
        except PolicyError as error:
            problems.append(str(error))
    if problems:
        raise PolicyError("\n".join(problems))
    return merge(sets)


def versioned(policies: PolicySet, before: Mapping[str, tuple[int, str]]) -> tuple[PolicySet, Versions]:
    """The policies with their versions, given what the versions were before; and the versions now."""
    versions: Versions = {}
    numbered = []
    for policy in policies.policies:
        said = _content(policy)
        number, then = before.get(policy.name, (0, ""))
        versions[policy.name] = (number if said == then else number + 1, said)
        numbered.append(replace(policy, version=versions[policy.name][0]))
    return replace(policies, policies=tuple(numbered)), versions


def encode(texts: Texts, versions: Versions) -> bytes:
    """Texts and versions as bytes for the store."""
    return json.dumps({"texts": texts, "versions": versions}, sort_keys=True).encode()


def decode(content: bytes | None) -> tuple[Texts, Versions]:
    """What encode() was given; nothing for an empty store."""
    if content is None:
        return {}, {}
    stored = json.loads(content)
    return stored["texts"], {name: (number, said) for name, (number, said) in stored["versions"].items()}


def _content(policy: Policy) -> str:
    """A hash of what the policy says, wherever it stands."""
    placeless = replace(policy, version=0)
    return hashlib.blake2b(_without_places(repr(placeless)).encode(), digest_size=8).hexdigest()


def _without_places(text: str) -> str:
    import re

    return re.sub(r"Place\(file=.*?, line=\d+, column=\d+\)", "", text)
