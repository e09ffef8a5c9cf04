from pathlib import Path

import pytest

from netpersona.app.config import Config, read_config
from netpersona.app.feed_config import standards
from netpersona.app.span import duration
from netpersona.errors import ConfigError
from netpersona.flow.window import DAY, HOUR, MINUTE, SECOND, WINDOW
from netpersona.intel.gate import Admission
from netpersona.intel.precision import Standard
from netpersona.policy.model import AlwaysAllow, PolicySet
from netpersona.ports import Keep


@pytest.fixture
def config(tmp_path):
    """Reads a configuration file of this text."""

    def read(text):
        path = tmp_path / "netpersona.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_config(path)

    return read


def refused(config, text):
    with pytest.raises(ConfigError) as error:
        config(text)
    assert "netpersona.yaml" in str(error.value)
    return str(error.value)


def test_no_file_and_an_empty_file_are_the_defaults(config):
    assert read_config(None) == config("") == config("# nothing\n") == Config()
    assert Config().window == WINDOW
    assert Config().unknown_vm == "allow"
    assert Config().always_allow.ports == (22,)


def test_every_key_is_read(config, tmp_path):
    found = config(
        """
        store: netpersona.db
        inventory: vms.yaml
        feeds: [{name: drop, file: lists/drop.txt, confidence: 0.95, half_life: 7d, family: spamhaus, allow: [documentation]}]
        policies: [policies/]
        window: 10m
        unknown_vm: deny
        always_allow: {management: [192.0.2.10/32], ports: [22, 443], dhcp: false}
        redirects: {analyser: 10.77.0.9}
        enforcer: plan
        api: {socket: np.sock, group: ops}
        """
    )
    assert found.store == str(tmp_path / "netpersona.db")
    assert found.inventory == tmp_path / "vms.yaml"
    assert found.policies == (tmp_path / "policies",)
    [feed] = found.feeds
    assert feed.file == tmp_path / "lists" / "drop.txt"
    assert (feed.settings.name, feed.settings.confidence, feed.settings.half_life) == ("drop", 0.95, 7 * DAY)
    assert (feed.settings.family, feed.settings.allow) == ("spamhaus", ("documentation",))
    assert (found.window, found.unknown_vm) == (10 * MINUTE, "deny")
    assert found.always_allow == AlwaysAllow(management=("192.0.2.10/32",), ports=(22, 443), dhcp=False)
    assert found.redirects == {"analyser": "10.77.0.9"}
    assert found.enforcer == "plan"
    assert (found.api.socket, found.api.group) == (tmp_path / "np.sock", "ops")


def test_whole_paths_and_urls_stay_as_they_are(config):
    found = config("{store: 'sqlite:////var/lib/n.db', inventory: /etc/vms.yaml, feeds: [{file: /etc/drop.txt}]}")
    assert found.store == "sqlite:////var/lib/n.db"
    assert found.inventory == Path("/etc/vms.yaml")
    assert found.feeds[0].file == Path("/etc/drop.txt")


def test_an_inventory_is_a_file_or_libvirt(config):
    found = config("inventory: {libvirt: 'qemu:///system', addresses: [lease, agent]}")
    assert found.inventory is None
    assert (found.libvirt.uri, found.libvirt.addresses) == ("qemu:///system", ("lease", "agent"))
    assert config("inventory: {libvirt: 'test:///default'}").libvirt.addresses == ("lease",)


def test_a_feed_without_a_name_is_named_by_its_file(config):
    assert config("{feeds: [{file: 'a/bad hosts.txt'}]}").feeds[0].settings.name == "bad-hosts"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("stor: x", "'store'"),
        ("policy: [x]", "'policies'"),
        ("feeds: [{file: x, confidense: 1}]", "'confidence'"),
        ("always_allow: {managment: []}", "'management'"),
        ("inventory: {libvirrt: x}", "'libvirt'"),
    ],
)
def test_an_unknown_key_is_refused_with_the_one_meant(config, text, meant):
    assert f"did you mean {meant}?" in refused(config, text)


def test_an_unknown_key_like_no_other_is_told_all_that_there_are(config):
    message = refused(config, "zzz: 1")
    assert "unknown key 'zzz'" in message
    assert "inventory" in message


@pytest.mark.parametrize(
    "text",
    [
        *(
            "window: 7m",
            "window: 45m",
            "window: 2h",
            "window: 0m",
            "window: 5",
            "window: 5 minutes",
            "window: -5m",
            "window: 999999999d",
        ),
        *(
            "unknown_vm: maybe",
            "inventory: {libvirt: system}",
            "inventory: {libvirt: 'qemu:///system', addresses: [guess]}",
            "inventory: [vms.yaml]",
            "enforcer: nft",
            "feeds: [{name: x}]",
            "feeds: {}",
            "feeds: [{file: x, confidence: 1.1}]",
        ),
        *("feeds: [{file: x, confidence: .nan}]", "feeds: [{file: x, half_life: soon}]", "policies: x", "- a list"),
        *(
            "just text",
            "store: 7",
            "a: [",
            "a: !!python/object:os.system {}",
            b"\xff\xfe\x00",
            "store: a\nstore: b",
            "redirects: {a: 1}",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_file(config, text):
    refused(config, text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yaml: No such file"):
        read_config(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    ("text", "span"), [("90s", 90 * SECOND), ("5m", 5 * MINUTE), ("1h", HOUR), ("7d", 7 * DAY), (" 2 h ", 2 * HOUR)]
)
def test_a_span_of_time(text, span):
    assert duration(text, "window") == span


@pytest.mark.parametrize("text", ["", "5", "m", "0s", "-1s", "1.5h", "1w", "1h30m", "٥m", "9999999999s", "5M"])
def test_what_is_no_span_is_refused(text):
    with pytest.raises(ConfigError, match=r"window: .* is no span of time"):
        duration(text, "window")


def test_a_policy_files_own_always_allow_goes_before_the_configurations(config):
    stated = config("{unknown_vm: deny, always_allow: {ports: [2222]}, redirects: {a: 10.0.0.1, b: 10.0.0.2}}")
    applied = stated.applied(PolicySet(redirects={"b": "10.0.0.3"}))
    assert applied.always.ports == (2222,)
    assert applied.unknown_vm == "deny"
    assert applied.redirects == {"a": "10.0.0.1", "b": "10.0.0.3"}
    own = AlwaysAllow(ports=(1,))
    assert stated.applied(PolicySet(always=own)).always == own
    assert config("").applied(PolicySet(always=own)).always == own


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("feeds: [{file: a.txt, allow: [documentatoin]}]", "did you mean 'documentation'?"),
        ("feeds: [{file: a.txt, allow: [everything]}]", "known are private, loopback"),
        ("always_allow: {management: [nonsense]}", "always_allow: management: 'nonsense' is not an address or prefix"),
        ("always_allow: {management: [192.0.2.10/24]}", "did you mean 192.0.2.0/24"),
        ("always_allow: {ports: [70000]}", "70000 is no port"),
        ("redirects: {analyser: nobody}", "redirects: analyser: 'nobody' is not an address"),
    ],
)
def test_a_value_that_means_nothing_is_refused(config, text, word):
    assert word in refused(config, text)


GATE = """
feeds:
  - {name: drop, file: drop.txt, floor: 0.7}
  - {name: ours, file: ours.txt, least: 20}
gate:
  time_servers: [192.0.2.123]
  admit:
    - {value: 9.9.9.9/32, gate: public-resolvers, feed: ours, reason: "ticket 4711", author: lena}
    - {value: Evil.Example., gate: top-sites, reason: we know better, author: ann}
precision: {floor: 0.6, least: 8}
"""


def test_the_gate_and_the_precision_of_feeds_are_configured(config):
    found = config(GATE)
    assert found.gate.time_servers == ("192.0.2.123",)
    assert found.gate.admitted == (
        Admission("public-resolvers", "9.9.9.9", "ticket 4711", "lena", "ours"),
        Admission("top-sites", "evil.example", "we know better", "ann", None),
    )
    held = standards(found.feeds, found.precision)
    assert [held.of(name) for name in ("drop", "ours", "other")] == [(0.7, 8), (0.6, 20), (0.6, 8)]
    assert config("").precision == Standard()


@pytest.mark.parametrize(
    ("before", "after", "line", "said"),
    [
        ("public-resolvers", "public-resolver", 8, "did you mean 'public-resolvers'?"),
        ("reason: we know", "raeson: we know", 9, "did you mean 'reason'?"),
        ('"ticket 4711"', '""', 8, "admit: reason: a line of text is expected"),
        ("Evil.Example.", "not one", 9, "'not one' is not one address, network, name or URL"),
        ("[192.0.2.123]", "[192.0.2.999]", 6, "time_servers: '192.0.2.999' is not an address"),
        ("time_servers", "timeservers", 6, "did you mean 'time_servers'?"),
        ("floor: 0.6", "floor: 60", 10, "floor: 60.0 is not between 0 (log-only never) and 1"),
        ("floor: 0.7", "floor: -1", 3, "feed drop: floor: -1"),
        ("least: 20", "least: 0", 4, "feed ours: least: 0 judged sightings"),
        ("least: 8", "leats: 8", 10, "did you mean 'least'?"),
        (", least: 20", ", interval: 1h", 4, "interval: means nothing for a file"),
        ("name: ours", "name: drop", 4, "two feeds are named drop"),
    ],
)
def test_an_error_names_the_file_the_line_and_the_word_meant(config, before, after, line, said):
    message = refused(config, GATE.replace(before, after, 1))
    assert f"netpersona.yaml:{line}: " in message
    assert said in message


def test_how_long_the_store_keeps_what_it_knows(config, tmp_path):
    assert config("store: a.db").keep == Config().keep == Keep(gone=90 * DAY, past=365 * DAY)
    found = config("store: {url: a.db, keep: 30d, keep_gone: 7d}")
    assert (found.store, found.keep) == (str(tmp_path / "a.db"), Keep(gone=7 * DAY, past=30 * DAY))
    assert config("store: {url: 'sqlite:////x.db'}").store == "sqlite:////x.db"
    assert config("store: {keep: 30d}").store is None
    assert "store: keep_gone: 2h is too short; keep a day at least: 1d" in refused(config, "store: {keep_gone: 2h}")
    assert "store: keep: 'long' is no span of time" in refused(config, "store: {keep: long}")
    assert "did you mean 'keep_gone'?" in refused(config, "store: {kept_gone: 7d}")
