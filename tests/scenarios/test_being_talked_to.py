"""What others do to a VM does not make it guilty: a server that listed and scanning peers visit stays at its prior."""

import json

from netpersona.app.run import Request, run
from netpersona.app.sample import write_sample
from netpersona.app.stopwatch import Stopwatch

CONFIG = """
inventory: vms.yaml
feeds: [{file: visitors.txt, name: visitors, confidence: 0.9, allow: [documentation]}]
policies: [policy.yaml]
"""


def test_listed_visitors_do_not_cut_a_web_server_off(tmp_path):
    sample = write_sample(tmp_path)
    (tmp_path / "visitors.txt").write_text("198.51.100.0/24\n")
    (tmp_path / "config.yaml").write_text(CONFIG)
    report = run(Request([sample.logs], config=tmp_path / "config.yaml"), Stopwatch.started()).report
    web = next(p for p in report["personas"] if p["vm"] == "web-1")
    assert web["risk_score"] < 0.05
    assert not [f for f in report["findings"] if f["vm"] == "web-1" and f["kind"] == "intel_match" and f["alert"]]
    rules = next(v for v in report["plan"]["vms"] if v["vm"] == "web-1")["rules"]
    assert "nothing-out-when-risky" not in json.dumps(rules)
