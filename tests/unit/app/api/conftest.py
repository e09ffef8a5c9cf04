"""The sample day in a store, a service that answers from it, and a real server on a real socket."""

from __future__ import annotations

import tempfile
from pathlib import Path

import httpx
import pytest

from netpersona.app.api.server import Server
from netpersona.app.run import Request, run
from netpersona.app.sample import write_sample
from netpersona.app.stopwatch import Stopwatch
from service_samples import SampleService


@pytest.fixture(scope="session")
def day():
    """The replayed sample day: its folder, with day.db in it."""
    with tempfile.TemporaryDirectory() as folder:
        sample = write_sample(Path(folder))
        run(
            Request(
                [sample.logs],
                inventory=sample.inventory,
                feeds=[sample.feed],
                policies=[sample.policy],
                store=f"{folder}/day.db",
            ),
            Stopwatch.started(),
        )
        yield Path(folder)


@pytest.fixture
def place(day, tmp_path):
    """A folder with a copy of that store, day.db, that a test may change."""
    (tmp_path / "day.db").write_bytes((day / "day.db").read_bytes())
    (tmp_path / "policy.yaml").write_bytes((day / "policy.yaml").read_bytes())
    return tmp_path


@pytest.fixture
def service(place):
    """A service over the copy."""
    return SampleService(str(place / "day.db"))


@pytest.fixture
def server(service, place):
    """It, served at api.sock."""
    served = Server(service, place / "api.sock")
    served.start()
    yield served
    served.stop()


@pytest.fixture
def http(server):
    """What asks that server."""
    way = httpx.HTTPTransport(uds=str(server.path))
    with httpx.Client(transport=way, base_url="http://netpersona/api/v1", timeout=300) as asks:
        yield asks
