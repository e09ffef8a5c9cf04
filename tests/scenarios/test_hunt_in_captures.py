"""What real captures are known to hold is found in the history that a replay keeps of them: who, since when, how often."""

import csv
import json

import polars as pl
import pytest

from netpersona.adapters.history.parquet import ParquetHistory
from netpersona.app.cli import main
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.hunt import Hunt, quarry
from shared_data import CAPTURES, needs_shared

pytestmark = needs_shared

ITEMS = [
    "ctu-normal-40-day1",
    "njrat-botnet-230",
    "simda-botnet-355",
    "slips-remcos-ctu-sme-11",
    "corelight-asyncrat-30a385ed",
]


def known(item):
    """What the captures' own manifest says of single peers: (host, peer, port or None) -> (flows, first s, last s)."""
    with (CAPTURES / "truth.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["item"] == item]
    return {
        (row["host"], row["peer"], int(row["port"]) if row["port"].isdigit() else None): (
            int(row["flows"]), float(row["t_first"]), float(row["t_last"]),
        )
        for row in rows
        if row["peer"][:1].isdigit()
    }  # fmt: skip


@pytest.mark.parametrize("item", ITEMS)
def test_every_peer_that_is_known_is_found_with_all_its_flows(item, tmp_path):
    told = json.loads((CAPTURES / "items.json").read_text())[item]
    vms = [word for host in told["vms"] for word in ("--vm", f"vm-{host.replace('.', '-')}={host}")]
    inputs = [str(CAPTURES / name) for name in told["inputs"]]
    main(["replay", *inputs, *vms, "--history", str(tmp_path), "-o", "none"])
    truth = known(item)
    peers = sorted({peer for _, peer, _ in truth})
    history = ParquetHistory(tmp_path)
    hunt = Hunt(quarry(parse("\n".join(peers).encode(), FeedSettings("truth")).indicators))
    for day in history.days():
        hunt.day(day)
    traces = hunt.traces().filter(via="address")
    flows = history.flows(0, 1 << 62).collect()
    for (host, peer, port), (at_least, first, last) in truth.items():
        service = {} if port is None else {"port": port}
        met = traces.filter(pl.col("peer") == peer, vm="vm-" + host.replace(".", "-"), **service)
        ends = [{"originator": one, "responder": other} for one, other in ((host, peer), (peer, host))]
        raw = pl.concat([flows.filter(**each) for each in ends])
        raw = raw if port is None else raw.filter(responder_port=port)
        assert met["flows"].sum() == raw.height >= at_least, (host, peer, port)  # it counts what conn.log alone says
        assert met["first"].min() == raw["start"].min() <= first * 1e6 + 1_000, (host, peer, port)
        assert met["last"].max() >= last * 1e6 - 1_000, (host, peer, port)
