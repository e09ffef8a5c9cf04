"""Those who ask the running controller: its API over the unix socket, with its errors as our own.

What a resource says is given back as the plain value that a store would give, so that commands print both alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from netpersona.app.answers.ask import Plain, Traffic, Wanted
from netpersona.app.answers.summary import of_resource
from netpersona.errors import ConfigError, NetpersonaError

_TIMEOUT = 60.0  # s: a change of the policies of a big fleet is worked out anew
_SOON = 10.0  # s: for what is always at hand
_PAGE = 1000
_Params = Mapping[str, Any]


class UnreachedError(NetpersonaError):
    """No controller answers at the socket."""


class Controller:
    """The Answers of the running controller, and what it alone can do.  Raises NetpersonaError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        transport = httpx.HTTPTransport(uds=str(path))
        self._http = httpx.Client(transport=transport, base_url="http://netpersona/api/v1")

    # What a store could answer too

    def personas(self, vms: Sequence[str] = (), at: int | None = None) -> list[Plain]:
        """The VMs in a line each: those named, or all."""
        return [of_resource(each) for each in self._personas(vms, at, "summary")]

    def whole_personas(self, vms: Sequence[str] = (), at: int | None = None) -> list[Plain]:
        """The personas as resources: those named, or all."""
        return list(self._personas(vms, at, "whole"))

    def history(self, vm: str) -> list[Plain]:
        """The stored versions of a persona, the oldest first."""
        items = self._all(f"personas/{_name(vm)}/history")
        return [{"version": each["metadata"]["version"], **each["status"]} for each in items]

    def differences(self, one: str, other: str | None) -> Plain:
        """What differs between A[@VERSION] and B[@VERSION]."""
        return self._status("GET", "persona-differences", {"one": one, "other": other})

    def edit(self, vm: str, edit: str) -> Plain:
        """Freeze, unfreeze or reset a persona."""
        return _edited(self._ask("POST", f"personas/{_name(vm)}/{edit}"))

    def label(self, vm: str, labels: Mapping[str, str | None]) -> Plain:
        """Set labels of a persona; None takes one away."""
        return _edited(self._ask("PATCH", f"personas/{_name(vm)}/labels", body={"labels": dict(labels)}))

    def findings(self, wanted: Wanted) -> list[Plain]:
        """What the detectors found."""
        asked = {
            "vm": wanted.vm,
            "kind": wanted.kind,
            "alerts": None if wanted.everything else True,
            "since": _time(wanted.since),
        }
        return [each["status"] for each in self._all("findings", asked)]

    def risk(self, vm: str, at: int | None, left_out: Sequence[str]) -> Plain:
        """What a risk is the sum of."""
        return self._status("GET", f"personas/{_name(vm)}/risk", {"at": _time(at), "without": list(left_out)})

    def exposures(self, vm: str | None) -> list[Plain]:
        """What one VM, or each, is exposed to."""
        return [each["status"] for each in self._all("exposures", {"vm": vm})]

    def why(self, traffic: Traffic, at: int | None) -> Plain:
        """The verdict on traffic, and what it rests on."""
        return self._status("GET", "verdict", {**traffic._asdict(), "at": _time(at)})

    def policies(self) -> list[Plain]:
        """The policies in their order."""
        return [each["status"] for each in self._ask("GET", "policies")["items"]]

    def policy(self, name: str) -> Plain:
        """One policy as it was written."""
        told = self._ask("GET", f"policies/{_name(name)}")
        return {**told["status"], "resource": {key: value for key, value in told.items() if key != "status"}}

    def plan(self, texts: Mapping[str, str] | None, *, nft: bool, replace: bool = True) -> Plain:
        """What other policies would come to, in place of all or of those of their names; None: those that are there."""
        asked = {"nft": nft or None}
        if texts is None:
            return self._status("GET", "policy-plans/current", asked)
        return self._status("POST", "policy-plans", {**asked, "replace": replace}, {"texts": dict(texts)})

    # What only the controller can do

    def health(self) -> Plain:
        """How each of its parts is."""
        told: Plain = self._ask("GET", "health", timeout=_SOON)["status"]
        return told

    def remarks(self, texts: Mapping[str, str]) -> list[Plain]:
        """What is wrong or doubtful in policies, held against the VMs that run."""
        found: list[Plain] = self._status("POST", "policy-checks", body={"texts": dict(texts)})["remarks"]
        return found

    def apply(self, texts: Mapping[str, str], why: str, confirm_within: str | None, *, replace: bool = True) -> Plain:
        """Put policies in force, in place of all others, or of those of the same names."""
        body = {"texts": dict(texts), "why": why, "confirm_within": confirm_within, "replace": replace}
        return self._status("POST", "policy-versions", body=body)

    def confirm(self) -> Plain:
        """Keep the policies that wait to be confirmed."""
        return self._status("POST", "policy-versions/confirm")

    def roll_back(self, number: int | None) -> Plain:
        """Go back to the policies before, or to a version of them."""
        return self._status("POST", "policy-versions/rollback", body={"number": number})

    def versions(self) -> list[Plain]:
        """Every version of the policies, the oldest first."""
        return [{**each["status"], **each["spec"]} for each in self._all("policy-versions")]

    def version(self, number: int) -> Plain:
        """One version of the policies, with its texts."""
        told = self._ask("GET", f"policy-versions/{number}")
        return {**told["status"], **told["spec"]}

    def set_mode(self, name: str, mode: str, confirm_within: str | None) -> Plain:
        """Stage, enforce or switch off a policy."""
        body = {"mode": mode, "confirm_within": confirm_within}
        return self._status("PUT", f"policies/{_name(name)}/mode", body=body)

    def delete(self, name: str, confirm_within: str | None) -> Plain:
        """Delete a policy."""
        return self._status("DELETE", f"policies/{_name(name)}", {"confirm_within": confirm_within})

    def feeds(self) -> list[Plain]:
        """Every feed, and how it stands."""
        return [_feed(each) for each in self._ask("GET", "feeds")["items"]]

    def feed(self, name: str) -> Plain:
        """One feed, and how it stands."""
        return _feed(self._ask("GET", f"feeds/{_name(name)}"))

    def add_feed(self, keys: Mapping[str, Any]) -> Plain:
        """Have a feed read from now on; `keys` are those of the configuration."""
        return _feed(self._ask("POST", "feeds", body=dict(keys)))

    def remove_feed(self, name: str, why: str) -> int:
        """Forget a feed; gives how many indicators it had."""
        return int(self._status("DELETE", f"feeds/{_name(name)}", {"why": why})["changed"])

    def refresh_feed(self, name: str, *, whole: bool) -> Plain:
        """Have a feed read now; `reading.running` tells when it is done."""
        return _feed(self._ask("POST", f"feeds/{_name(name)}/refresh", body={"whole": whole}))

    def decide_feed(self, name: str, why: str, *, accept: bool) -> Plain:
        """Let count what is held of a feed, or throw it away."""
        return _feed(self._ask("POST", f"feeds/{_name(name)}/{'accept' if accept else 'refuse'}", body={"why": why}))

    def push(self, feed: str, values: Sequence[str]) -> int:
        """Push indicators to a feed; gives how many were new."""
        return int(self._status("POST", f"feeds/{_name(feed)}/indicators", body={"values": list(values)})["changed"])

    def remove(self, feed: str, values: Sequence[str]) -> int:
        """Take indicators out of a feed; gives how many it had."""
        return int(self._status("POST", f"feeds/{_name(feed)}/removals", body={"values": list(values)})["changed"])

    def firewall(self, *, nft: bool) -> Plain:
        """What the kernel holds."""
        return self._status("GET", "firewall", {"nft": nft or None})

    def verify(self) -> Plain:
        """Whether the kernel holds what was applied."""
        return self._status("POST", "firewall/verify")

    def receipts(self, vm: str | None, newest: int) -> list[Plain]:
        """The latest packets that rules met, the oldest first."""
        return [each["status"] for each in self._ask("GET", "receipts", {"vm": vm, "limit": newest})["items"]]

    def uninstall(self) -> Plain:
        """Take every rule out of the kernel."""
        return self._status("POST", "firewall/uninstall")

    def _personas(self, vms: Sequence[str], at: int | None, view: str) -> Iterator[Plain]:
        asked = {"at": _time(at), "view": view}
        if not vms:
            return self._all("personas", asked)
        return (self._ask("GET", f"personas/{_name(vm)}", asked) for vm in vms)

    def _all(self, path: str, params: _Params | None = None) -> Iterator[Plain]:
        """The items of all pages of a list."""
        after = None
        while True:
            page = self._ask("GET", path, {**(params or {}), "limit": _PAGE, "continue": after})
            yield from page["items"]
            after = page["metadata"]["continue"]
            if after is None:
                return

    def _status(self, method: str, path: str, params: _Params | None = None, body: Any = None) -> Plain:
        told: Plain = self._ask(method, path, params, body)["status"]
        return told

    def _ask(
        self, method: str, path: str, params: _Params | None = None, body: Any = None, timeout: float = _TIMEOUT
    ) -> Plain:
        """One resource, or the error that the controller tells of."""
        asked = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            answer = self._http.request(method, path, params=asked, json=body, timeout=timeout)
            told = msgspec.json.decode(answer.content)
        except httpx.ConnectError as error:
            raise UnreachedError(_unreached(self._path)) from error
        except httpx.TimeoutException as error:
            raise NetpersonaError(f"the controller at {self._path} did not answer within {timeout:g} s") from error
        except (httpx.HTTPError, msgspec.DecodeError) as error:
            raise NetpersonaError(f"the controller at {self._path} broke off ({error}); see its journal") from error
        if answer.is_success and isinstance(told, dict):
            return told
        from netpersona.app.api.problem_words import error_of

        raise error_of(told if isinstance(told, dict) else {})


def _name(text: str) -> str:
    """The name as a part of a path.  Raises ConfigError for what no name can be."""
    if "/" in text or text in {"", ".", ".."}:
        raise ConfigError(f"{text[:100]!r} is no name: a name has a character at least, and no '/'")
    return quote(text, safe="")


def _time(at: int | None) -> str | None:
    return None if at is None else f"{at // 1_000_000}.{at % 1_000_000:06d}"


def _edited(told: Plain) -> Plain:
    return {"vm": told["metadata"]["name"], "version": told["metadata"]["version"], **told["status"]}


def _feed(told: Plain) -> Plain:
    return {"name": told["metadata"]["name"], **told["spec"], **told["status"]}


def _unreached(path: Path) -> str:
    if path.exists() and not os.access(path, os.W_OK):
        return f"{path}: you may not ask the controller; ask as root or as a member of its group"
    return f"{path}: no controller answers there; start it with 'netpersona up', or give --store FILE.db"
