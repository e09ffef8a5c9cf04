"""The account on the terminal, of a replay of the sample."""

import pytest
from rich.console import Console

from netpersona.app.account import risk_line, tell
from netpersona.app.run import Request, run
from netpersona.app.sample import write_sample
from netpersona.app.stopwatch import Stopwatch
from netpersona.flow.window import HOUR
from netpersona.persona.model import RiskTerm


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    sample = write_sample(folder)
    broken = folder / "logs" / "notes.log"
    broken.write_text("nothing that anybody knows\n")
    request = Request([sample.logs], inventory=sample.inventory, feeds=[sample.feed], policies=[sample.policy])
    console = Console(record=True, width=100, file=None, force_terminal=False)
    with console.capture() as captured:
        tell(run(request, Stopwatch.started()), console)
    return captured.get()


def test_it_says_who_was_seen_what_was_found_and_what_would_be_in_force(told):
    order = [told.index(word) for word in ("Personas", "Findings", "Risk over time", "Rules that would be in force")]
    assert order == sorted(order)
    for vm in ("web", "db", "desk"):
        assert vm in told


def test_it_names_what_was_not_read_and_what_the_feeds_held(told):
    assert "notes.log" in told
    assert "indicators" in told


def test_the_alerts_have_their_sentences(told):
    assert "203.0.113." in told or "198.51.100." in told
    assert "The VM" in told


def test_lines_fit_the_terminal(told):
    assert max(map(len, told.splitlines())) <= 100


def test_a_risk_line_rises_and_fades():
    term = RiskTerm("c2_beacon", "192.0.2.1", 4.0, HOUR, 8 * HOUR, "f", (), "why")
    line = risk_line(0.02, [term], 0, 16 * HOUR)
    peak = max(range(len(line)), key=line.__getitem__)
    assert len(line) == 32
    assert line[0] == line[-1] == "▁"
    assert 14 <= peak <= 17
    assert line[peak] in "▃▄▅"


def test_a_replay_that_names_no_feeds_keeps_those_of_its_store(tmp_path):
    sample = write_sample(tmp_path)
    store = str(tmp_path / "np.db")
    sample.feed.write_text("8.19.44.7\n")
    first = run(
        Request([sample.logs], inventory=sample.inventory, feeds=[sample.feed], store=store), Stopwatch.started()
    )
    again = run(Request([sample.logs], store=store), Stopwatch.started())
    kept = again.store.context("indicators")
    assert kept == first.store.context("indicators")
    assert kept != run(Request([sample.logs]), Stopwatch.started()).store.context("indicators")
