"""What libvirt's XML says of a running domain and of a network.

A domain gives one VM for each of its interfaces, for each is a place in the network of its own.  The interface with
the alias net0, which is the first, bears the domain's name, and any other its alias too: web-1, web-1_net1.  A name
that is no VmId, or that could be taken for one of these, is rebuilt, and part of the domain's UUID added to it:
ubuntu22.04 becomes ubuntu22-04_1f6a03bc.

What libvirt does not know, the operator writes into the domain's metadata:

    <metadata>
      <np:vm xmlns:np="urn:netpersona:vm:1">
        <np:address>10.77.0.11/24</np:address>
        <np:address mac="52:54:00:00:00:02">10.78.0.11/24</np:address>
        <np:gateway>10.77.0.1</np:gateway>
        <np:resolver>10.77.0.1</np:resolver>
        <np:label name="role">web</np:label>
      </np:vm>
    </metadata>

An address, gateway or resolver without `mac` is that of the first interface.  Prefixes inside `np:vm` may be left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from xml.etree import ElementTree as ET

from netpersona.adapters.inventories.yaml_file import _LABEL, _address, _interface, _interface_address, _label, _mac
from netpersona.errors import InventoryError
from netpersona.flow.vm import VmId, vm_id

NAMESPACE = "urn:netpersona:vm:1"
_AGENT = "org.qemu.guest_agent.0"
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,55}")  # the rest of 64 is for an alias
_ALIASED = re.compile(r"_(net[0-9]+|ua-.*)")


@dataclass(frozen=True, slots=True)
class Nic:
    """One interface of a domain."""

    name: VmId
    device: str | None  # the tap on the host
    mac: str | None
    network: str | None = None  # libvirt's network that it is in
    mtu: int | None = None
    addresses: tuple[str, ...] = ()  # from the metadata, as the two that follow
    gateways: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain as its XML describes it."""

    uuid: str
    nics: tuple[Nic, ...]
    labels: Mapping[str, str]
    has_agent: bool  # whether a guest agent answers
    problems: tuple[str, ...] = ()  # what of the metadata could not be used, in sentences


@dataclass(frozen=True, slots=True)
class Network:
    """What a network of libvirt offers to the VMs in it."""

    gateways: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()


def read_domain(xml: str) -> Domain:
    """The domain that libvirt's XML describes.  Raises InventoryError."""
    root = _parsed(xml)
    uuid, name = root.findtext("uuid", ""), root.findtext("name", "")
    said = _Metadata(root.find(f"metadata/{{{NAMESPACE}}}vm"), name)
    interfaces = root.findall("devices/interface")
    macs = [_attribute(each, "mac", "address") for each in interfaces]
    said.check_macs({mac.lower() for mac in macs if mac is not None})
    nics = tuple(_nic(each, _of_domain(name, uuid), place, said) for place, each in enumerate(interfaces))
    if not nics and said.many("address", None, _interface_address, first=True):  # a card handed through
        nics = (_nic(ET.Element("interface"), _of_domain(name, uuid), 0, said),)
    agent = root.find(f"devices/channel/target[@name='{_AGENT}']")
    connected = agent is not None and agent.get("state") == "connected"
    return Domain(uuid, nics, said.labels(), connected, tuple(dict.fromkeys(said.problems)))


def read_network(xml: str) -> Network:
    """What the network that libvirt's XML describes offers.  Raises InventoryError.

    Libvirt's own networks have the host for a gateway where they forward anything, and for a resolver where DNS is not
    turned off; a network that only names a bridge has neither.
    """
    root = _parsed(xml)
    hosts = tuple(str(ip_address(ip.get("address", ""))) for ip in root.findall("ip"))
    forwards = root.find("forward") is not None
    dns = root.find("dns")
    resolves = dns is None or dns.get("enable") != "no"
    return Network(hosts if forwards else (), hosts if resolves else ())


def _parsed(xml: str) -> ET.Element:
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise InventoryError("libvirt's XML declares a document type, which libvirt never writes")
    try:
        return ET.fromstring(xml)  # noqa: S314 - it declares no entity, see above
    except ET.ParseError as error:
        raise InventoryError(f"libvirt's XML cannot be read: {error}") from error


def _of_domain(name: str, uuid: str) -> str:
    """A name of at most 55 characters that stands for this domain alone."""
    if _PLAIN.fullmatch(name) and not _ALIASED.search(name):
        return name
    return f"{re.sub('[^A-Za-z0-9-]', '-', name)[:46]}_{uuid[:8]}"


def _nic(interface: ET.Element, domain: str, place: int, said: _Metadata) -> Nic:
    alias = _attribute(interface, "alias", "name") or f"net{place}"
    mac = _attribute(interface, "mac", "address")
    mac = None if mac is None else mac.lower()
    first = place == 0
    mtu = _attribute(interface, "mtu", "size")
    return Nic(
        name=vm_id(domain if alias == "net0" else f"{domain}_{re.sub('[^A-Za-z0-9_-]', '-', alias)}"[:64]),
        device=said.meant(_attribute(interface, "target", "dev"), _interface),
        mac=mac,
        network=_attribute(interface, "source", "network") if interface.get("type") == "network" else None,
        mtu=None if mtu is None else int(mtu),
        addresses=said.many("address", mac, _interface_address, first=first),
        gateways=said.many("gateway", mac, _address, first=first),
        resolvers=said.many("resolver", mac, _address, first=first),
    )


def _attribute(element: ET.Element, child: str, name: str) -> str | None:
    found = element.find(child)
    return None if found is None else found.get(name)


class _Metadata:
    """What the operator wrote into the domain; what cannot be used is noted and left out."""

    def __init__(self, element: ET.Element | None, domain: str) -> None:
        self.elements: Sequence[ET.Element] = () if element is None else tuple(element)
        self.domain = ascii(domain)
        self.problems: list[str] = []
        for each in self.elements:
            if _word(each) not in ("address", "gateway", "resolver", "label"):
                self.note(f"the metadata's element {_word(each)!a} is none of address, gateway, resolver, label")

    def note(self, what: str) -> None:
        self.problems.append(f"domain {self.domain}: {what}")

    def many(self, word: str, mac: str | None, convert: Callable[[str], str], *, first: bool) -> tuple[str, ...]:
        """What the elements of this name say of the interface."""
        own = [each for each in self._of(word) if (first if each.get("mac") is None else _same(each.get("mac"), mac))]
        values = (self.meant((each.text or "").strip(), convert) for each in own)
        return tuple(dict.fromkeys(value for value in values if value is not None))

    def meant(self, text: str | None, convert: Callable[[str], str]) -> str | None:
        """The text's canonical form; None where there is none, or none that can be used."""
        if text is None:
            return None
        try:
            return convert(text)
        except ValueError as error:
            self.note(str(error))
            return None

    def check_macs(self, known: Iterable[str]) -> None:
        """Note what is said of interfaces that the domain does not have."""
        for each in self.elements:
            mac = each.get("mac")
            if mac is not None and not any(_same(mac, one) for one in known):
                self.note(f"the metadata names the MAC {mac!a}, which no interface of it has")

    def labels(self) -> dict[str, str]:
        found = {}
        for each in self._of("label"):
            name, value = each.get("name", ""), self.meant((each.text or "").strip(), _label)
            if not _LABEL.fullmatch(name):
                self.note(f"{name!a} cannot name a label: letters, digits, _ . / -")
            elif value is not None:
                found[name] = value
        return {name: found[name] for name in sorted(found)}

    def _of(self, word: str) -> list[ET.Element]:
        return [each for each in self.elements if _word(each) == word]


def _word(element: ET.Element) -> str:
    """The element's name; `virsh metadata --set` puts only the outer one into the namespace."""
    return element.tag.removeprefix(f"{{{NAMESPACE}}}")


def _same(text: str | None, mac: str | None) -> bool:
    try:
        return text is not None and _mac(text) == mac
    except ValueError:
        return False
