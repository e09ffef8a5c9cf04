"""Where in a configuration file a key stands, so that an error names its line."""

from __future__ import annotations

import re

import yaml

_STEP = re.compile(r"\.([A-Za-z0-9_-]+)|\[([0-9]+)\]")
_AT = re.compile(r" - at `(\$[^`]*)`")


class Lines:
    """The lines of a YAML document's keys."""

    def __init__(self, name: str, document: yaml.Node | None) -> None:
        """`name`: of the file."""
        self._name, self._document = name, document

    def place(self, *keys: str | int) -> str:
        """`file:line` of a value, by the keys and places in lists that lead to it; as far as they are there."""
        node, line = self._document, None
        for key in keys:
            found = _below(node, key)
            if found is None:
                break
            node, line = found
        return self._name if line is None else f"{self._name}:{line}"

    def of_message(self, message: str, key: str | None = None) -> str:
        """`file:line` of what a message of msgspec's is about; `key`: the one below it that is meant."""
        said = _AT.search(message)
        steps = [name or int(number) for name, number in _STEP.findall(said[1] if said else "")]
        return self.place(*steps, *(() if key is None else (key,)))


def _below(node: yaml.Node | None, key: str | int) -> tuple[yaml.Node, int] | None:
    """What stands under a key, and the line of that key."""
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        found = node.value[key]
        return found, found.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value == key:
                return value, name.start_mark.line + 1
    return None
