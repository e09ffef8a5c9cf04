"""A policy on names, live: the first connection after an answer meets the right verdict."""

import os
import subprocess
import sys
import time

import pytest

from netpersona.app.lab import enter
from netpersona.app.lab.home import Home
from netpersona.app.lab.keeper import end, keep_detached
from netpersona.app.lab.supervisor import Wish
from netpersona.app.live_demo import controlled

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the lab makes network namespaces: needs root")

NAME = "test-names"
POLICY = """
apiVersion: netpersona/v1
kind: Policy
metadata: {name: no-such-sites}
spec:
  mode: enforce
  order: 1
  rules: [{name: denied, direction: outbound, peers: {domains: [DENIED]}, action: reject, existing: cut}]
"""
# Resolve, and connect in the same breath: there is no time in which anybody could learn of the answer beside.
BROWSE = """
import select, socket, sys, time
tried = []
for name in sys.argv[1:]:
    for family in (socket.AF_INET, socket.AF_INET6):
        for tries in (2, 1, 0):  # a busy machine may lose a question; an answer it has not had proves nothing
            try:
                address = socket.getaddrinfo(name, 80, family, socket.SOCK_STREAM)[0][4]
                break
            except socket.gaierror:
                if not tries:
                    raise
        one = socket.socket(family)
        one.setblocking(False)
        one.connect_ex(address[:2])
        tried.append((name, address[0], one))
until = time.monotonic() + 3  # that nobody answers is waited for once, not once for each
for name, address, one in tried:
    answered = select.select([], [one], [], max(0, until - time.monotonic()))[1]
    reached = answered and not one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    print(name, "reached" if reached else "stopped", address)
"""


def _held(controller) -> dict:
    """How the part is that holds answers, once it is told of."""
    for _ in range(200):
        for part in controller.health()["parts"]:
            if part["name"] == "answers":
                return part
        time.sleep(0.1)
    raise AssertionError("nobody holds answers")


@needs_root
def test_the_first_connection_after_an_answer_is_stopped():
    denied = [f"site-{n}.example" for n in range(1, 11)]
    allowed = [f"site-{n}.example" for n in range(11, 14)]
    keep_detached(Wish(NAME))
    try:
        with controlled(Home(NAME)) as controller:
            controller.apply({"names.yaml": POLICY.replace("DENIED", ", ".join(denied))}, "a test", None)
            held = _held(controller)
            assert held["well"], held
            words = [sys.executable, "-c", BROWSE, *denied, *allowed]
            said = enter.spawn(Home(NAME), "desktop-1", words, stdout=subprocess.PIPE, text=True).communicate(
                timeout=600
            )[0]
    finally:
        end(NAME)
    told = [line.split()[:2] for line in said.splitlines()]
    assert told == [[name, "stopped"] for name in denied for _ in range(2)] + [
        [name, "reached"] for name in allowed for _ in range(2)
    ]
