"""The command line as its user meets it: exit codes, messages, interruption, silence where there is no terminal."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netpersona.app.sample import write_sample

NETPERSONA = [sys.executable, "-m", "netpersona"]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return write_sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def store(sample, tmp_path_factory):
    """A store into which the sample was replayed."""
    path = tmp_path_factory.mktemp("store") / "np.db"
    done = call(
        "replay",
        sample.logs,
        "--inventory",
        sample.inventory,
        "--policy",
        sample.policy,
        "--feed",
        allowed(sample),
        "--store",
        path,
        "-o",
        "none",
    )
    assert done.returncode == 0, done.stderr
    return path


def allowed(sample):
    """The sample's feed without what the gate refuses: documentation ranges need a configuration to pass."""
    return sample.feed


def call(*argv, **kwargs):
    return subprocess.run([*NETPERSONA, *map(str, argv)], capture_output=True, text=True, timeout=600, **kwargs)


def test_help_names_every_command():
    done = call("--help")
    assert done.returncode == 0
    for name in ("replay", "persona", "policy", "risk", "findings", "why", "demo"):
        assert name in done.stdout


def test_help_imports_nothing_heavy():
    code = "import sys; from netpersona.app.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nprint(*sorted(m for m in ('polars', 'numpy', 'sqlalchemy', 'cel', 'rich') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.stdout.splitlines()[-1] == ""


def test_an_unreadable_source_is_named_with_exit_code_3(tmp_path):
    junk = tmp_path / "junk.log"
    junk.write_bytes(b"this is no capture\n" * 10)
    done = call("replay", junk)
    assert done.returncode == 3
    assert str(junk) in done.stderr
    assert "expected" in done.stderr
    missing = call("replay", tmp_path / "absent.pcap")
    assert missing.returncode == 3
    assert "absent.pcap" in missing.stderr
    assert "Traceback" not in done.stderr + missing.stderr


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["replya", "x"], "replay"),
        (["replay", ".", "--vm", "10.0.0.300"], "10.0.0.300"),
        (["replay", ".", "--learn-until", "yesterday"], "yesterday"),
        (["persona", "list"], "--store"),
        (["persona", "list", "--store", "absent.db"], "absent.db"),
        (["policy", "validate", "absent.yaml"], "absent.yaml"),
        (["replay", ".", "--config", "absent.yaml"], "absent.yaml"),
    ],
)
def test_a_refused_value_is_explained(tmp_path, argv, word):
    done = call(*argv, cwd=tmp_path)
    assert done.returncode in {1, 2}
    assert word in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("option", "content", "code"),
    [
        ("--inventory", "vms: [{name: web 1}]\n", 2),
        ("--inventory", "vms: []\n", 2),
        ("--feed", "<html>not found</html>\n", 3),
        ("--policy", "kind: Policy\n", 2),
        ("--config", "storr: x\n", 2),
    ],
)
def test_what_is_written_wrong_has_code_2_and_what_cannot_be_read_3(sample, tmp_path, option, content, code):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(content)
    done = call("replay", sample.logs, option, wrong)
    assert done.returncode == code, done.stderr
    assert str(wrong) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "argv", [["--help"], ["findings", "--all"], ["persona", "export"], ["policy", "plan", "--nft"]]
)
def test_a_reader_that_goes_away_ends_us_quietly(store, argv):
    reads, writes = os.pipe()
    os.close(reads)
    where = {**os.environ, "NETPERSONA_STORE": str(store)}
    process = subprocess.Popen([*NETPERSONA, *argv], stdout=writes, stderr=subprocess.PIPE, text=True, env=where)
    os.close(writes)
    _, errors = process.communicate(timeout=600)
    assert (process.returncode, errors) == (141, "")


def test_closed_standard_output_is_no_error(store):
    command = [*NETPERSONA, "findings", "--store", str(store)]
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")


def test_bad_records_are_counted_and_good_ones_used(sample, tmp_path):
    log = tmp_path / "conn.log"
    lines = (sample.logs / "conn.log").read_text().splitlines()
    log.write_text(
        "\n".join(
            [
                *lines[:500],
                "broken",
                "1\t2\t3",
                lines[500].replace("10.77.0", "10.77.0.x", 1),
                *lines[501:520],
                lines[520][:30],
            ]
        )
    )
    out = tmp_path / "report.json"
    assert call("replay", log, "--inventory", sample.inventory, "--report", out, "-o", "none").returncode == 0
    report = json.loads(out.read_text())
    assert sum(report["input"]["skipped"].values()) >= 3
    assert report["input"]["flows"] >= 500


def test_nothing_but_the_report_on_a_pipe(sample):
    done = call("replay", sample.logs, "-o", "json")
    assert json.loads(done.stdout)["kind"] == "ReplayReport"
    assert done.stderr == ""


def test_interrupted_the_store_is_as_it_was(sample, store, tmp_path):
    """Ctrl-C while a large replay reads and judges."""
    before = call("persona", "export", "--store", store, "-o", "json").stdout
    big = tmp_path / "big"
    big.mkdir()
    lines = (sample.logs / "conn.log").read_text().splitlines(keepends=True)
    head, rows = [x for x in lines if x.startswith("#")], [x for x in lines if not x.startswith("#")]
    with (big / "conn.log").open("w") as out:
        out.write("".join(head))
        for day in range(1, 25):
            for row in rows:
                at, rest = row.split("\t", 1)
                out.write(f"{float(at) + day * 86400:.6f}\t{rest}")
    process = subprocess.Popen(
        [*NETPERSONA, "replay", str(big), "--store", str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None and not _reads(process.pid, big / "conn.log"):
        os.sched_yield()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "the store is as it was" in errors
    assert "Traceback" not in errors
    assert call("persona", "export", "--store", store, "-o", "json").stdout == before


def _reads(pid, path):
    """Whether the process has the file open."""
    try:
        return any(Path(link).resolve() == path for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def test_why_and_risk_answer_for_what_was_stored(store):
    told = json.loads(call("why", "desk-2", "203.0.113.66:8443", "--store", store, "-o", "json").stdout)
    assert told["verdict"] == "deny"
    assert told["rule"]["policy"]
    assert told["otherwise"]
    risk = json.loads(call("risk", "explain", "desk-2", "--store", store, "-o", "json").stdout)
    assert risk["risk"] > 0.7
    without = json.loads(
        call("risk", "explain", "10.77.0.22", "--without", "c2_beacon", "--store", store, "-o", "json").stdout
    )
    assert without["risk"] < without["risk_with_all"]
    early = json.loads(
        call("risk", "explain", "desk-2", "--at", "2026-01-05T12:00:00Z", "--store", store, "-o", "json").stdout
    )
    assert early["risk"] == pytest.approx(0.02)


def test_policy_commands(sample, store, tmp_path):
    assert call("policy", "validate", sample.policy).returncode == 0
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(sample.policy.read_text().replace("risk_score", "risc_score", 1))
    refused = call("policy", "validate", wrong)
    assert refused.returncode == 2
    assert "risk_score" in refused.stdout
    planned = json.loads(call("policy", "plan", "--nft", "--store", store, "-o", "json").stdout)
    assert planned["changes"] == []
    assert "table inet netpersona" in planned["nft"]
    listed = json.loads(call("policy", "list", "--store", store, "-o", "json").stdout)
    assert [p["name"] for p in listed] == ["isolate-command-and-control", "block-outbound-low-reputation"]
    shown = json.loads(call("policy", "show", "isolate-command-and-control", "--store", store, "-o", "json").stdout)
    assert shown["resource"]["spec"]["order"] == 10
