"""Records that others wrapped are refused with a command that unwraps them; the command does."""

import json
import shlex
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from log_samples import CONN, FLOW
from netpersona.adapters.sensors.recognise import sensors
from netpersona.adapters.sensors.vpcflow import DEFAULT_FIELDS
from netpersona.adapters.sensors.wrapped import advice
from netpersona.errors import SourceError

VPC = "2 123456789010 eni-1 192.0.2.10 198.51.100.5 40000 443 6 10 1000 1700000000 1700000060 ACCEPT OK"
ROW = dict(zip((name.replace("-", "_") for name in DEFAULT_FIELDS), VPC.split(), strict=True))


def lines(*found, indent=None):
    return "\n".join(json.dumps(each, indent=indent) for each in found) + "\n"


def advised(file):
    with pytest.raises(SourceError) as caught:
        sensors([file])
    message = str(caught.value)
    assert message.startswith(f"{file}:1: ")
    return message


def flows_of(file):
    (sensor,) = sensors([file])
    return sensor.format, sum(each.flows.height for each in sensor.batches())


def test_results_of_insights_without_the_times_are_told_what_to_ask_for(tmp_path):
    file = tmp_path / "insights.csv"
    file.write_text("@timestamp,srcAddr,dstAddr,protocol,bytes\n2026-01-05 10:00:00,192.0.2.1,192.0.2.2,6,10\n")
    assert "query start, end" in advised(file)


@pytest.mark.parametrize(
    ("wrapped", "format_"),
    [
        (lines({"_source": FLOW}, {"_source": FLOW | {"flow_id": 8}}), "suricata"),
        (lines(FLOW, FLOW | {"flow_id": 8}, indent=2), "suricata"),
        (lines({"hits": {"hits": [{"_source": CONN}, {"_source": CONN | {"uid": "C2"}}]}}), "zeek"),
        (lines({"hits": [{"_source": CONN | {"uid": f"C{n}"}} for n in range(900)]}, indent=1), "zeek"),
        (lines({"message": json.dumps(CONN)}, {"message": json.dumps(CONN | {"uid": "C2"})}), "zeek"),
        (
            f"<13>Jan  5 host zeek: {json.dumps(CONN)}\n<13>Jan  5 host zeek: {json.dumps(CONN | {'uid': 'C2'})}\n",
            "zeek",
        ),
        (lines({"events": [{"message": VPC}, {"message": VPC.replace("443", "80")}]}, indent=4), "vpcflow"),
        (lines(ROW, ROW | {"dstport": "80"}), "vpcflow"),
        (
            f'"@timestamp","@message"\n"2026-01-05 10:00:00","{VPC}"\n"2026-01-05 10:00:01","{VPC.replace("443", "80")}"\n',
            "vpcflow",
        ),
        (f"@timestamp,@message,@log\n2026,{VPC},123:vpc\n2026,{VPC.replace('443', '80')},123:vpc\n", "vpcflow"),
        (
            lines(
                *({"event": {"dataset": "zeek.connection", "original": json.dumps(CONN | {"uid": u})}} for u in "AB")
            ),
            "zeek",
        ),
    ],
)
def test_the_command_that_is_advised_unwraps(tmp_path, wrapped, format_):
    file, plain = tmp_path / "wrapped.json", tmp_path / "plain"
    file.write_text(wrapped)
    command = advised(file).split("`")[1].replace("FILE", shlex.quote(str(file)))
    if shutil.which(command.split()[0]) is None:
        pytest.skip(f"{command.split()[0]} is not installed")
    plain.write_bytes(subprocess.run(["sh", "-c", command], check=True, capture_output=True).stdout)
    assert flows_of(plain) == (format_, 900 if len(wrapped) > 100_000 else 2)


@pytest.mark.parametrize(
    "other", ['{"type": "bundle", "objects": [{"ts": 1}]}', "{" * 500, "[" * 5000 + "{" * 5000, "{}"]
)
def test_other_json_gets_no_advice(tmp_path, other):
    file = tmp_path / "other.json"
    file.write_text(other)
    assert "not recognised" in advised(file)


@settings(max_examples=50)
@given(st.binary(max_size=300) | st.text(alphabet='{}[]":,ts ', max_size=300).map(str.encode))
def test_any_text_is_looked_at_in_peace(head):
    assert advice(head, lambda _: False) is None
