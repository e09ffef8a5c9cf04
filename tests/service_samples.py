"""A controller that the tests of the API can ask: a store that was replayed, and a kernel that is a plan."""

from __future__ import annotations

from dataclasses import replace

from netpersona.adapters.enforcers.nftables.receipts import Receipt
from netpersona.adapters.enforcers.plan import Plan
from netpersona.adapters.stores import open_store
from netpersona.app import policies as policy_files
from netpersona.app.live.feed_fetching import LiveFeeds
from netpersona.app.live.feed_reading import read_here
from netpersona.app.live.health import HealthBook
from netpersona.app.live.service import Applied, FeedState, PolicyVersion
from netpersona.app.standing import standing
from netpersona.errors import ConfigError, FeedError
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.formats import FormatError
from netpersona.intel.gate import Protected, refuse
from netpersona.policy.model import Direction
from netpersona.ruleset.words import plan


def receipt(at, vm, source, destination, *, staged=False, policy="p", rule="r", direction=Direction.OUTBOUND):
    """A packet that a rule met; the ends are (address, port)."""
    version = 3 if policy else 0
    (here, port), (there, service) = source, destination
    return Receipt(at, vm, policy, rule, version, staged, direction, here, there, "tcp", port, service)


class SampleService:
    """A Service over a store: everything happens at once, and the kernel is a plan."""

    def __init__(self, url):
        self._store = open_store(url, create=False)
        first = standing(self._store)
        self._at = first.at
        self._texts, self._versions = dict(first.texts), policy_files.decode(self._store.context("policies"))[1]
        self._ledger = [PolicyVersion(1, self._at, "replay", "as replayed", self._texts, confirmed=True)]
        self._enforcer, self._installed = Plan(), True
        self._book = HealthBook(self._at)
        self._book.well("store", self._at, "open", bytes=1)
        self._pushed = {}
        self._live = LiveFeeds((), None, read_here)
        self.told = []
        self._enforcer.apply(self._resolved(self._texts))

    def now(self):
        return self._at

    def health(self):
        return self._book.at(self._at)

    def fail(self, part, error):
        self._book.ill(part, self._at, error)

    def store(self):
        return self._store

    def standing(self):
        kept = standing(self._store, self._at)
        policies, _ = policy_files.versioned(policy_files.parsed(self._texts), self._versions)
        return replace(kept, policies=policies, texts=self._texts)

    def ruleset(self):
        return self._enforcer.in_force()

    def firewall(self):
        return {
            "installed": self._installed,
            "vms": plan(self.ruleset()),
            "counters": self._enforcer.counters(),
            "drift": self._enforcer.verify(),
            "nft": self._enforcer.text(),
        }

    def verify(self):
        return {"well": True, "drift": self._enforcer.verify(), "healed": 0}

    def receipts(self, vm=None):
        return [receipt for receipt in self.told if vm is None or receipt.vm == vm]

    def policies(self):
        return tuple(self._ledger)

    def plan(self, texts):
        desired = self._resolved(texts)
        return desired, Plan(self.ruleset()).apply(desired)

    def apply(self, texts, who, why, confirm_within=None):
        changes = self._enforcer.apply(self._resolved(texts))
        _, self._versions = policy_files.versioned(policy_files.parsed(texts), self._versions)
        self._texts, self._installed = dict(texts), True
        by = None if confirm_within is None else self._at + confirm_within
        number = self._ledger[-1].number + 1
        self._ledger.append(PolicyVersion(number, self._at, who, why, self._texts, confirmed=by is None, confirm_by=by))
        return Applied(self._ledger[-1], changes, by)

    def confirm(self, who):
        if self._ledger[-1].confirmed:
            raise ConfigError("nothing waits to be confirmed: the policies in force stay")
        self._ledger[-1] = replace(self._ledger[-1], confirmed=True, confirm_by=None)
        return self._ledger[-1]

    def roll_back(self, who, number=None):
        wanted = self._ledger[-1].number - 1 if number is None else number
        found = [version for version in self._ledger if version.number == wanted]
        if not found:
            raise ConfigError(f"there is no version {wanted} of the policies")
        return self.apply(found[0].texts, who, f"back to version {wanted}")

    def uninstall(self, who):
        self._enforcer.uninstall()
        self._installed = False

    def edit(self, persona, who, why):
        self._store.put_persona(persona, self._at, f"{why} ({who})")

    def feeds(self):
        self._live.look(self._at)
        read = [
            FeedState(name, 0, 0.8, fetching=self._live.fetching(name), says=self._live.wrong(name) or "")
            for name in self._live.names
        ]
        pushed = [
            FeedState(name, len(values), 0.9, pushed=True, read=self._at) for name, values in self._pushed.items()
        ]
        return sorted([*read, *pushed], key=lambda feed: feed.name)

    def add_feed(self, source, who):
        self._live.add(source, who)

    def remove_feed(self, name, who, why):
        if self._pushed.pop(name, None) is None:
            self._live.remove(name, who, why)

    def refresh_feed(self, name, *, whole=False):
        self._live.refresh(name, whole=whole)

    def decide_feed(self, name, who, why, *, accept):
        self._live.decide(name, who, why, accept=accept)

    def indicators(self, feed, values, who, *, remove=False):
        before = self._pushed.get(feed, [])
        if remove:
            after = [value for value in before if value not in values]
        else:
            after = list(dict.fromkeys([*before, *values]))
            try:
                snapshot = refuse(parse("\n".join(after).encode(), FeedSettings(feed)), Protected())
            except FormatError as error:
                raise FeedError(f"feed {feed}: {error.wrong}; expected {error.expected}") from error
            if snapshot.refused:
                raise FeedError(f"feed {feed}: {snapshot.refused[0].reason}; nothing was pushed")
        self._pushed[feed] = after
        return abs(len(after) - len(before))

    def vms(self):
        return self._store.personas()

    def _resolved(self, texts):
        policies, _ = policy_files.versioned(policy_files.parsed(texts), self._versions)
        return standing(self._store, self._at).ruleset(policies)
