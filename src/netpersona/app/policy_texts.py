"""Policy files as text: one policy put in, taken out, or given another mode, and every other line left as written.

A file holds documents; a document begins where its `---` stands.  What a person wrote around a policy, comments among
it, stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from netpersona.errors import PolicyError

Texts = dict[str, str]  # file or resource name -> its text


class _Document(NamedTuple):
    """Where a document stands in its file, and the policy that it is; None: it is something else."""

    begin: int
    end: int
    name: str | None
    node: yaml.Node | None


def count(text: str) -> int:
    """How many documents the text holds.  Raises PolicyError."""
    return sum(found.node is not None for found in _documents(text, "the policy"))


def with_policy(texts: Mapping[str, str], name: str, text: str) -> Texts:
    """The files with this policy in place of the one of its name, where that stood; else in a file of its own."""
    return _with(texts, ("Policy", name), text)


def merged(texts: Mapping[str, str], others: Mapping[str, str]) -> Texts:
    """The files with each document of the others in place of the one of its kind and name, or beside them.

    Raises PolicyError where one cannot be read.
    """
    found = dict(texts)
    for file, whole in others.items():
        for each in _documents(whole, file):
            if each.node is not None:
                found = _with(found, _key(each.node), whole[each.begin : each.end])
    return found


def without_policy(texts: Mapping[str, str], name: str) -> Texts:
    """The files without this policy; a file that held nothing else goes.  Raises PolicyError where no file has it."""
    for file, whole in texts.items():
        for found in _documents(whole, file):
            if found.name == name:
                rest = whole[: found.begin] + whole[found.end :]
                empty = all(each.node is None for each in _documents(rest, file))
                others = {other: text for other, text in texts.items() if other != file}
                return others if empty else {**texts, file: rest}
    raise PolicyError(f"no file has a policy {name[:100]!r}; 'netpersona policy list' names them all")


def with_mode(texts: Mapping[str, str], name: str | None, mode: str) -> Texts:
    """The files with this policy, or all of them, in another mode.  Raises PolicyError where no file has it."""
    changed, met = dict(texts), False
    for file, whole in texts.items():
        text = whole
        for found in reversed(list(_documents(whole, file))):  # from the end, so that places before it stay
            if found.name is not None and name in {None, found.name}:
                text, met = _moded(text, found, mode, file), True
        changed[file] = text
    if not met and name is not None:
        raise PolicyError(f"no file has a policy {name[:100]!r}; 'netpersona policy list' names them all")
    return changed


def _with(texts: Mapping[str, str], key: tuple[str, str], text: str) -> Texts:
    for file, whole in texts.items():
        for found in _documents(whole, file):
            if found.node is not None and _key(found.node) == key:
                opened = "" if text.startswith("---") or not whole.startswith("---", found.begin) else "---\n"
                closed = "" if text.endswith("\n") else "\n"
                return {**texts, file: f"{whole[: found.begin]}{opened}{text}{closed}{whole[found.end :]}"}
    return {**texts, _free(texts, key[1] or key[0]): text}


def _documents(text: str, file: str) -> Iterator[_Document]:
    try:
        nodes = list(yaml.compose_all(text, yaml.SafeLoader))
        starts = [_place(e.start_mark) for e in yaml.parse(text) if isinstance(e, yaml.DocumentStartEvent)]
    except (yaml.YAMLError, RecursionError) as error:
        raise PolicyError(f"{file}: cannot be read as YAML: {' '.join(str(error).split())[:300]}") from error
    begins = [0, *starts[1:]]
    for begin, end, node in zip(begins, [*begins[1:], len(text)], nodes, strict=False):
        yield _Document(begin, end, _policy_name(node), node)


def _place(mark: Any) -> int:
    """The character of the text at which the mark stands."""
    return int(mark.index)


def _key(node: yaml.Node) -> tuple[str, str]:
    """The kind and the name of a document; of what there is one of, only the kind."""
    kind, name = (
        str(found.value) if isinstance(found, yaml.ScalarNode) else ""
        for found in (_value(node, "kind"), _value(_value(node, "metadata"), "name"))
    )
    return kind, "" if kind == "AlwaysAllow" else name


def _policy_name(node: yaml.Node | None) -> str | None:
    kind, metadata = _value(node, "kind"), _value(node, "metadata")
    name = _value(metadata, "name")
    if not isinstance(kind, yaml.ScalarNode) or kind.value != "Policy" or not isinstance(name, yaml.ScalarNode):
        return None
    return str(name.value)


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for known, value in node.value if known.value == key), None)


def _moded(text: str, found: _Document, mode: str, file: str) -> str:
    written = _value(_value(found.node, "spec"), "mode")
    if not isinstance(written, yaml.ScalarNode):
        raise PolicyError(f"{file}: the policy {found.name} has no mode; write enforce, stage or off")
    return f"{text[: _place(written.start_mark)]}{mode}{text[_place(written.end_mark) :]}"


def _free(texts: Mapping[str, str], name: str) -> str:
    """A file name that no file has."""
    stem, number = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:100], 1
    while (file := f"{stem}.yaml" if number == 1 else f"{stem}-{number}.yaml") in texts:
        number += 1
    return file
