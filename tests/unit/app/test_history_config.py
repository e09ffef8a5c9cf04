import pytest

from netpersona.app.config import read_config
from netpersona.app.history_config import HistoryPlace
from netpersona.errors import ConfigError
from netpersona.flow.window import DAY


def configured(tmp_path, text):
    path = tmp_path / "netpersona.yaml"
    path.write_text(text)
    return read_config(path).history


def test_flows_are_kept_where_it_says(tmp_path):
    assert configured(tmp_path, "") is None
    assert configured(tmp_path, "history: {path: flows}") == HistoryPlace(tmp_path / "flows", 30 * DAY, 20 << 30)
    assert configured(tmp_path, "history: {path: /f, keep: 7d, max_size: 500MiB}").most == 500 << 20


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("history: {path: f, keep: long}", "history: keep: 'long' is no span of time"),
        ("history: {path: f, max_size: 20GB}", "history: max_size: '20GB' is no size; write 500MiB"),
        ("history: {path: f, max_size: 0B}", "is no size"),
        ("history: {path: f, maxsize: 1B}", "unknown key 'maxsize'; did you mean 'max_size'"),
        ("history: {keep: 1d}", "path"),
    ],
)
def test_what_means_nothing_is_refused(tmp_path, text, said):
    with pytest.raises(ConfigError, match=said):
        configured(tmp_path, text)
