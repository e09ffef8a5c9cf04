"""Findings as STIX 2.1: one bundle in a file that others fetch, or pushed to a TAXII 2.1 collection."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from netpersona.adapters.sinks.stix_objects import Object, Teller, bundle, objects
from netpersona.adapters.sinks.web import Server
from netpersona.errors import SinkError
from netpersona.ports import News, Told

SIGHTINGS_MOST = 2_000  # in a file of some 7 MB, written anew in 0.2 s; the oldest go first
_LARGEST = 256 << 20  # bytes of a file that is taken up again
_AT_ONCE = 500  # objects in one request
_TAXII = dict.fromkeys(("Accept", "Content-Type"), "application/taxii+json;version=2.1")
_REFERENCES = ("sighting_of_ref", "source_ref", "target_ref", "created_by_ref", "src_ref", "dst_ref")
_LISTS = ("observed_data_refs", "object_refs", "object_marking_refs", "where_sighted_refs")


@dataclass(frozen=True, slots=True)
class StixFile:
    """A file with one bundle of all that was told lately; it is written whole or not at all, so it may be served."""

    path: Path
    teller: Teller
    most: int = SIGHTINGS_MOST

    @property
    def place(self) -> str:
        """The file."""
        return f"STIX to {self.path}"

    def tell(self, news: Sequence[News]) -> Told:
        """Lay them over what is in the file.  Raises SinkError."""
        told, fresh = _told(news, self.teller)
        if fresh:
            known = {each["id"]: each for each in (*self._held(), *fresh)}
            self._write(msgspec.json.format(msgspec.json.encode(bundle(_latest(known, self.most))), indent=1))
        return told

    def _held(self) -> list[Object]:
        try:
            if not self.path.exists():
                return []
            if self.path.stat().st_size > _LARGEST:
                raise SinkError(f"{self.path}: larger than {_LARGEST} bytes; move it away")
            found = msgspec.json.decode(self.path.read_bytes(), type=_Bundle)
        except OSError as error:
            raise SinkError(f"{self.path}: {error.strerror}") from error
        except msgspec.MsgspecError as error:
            raise SinkError(
                f"{self.path}: is no STIX bundle of ours, so it is left alone; name another file"
            ) from error
        return [each for each in found.objects if isinstance(each.get("id"), str)]

    def _write(self, content: bytes) -> None:
        partial = self.path.with_name(self.path.name + ".partial")
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)
        except OSError as error:
            with suppress(OSError):
                partial.unlink()
            raise SinkError(f"{self.path}: {error.strerror}; what was there stays") from error


class _Bundle(msgspec.Struct, tag_field="type", tag="bundle"):
    id: str
    objects: list[dict[str, Any]] = []


class _Failure(msgspec.Struct):
    id: str = ""


class _Status(msgspec.Struct):
    """What a TAXII server says of objects that it was given (TAXII 2.1, 4.3)."""

    failure_count: int = 0
    failures: list[_Failure] = []


@dataclass(frozen=True, slots=True)
class StixTaxii:
    """A TAXII 2.1 collection that may be written to: its own address, .../collections/ID/."""

    server: Server
    teller: Teller

    @property
    def place(self) -> str:
        """The collection."""
        return f"STIX to {self.server.place}"

    def tell(self, news: Sequence[News]) -> Told:
        """Add their objects to the collection; what is there already stays one object.  Raises SinkError."""
        told, fresh = _told(news, self.teller)
        refused = 0
        for part in _parts(list({each["id"]: each for each in fresh}.values())):
            answer = self._objects.post(msgspec.json.encode({"objects": part}), _TAXII)
            refused += self._refused(answer)
        return told._replace(refused=refused)

    @property
    def _objects(self) -> Server:
        return replace(self.server, place=self.server.place.below("objects/"))

    def _refused(self, answer: bytes) -> int:
        try:
            return max(0, msgspec.json.decode(answer, type=_Status).failure_count)
        except msgspec.MsgspecError as error:
            raise SinkError(f"{self.server.place}: its answer is no TAXII status; is it a collection?") from error


def _told(news: Sequence[News], teller: Teller) -> tuple[Told, list[Object]]:
    """What becomes of findings, and their objects."""
    found = [objects(each.finding, teller) for each in news]
    left_out = sum(not each for each in found)
    return Told(len(news) - left_out, left_out), [each for those in found for each in those]


def _parts(those: list[Object]) -> Iterator[list[Object]]:
    for begin in range(0, len(those), _AT_ONCE):
        yield those[begin : begin + _AT_ONCE]


def _latest(known: dict[str, Object], most: int) -> list[Object]:
    """The last sightings, and all that they rest on."""
    sightings = [each for each in known.values() if each.get("type") == "sighting"]
    sightings.sort(key=lambda each: (str(each.get("last_seen")), each["id"]), reverse=True)
    kept = {each["id"]: each for each in _reached(sightings[:most], known)}
    links = [e for e in known.values() if e.get("type") == "relationship" and str(e.get("source_ref")) in kept]
    return [*kept.values(), *links]


def _reached(first: Iterable[Object], known: dict[str, Object]) -> Iterator[Object]:
    """These objects and all that they refer to, each once."""
    seen: set[str] = set()
    waiting = [each["id"] for each in first]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in known:
            continue
        seen.add(name)
        each = known[name]
        yield each
        waiting += [each[key] for key in _REFERENCES if isinstance(each.get(key), str)]
        lists = [each[key] for key in _LISTS if isinstance(each.get(key), list)]
        waiting += [ref for those in lists for ref in those if isinstance(ref, str)]
