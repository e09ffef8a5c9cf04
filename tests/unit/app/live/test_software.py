"""What the controller knows of the VMs' software."""

from __future__ import annotations

import json
import os

import polars as pl

from netpersona.app.live.software import LiveSoftware
from netpersona.flow.table import BANNER_SCHEMA
from netpersona.flow.vm import Vm, VmId
from netpersona.pipeline import Fleet

WEB = VmId("web")
BILL = {"bomFormat": "CycloneDX", "components": [{"name": "nginx", "version": "1.24.0"}]}


def _banners(*texts: str) -> pl.DataFrame:
    rows = [(n, "tcp", "10.77.0.11", 80, text) for n, text in enumerate(texts)]
    return pl.DataFrame(rows, schema=BANNER_SCHEMA, orient="row")


def test_a_bill_of_material_is_read_again_when_it_changes(tmp_path) -> None:
    path = tmp_path / "web.json"
    path.write_text(json.dumps(BILL))
    vm = Vm(WEB, ("10.77.0.11/24",), bill=str(path))
    live = LiveSoftware()
    assert live.look([vm])
    assert not live.look([vm])
    assert [s.version for s in live.known[WEB]] == ["1.24.0"]
    path.write_text(json.dumps(BILL).replace("1.24.0", "1.26.10"))
    assert live.look([vm])
    assert [s.version for s in live.known[WEB]] == ["1.26.10"]


def test_a_bill_that_cannot_be_read_leaves_what_it_said_last(tmp_path) -> None:
    path = tmp_path / "web.json"
    path.write_text(json.dumps(BILL))
    vm = Vm(WEB, ("10.77.0.11/24",), bill=str(path))
    live = LiveSoftware()
    live.look([vm])
    path.write_text("{cut off")
    os.utime(path, ns=(1, 1))
    assert not live.look([vm])
    assert "expected a CycloneDX" in live.errors[str(path)]
    path.unlink()
    assert not live.look([vm])
    assert "what it said last stays" in live.errors[str(path)]
    assert [s.product for s in live.known[WEB]] == ["nginx"]
    assert not live.look([])
    assert not live.errors


def test_banners_count_for_the_vm_that_says_them() -> None:
    live, fleet = LiveSoftware(), Fleet({WEB: Vm(WEB, ("10.77.0.11/24",))})
    assert live.hear(_banners("nginx/1.18.0", "nginx/1.24.0"), fleet)
    assert [s.version for s in live.known[WEB]] == ["1.24.0"]
    assert not live.hear(_banners("nginx/1.18.0", "nginx/1.24.0"), fleet)
    assert not live.hear(_banners("nginx/1.18.0"), Fleet())


def test_what_is_known_outlives_a_restart() -> None:
    live = LiveSoftware()
    live.hear(_banners("nginx/1.18.0"), Fleet({WEB: Vm(WEB, ("10.77.0.11/24",))}))
    assert LiveSoftware.of_bytes(live.to_bytes()).known == live.known
