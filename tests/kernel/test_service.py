"""The systemd unit as it is shipped, under a real systemd."""

import json

import pytest

from kernel.service_host import LISTED, OWN, service_host, why_not
from live_policies import LOW_REPUTATION, NOTHING_OUT

WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")

NET_ADMIN, NET_RAW = 1 << 12, 1 << 13


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    texts = {"low-reputation.yaml": LOW_REPUTATION, "nothing-out.yaml": NOTHING_OUT}
    with service_host(tmp_path_factory.mktemp("service"), texts) as host:
        yield host


def denies(host, rule):
    return f"@hits.{rule}" in host.says("nft", "list", "table", "inet", "netpersona")


def well(host):
    told = host.run("/opt/netpersona/.venv/bin/netpersona", "status", "-o", "json")
    return not told.returncode and json.loads(told.stdout)["well"]


def test_it_starts_and_enforces_with_two_capabilities(host):
    host.until(lambda: well(host), "not all parts are well")
    status = host.says("cat", f"/proc/{host.shows('MainPID')}/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {int(fields[f"Cap{which}"], 16) for which in ("Prm", "Eff", "Bnd", "Amb")} == {NET_ADMIN | NET_RAW}
    assert "0" not in fields["Uid"].split()
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    why = json.loads(host.netpersona("why", "web-1", f"{LISTED}:443", "-o", "json"))
    assert why["verdict"] == "deny"
    assert denies(host, "low_reputation_listed")
    assert OWN in host.says("nft", "list", "table", "inet", "netpersona")


def test_what_it_logs_is_in_the_journal_with_its_priority(host):
    host.says("mv", "/etc/netpersona/vms.yaml", "/etc/netpersona/away")
    ill = ("journalctl", "-u", "netpersona", "-p", "warning", "-o", "cat", "--no-pager")
    host.until(lambda: "inventory: " in host.says(*ill), "a missing inventory is not told")
    host.says("mv", "/etc/netpersona/away", "/etc/netpersona/vms.yaml")
    host.until(lambda: well(host), "the inventory came back")


def test_stopped_it_leaves_the_rules_and_started_it_goes_on(host):
    host.says("systemctl", "stop", "netpersona")
    assert denies(host, "low_reputation_listed")
    host.says("systemctl", "start", "netpersona")
    host.until(lambda: well(host), "not all parts are well")
    assert "the kernel holds what was applied" in host.netpersona("firewall", "verify")


def test_a_trial_ends_although_the_controller_is_killed_and_cannot_start_again(host):
    host.netpersona("policy", "apply", "/etc/netpersona/nothing-out.yaml", "--confirm-within", "15s")
    assert denies(host, "nothing_out_all")
    host.says("mv", "/etc/netpersona/netpersona.yaml", "/etc/netpersona/away")
    host.says("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "netpersona")
    host.until(lambda: not denies(host, "nothing_out_all"), "the trial did not end")
    assert not host.is_up()
    assert denies(host, "low_reputation_listed")
    host.says("mv", "/etc/netpersona/away", "/etc/netpersona/netpersona.yaml")
    host.until(lambda: host.is_up() and well(host), "it was not started again")
    assert not denies(host, "nothing_out_all")
