"""The inventory in a YAML file: which VMs exist, as someone wrote them down.

    vms:
      - {name: web-1, interface: tap-web-1, mac: "52:54:00:00:00:01", addresses: [10.77.0.11/24],
         gateways: [10.77.0.1], resolvers: [10.77.0.1], mtu: 1500, labels: {role: web}, sbom: web-1.cdx.json}

Only `name` and `addresses` are needed.  An address without its prefix stands for itself alone (/32, /128).  Every
problem of the file is told at once, with its place; nothing is made of a file that has any.  A list without a VM is
a problem: whoever gives an inventory wants somebody watched.  `sbom` is a file beside it: a bill of
material in CycloneDX.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from ipaddress import ip_interface
from pathlib import Path
from typing import TypeVar

from netpersona.errors import InventoryError, PolicyError
from netpersona.flow.vm import Vm, VmId, canonical_address, vm_id
from netpersona.policy.model import Place
from netpersona.policy.yaml_text import Mapping, Node, Scalar, read_documents
from netpersona.policy.yaml_text import Sequence as NodeSequence

T = TypeVar("T")
_Convert = Callable[[str], T]  # raises ValueError with what is wrong
_Claims = dict[tuple[str, str], tuple[VmId, Place]]  # (what, its text) -> whose, and where it was said

KNOWN = ("name", "interface", "mac", "addresses", "gateways", "resolvers", "mtu", "labels", "sbom")
_INTERFACE = re.compile(r"[A-Za-z0-9_.@-]{1,15}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_NOBODY = (
    "`vms` lists no VM, so nothing would be watched; list one, or give no inventory: "
    "then the private addresses of the traffic are the VMs"
)
_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,62}")


class YamlInventory:
    """The Inventory that a YAML file lists; it is read again each time it is asked.  Raises InventoryError."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def vms(self) -> list[Vm]:
        """Every VM, in the order of their names."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except UnicodeDecodeError as e:
            raise InventoryError(f"{self.path}: not UTF-8 text at byte {e.start}; an inventory is a YAML file") from e
        except OSError as e:
            raise InventoryError(f"{self.path}: {e.strerror or e}; name a YAML file with `vms: [...]`") from e
        return read_inventory(text, str(self.path))


def read_inventory(text: str, file: str) -> list[Vm]:
    """The VMs that a YAML text lists, in the order of their names.

    Raises InventoryError with one line "FILE:LINE:COLUMN: what is wrong" for each problem.
    """
    try:
        documents = read_documents(text, file)
    except PolicyError as e:
        raise InventoryError(str(e)) from e
    problems = _Problems()
    vms = [vm for node in _entries(documents, file, problems) if (vm := _Entry(node, problems).vm()) is not None]
    _check_claims(vms, problems)
    problems.tell()
    return sorted((vm for vm, _ in vms), key=lambda vm: vm.name)


class _Problems:
    """What is wrong, each with its place."""

    def __init__(self) -> None:
        self.found: list[tuple[Place, str]] = []

    def note(self, place: Place, message: str) -> None:
        self.found.append((place, message))

    def tell(self) -> None:
        if self.found:
            raise InventoryError("\n".join(f"{place}: {message}" for place, message in sorted(set(self.found))))


def _entries(documents: Sequence[Node], file: str, problems: _Problems) -> Sequence[Node]:
    """The members of `vms`, the file's only field."""
    if len(documents) != 1 or not isinstance(documents[0], Mapping):
        place = documents[-1].place if documents else Place(file, 1, 1)
        problems.note(place, "an inventory is one mapping with the field `vms`")
        return ()
    fields = _known_fields(documents[0], ("vms",), "an inventory", problems)
    node = fields.get("vms")
    if node is None:
        problems.note(documents[0].place, "an inventory needs the field `vms`")
        return ()
    empty = not node.items if isinstance(node, NodeSequence) else isinstance(node, Scalar) and node.null
    if empty:
        problems.note(node.place, _NOBODY)
    elif not isinstance(node, NodeSequence):
        problems.note(node.place, "`vms` is a list of VMs")
    return node.items if isinstance(node, NodeSequence) else ()


def _known_fields(node: Mapping, known: Sequence[str], what: str, problems: _Problems) -> dict[str, Node]:
    """The mapping's fields by name; those that are not known are noted, with the word probably meant."""
    for key, _ in node.fields:
        if key.text not in known:
            near = get_close_matches(key.text.lower(), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}"
            problems.note(key.place, f"unknown field {_shown(key.text)} in {what}; {hint}")
    return {key.text: value for key, value in node.fields if key.text in known}


class _Entry:
    """One member of `vms`, read field by field."""

    def __init__(self, node: Node, problems: _Problems) -> None:
        self.place = node.place
        self.problems = problems
        self.fields: dict[str, Node] = {}
        self.readable = isinstance(node, Mapping)
        if isinstance(node, Mapping):
            self.fields = _known_fields(node, KNOWN, "a VM", problems)
        else:
            problems.note(node.place, "a VM is a mapping: {name: ..., addresses: [...]}")

    def vm(self) -> tuple[Vm, Place] | None:
        """The VM and where it stands; None where it has no name that can be used."""
        if not self.readable:
            return None
        name = self.one("name", vm_id)
        if "name" not in self.fields:
            self.problems.note(self.place, "a VM needs a name")
        if self.nothing("addresses"):
            self.problems.note(self.place, "a VM needs at least one address: addresses: [10.77.0.11/24]")
        vm = Vm(
            name=VmId("") if name is None else name,
            addresses=self.many("addresses", _interface_address),
            interface=self.one("interface", _interface),
            mac=self.one("mac", _mac),
            gateways=self.many("gateways", _address),
            resolvers=self.many("resolvers", _address),
            mtu=self.one("mtu", _mtu),
            labels=self.labels(),
            bill=self.one("sbom", self._beside),
        )
        return None if name is None else (vm, self.place)

    def _beside(self, text: str) -> str:
        """A path relative to the inventory's folder, as a path from here."""
        if not text.isprintable() or len(text) > 4096:
            raise ValueError(f"{_shown(text)} is no path of a file")
        return str(Path(self.place.file).parent / text)

    def nothing(self, name: str) -> bool:
        """Whether the field is absent, null or an empty list."""
        node = self.fields.get(name)
        return node is None or (
            not node.items if isinstance(node, NodeSequence) else isinstance(node, Scalar) and node.null
        )

    def one(self, name: str, convert: _Convert[T]) -> T | None:
        """The field's one value; None where it is absent, null, or was noted as wrong."""
        return None if self.nothing(name) else self.converted(name, self.fields[name], convert)

    def many(self, name: str, convert: _Convert[T]) -> tuple[T, ...]:
        """The field's list, in the order in which it was written."""
        node = self.fields.get(name)
        if node is None or self.nothing(name):
            return ()
        if not isinstance(node, NodeSequence):
            self.problems.note(node.place, f"{name} is a list: {name}: [...]")
            return ()
        values = (self.converted(name, item, convert) for item in node.items)
        return tuple(value for value in values if value is not None)

    def converted(self, name: str, node: Node, convert: _Convert[T]) -> T | None:
        if not isinstance(node, Scalar) or node.null:
            self.problems.note(node.place, f"{name}: text is expected here")
            return None
        try:
            return convert(node.text)
        except ValueError as e:
            self.problems.note(node.place, f"{name}: {e}")
            return None

    def labels(self) -> dict[str, str]:
        node = self.fields.get("labels")
        if node is None or self.nothing("labels"):
            return {}
        if not isinstance(node, Mapping):
            self.problems.note(node.place, "labels is a mapping: labels: {role: web}")
            return {}
        for key, _ in node.fields:
            if not _LABEL.fullmatch(key.text):
                self.problems.note(
                    key.place, f"labels: {_shown(key.text)} cannot name a label: letters, digits, _ . / -"
                )
        found = {key.text: self.converted(f"labels.{key.text[:63]}", value, _label) for key, value in node.fields}
        return {key: found[key] or "" for key in sorted(found)}


def _check_claims(vms: Iterable[tuple[Vm, Place]], problems: _Problems) -> None:
    """Note what two VMs both claim: a name, an address, an interface or a MAC."""
    claims: _Claims = {}
    for vm, place in vms:
        said = [("the name", str(vm.name)), *(("the address", host) for host in vm.hosts)]
        said += [(f"the {word}", text) for word, text in (("interface", vm.interface), ("MAC", vm.mac)) if text]
        for claim in said:
            other = claims.setdefault(claim, (vm.name, place))
            if other[1] != place or said.count(claim) > 1:
                what = f"{claim[0]} {claim[1]}"
                problems.note(place, f"{what} of {vm.name} is also that of {other[0]}, line {other[1].line}")


def _interface_address(text: str) -> str:
    _refuse_zone(text)
    try:
        address = ip_interface(text)
    except ValueError:
        raise ValueError(f"{_shown(text)} is no address; write for example 10.77.0.11/24 or 2001:db8::11/64") from None
    if address.version == 6 and address.ip.ipv4_mapped:
        raise ValueError(f"{_shown(text)} is an IPv4 address in IPv6 clothes; write {address.ip.ipv4_mapped}")
    if address.ip.is_multicast or address.ip.is_unspecified:
        raise ValueError(f"{_shown(text)} cannot be the address of a VM")
    return str(address)


def _address(text: str) -> str:
    if "/" in text:
        raise ValueError(f"{_shown(text)}: an address without a prefix is expected; write {text.partition('/')[0]!r}")
    _refuse_zone(text)
    try:
        return canonical_address(text)
    except ValueError:
        raise ValueError(f"{_shown(text)} is no address; write for example 10.77.0.1 or 2001:db8::1") from None


def _refuse_zone(text: str) -> None:
    if "%" in text:
        raise ValueError(f"{_shown(text)} names a zone; leave '%' and what follows out")


def _interface(text: str) -> str:
    if not _INTERFACE.fullmatch(text):
        raise ValueError(f"{_shown(text)} cannot name an interface: 1 to 15 letters, digits, _ . @ -")
    return text


def _mac(text: str) -> str:
    mac = text.lower().replace("-", ":")
    if not _MAC.fullmatch(mac):
        raise ValueError(f'{_shown(text)} is no MAC; write for example "52:54:00:00:00:01", in quotes')
    return mac


def _mtu(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 68 <= int(text) <= 65_535:
        raise ValueError(f"{_shown(text)} is no MTU: a number from 68 to 65535")
    return int(text)


def _label(text: str) -> str:
    if len(text) > 63 or not text.isprintable():
        raise ValueError(f"{_shown(text)} cannot be a label's value: at most 63 printable characters")
    return text


def _shown(text: str) -> str:
    """Outside text for a message: quoted, printable, short."""
    return ascii(text if len(text) <= 60 else f"{text[:57]}...")
