"""A real TAXII 2.1 server (medallion, OASIS) on loopback, with indicators that are added while it runs."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import httpx

USER, PASSWORD = "reader", "read-0123456789abcdef"
COLLECTION = "91a7b528-80eb-42ed-a74d-c6fbd5a26116"
CLOSED = "52892447-4d7e-4f70-b94d-d7f22742ff63"
ACCEPT = {"Accept": "application/taxii+json;version=2.1", "Content-Type": "application/taxii+json;version=2.1"}
_PAGE = 5  # objects that the server gives at once, whatever is asked for


def indicator(number: int, address: str, version: int = 0, **more: object) -> dict[str, object]:
    """A STIX indicator of one address."""
    at = f"2026-11-01T00:00:{version:02d}.000Z"
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--{UUID(int=number | 4 << 76 | 8 << 60)}",
        "created": "2026-11-01T00:00:00.000Z",
        "modified": at,
        "pattern": f"[ipv4-addr:value = '{address}']",
        "pattern_type": "stix",
        "valid_from": "2026-11-01T00:00:00Z",
        **more,
    }


class Taxii:
    """The server that runs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.discovery = f"{url}/taxii2/"
        self.root = f"{url}/api1/"
        self._http = httpx.Client(base_url=url, auth=(USER, PASSWORD), headers=ACCEPT, timeout=300)

    def add(self, *objects: dict[str, object]) -> None:
        """Add objects to the collection, as another client would."""
        body = json.dumps({"objects": list(objects)}).encode()
        answer = self._http.post(f"/api1/collections/{COLLECTION}/objects/", content=body)
        assert answer.status_code == 202, answer.text

    def close(self) -> None:
        self._http.close()


@contextmanager
def taxii(folder: Path, objects: Sequence[dict[str, object]] = ()) -> Iterator[Taxii]:
    """The server, with these objects in its collection."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    (folder / "data.json").write_text(json.dumps(_data(url)))
    (folder / "medallion.json").write_text(json.dumps(_configuration(folder / "data.json")))
    words = [sys.executable, "-m", "medallion.scripts.run", "--port", str(port), str(folder / "medallion.json")]
    with (folder / "log").open("wb") as log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        server = Taxii(url)
        try:
            _until_it_answers(port)
            if objects:
                server.add(*objects)
            yield server
        finally:
            server.close()
            process.kill()


def basic() -> str:
    """What a client that knows the password sends."""
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def _until_it_answers(port: int) -> None:
    end = time.monotonic() + 300
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < end, "medallion did not start within 300 s"
            time.sleep(0.05)
        else:
            return


def _configuration(data: Path) -> dict[str, object]:
    backend = {"module": "medallion.backends.memory_backend", "module_class": "MemoryBackend", "filename": str(data)}
    return {"backend": backend, "users": {USER: PASSWORD}, "taxii": {"max_page_size": _PAGE}}


def _data(url: str) -> dict[str, object]:
    def collection(name: str, title: str, *, can_read: bool) -> dict[str, object]:
        return {
            "id": name,
            "title": title,
            "can_read": can_read,
            "can_write": True,
            "media_types": ["application/stix+json;version=2.1"],
            "objects": [],
            "manifest": [],
        }

    information = {"title": "Root", "versions": ["application/taxii+json;version=2.1"], "max_content_length": 1 << 24}
    return {
        "/discovery": {"title": "Tests", "default": f"{url}/api1/", "api_roots": [f"{url}/api1/"]},
        "api1": {
            "information": information,
            "status": [],
            "collections": [
                collection(COLLECTION, "Bad addresses", can_read=True),
                collection(CLOSED, "Not for you", can_read=False),
            ],
        },
    }
