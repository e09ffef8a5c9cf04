"""Two VMs on taps, a sensor that watches them, and what it says put together."""

import contextlib
import socket
import time

import polars as pl

from kernel.private_net import inside, namespaces, run
from kernel.tap_net import HOST, attach, vm_of
from netpersona.adapters.sensors.tap.open_windows import OpenWindows
from netpersona.adapters.sensors.tap.sensor import TapSensor
from netpersona.flow.vm import vm_id
from netpersona.flow.window import DAY

V4, V6 = 0, 1
GATEWAYS = ("10.77.1.1", "2001:db8:1::1")
FAMILIES = (socket.AF_INET, socket.AF_INET6)


@contextlib.contextmanager
def two_taps():
    """A host with the taps of two VMs."""
    with namespaces(HOST, vm_of(1), vm_of(2)):
        run("ip", "-n", HOST, "link", "set", "lo", "up")
        attach(1)
        attach(2)
        run("ip", "netns", "exec", HOST, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        yield


@contextlib.contextmanager
def watching_both():
    """A sensor that watches both taps."""
    with inside(HOST):
        made = TapSensor(blocks=16, window=DAY)
    with made:
        made.add("tap1", vm_id("one"))
        made.add("tap2", vm_id("two"))
        made.poll(0)
        yield made


def sockets(kind, family, where, address=None):
    with inside(where):
        made = socket.socket(FAMILIES[family], kind)
    made.settimeout(20)
    if address is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    return made


class Watched:
    """What a sensor says, put together."""

    def __init__(self, sensor):
        self.sensor, self.windows, self.closed, self.last = sensor, OpenWindows(DAY), [], None

    def poll(self, seconds=0.1):
        self.last = self.sensor.poll(seconds)
        self.closed += self.windows.add(self.last)

    def until(self, condition):
        """Poll until the flows are as they should be."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            self.poll()
            if condition(self.flows()):
                return self.flows()
        raise AssertionError(f"not so within 60 s: {self.flows().to_dicts()}")

    def tables(self):
        open_now = [self.windows.table(start) for start in self.windows.starts()]
        return [rows for _, rows in self.closed] + open_now

    def flows(self):
        return pl.concat([rows.flows for rows in self.tables()] or [self.windows.table(0).flows])

    def said(self):
        return pl.concat([rows.transactions for rows in self.tables()] or [self.windows.table(0).transactions])


def packets(flows, count):
    return lambda rows: rows.filter(flows)["packets_orig"].sum() + rows.filter(flows)["packets_resp"].sum() >= count
