"""What each way of writing a feed becomes, spelling by spelling."""

from __future__ import annotations

import pytest

from netpersona.intel.feed import REFUSALS_KEPT, FeedSettings, parse
from netpersona.intel.formats import FormatError

FEED = FeedSettings("tests")


def read(content, column=None):
    return parse(content if isinstance(content, bytes) else content.encode(), FEED, column)


def values(content, column=None):
    return read(content, column).indicators["value"].to_list()


def reasons(content):
    """What is refused beside one good line."""
    return [(refusal.line, refusal.reason) for refusal in read(content + "\n9.9.9.9").refused]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("8.8.4.1", "8.8.4.1"),
        ("  8.8.4.1  ", "8.8.4.1"),
        ("8.8.4.1/32", "8.8.4.1"),
        ("8.8.4.1\t17", "8.8.4.1"),
        ("8.8.4.1 17", "8.8.4.1"),
        ("8.8.4.1:8080", "8.8.4.1"),
        ("8[.]8[.]4[.]1", "8.8.4.1"),
        ("8(.)8.4[dot]1", "8.8.4.1"),
        ("8.8.4.0/24 ; SBL1", "8.8.4.0/24"),
        ("8.8.4.0/255.255.255.0", "8.8.4.0/24"),
        ("8.8.4.77/24", "8.8.4.0/24"),
        ("8.8.4.0-8.8.4.255", "8.8.4.0/24"),
        ("8.8.4.0 - 8.8.4.255 # all", "8.8.4.0/24"),
        ("::ffff:8.8.4.1", "8.8.4.1"),
        ("2A06:E480:0:0:0:0:0:1", "2a06:e480::1"),
        ("2a06:e480::/29", "2a06:e480::/29"),
        ("[2a06:e480::1]:443", "2a06:e480::1"),
        ("2a06:e480::1-2a06:e480::1", "2a06:e480::1"),
        ("Evil.Example.", "evil.example"),
        ("*.evil.example", "evil.example"),
        (".evil.example", "evil.example"),
        ("evil[.]example", "evil.example"),
        ("evil.example:443", "evil.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("hxxps://Evil[.]Example/Path#part", "https://evil.example/Path"),
        ("hXXp://8[.]8[.]4[.]1:81/x", "http://8.8.4.1:81/x"),
        ("http[:]//evil.example", "http://evil.example/"),
        ("evil.example/x.js", "http://evil.example/x.js"),
        ("evil.example#seen in May", "evil.example"),
        ("https://evil.example/x, since May", "https://evil.example/x"),
        ("as64496", "AS64496"),
        ("cve-2024-12345", "CVE-2024-12345"),
        ("D41D8CD98F00B204E9800998ECF8427E", "d41d8cd98f00b204e9800998ecf8427e"),
    ],
)
def test_one_thing_has_one_canonical_text(line, value):
    assert values(line) == [value]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("localhost", "a single label is no domain"),
        ("/gate.php", "a path without a host"),
        ("010.1.2.3", "no address: a part over 255, a leading zero, or a bad prefix length"),
        ("8.8.4.1/33", "no address: a part over 255, a leading zero, or a bad prefix length"),
        ("8.8.4.9 - 8.8.4.1", "a range that ends before it starts, or mixes IPv4 and IPv6"),
        ("8.8.4.0 8.8.4.255 24", "several values in one place; expected one"),
        ("someone@evil.example", "an e-mail address or a URL with a user name is no indicator here"),
        ("http:///path", "a URL without a host"),
        ("-evil-.example", "no address, network, domain, URL or hash"),
        ("x" * 5000 + ".example", "longer than 2048 characters"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line_and_reason(line, reason):
    assert reasons("# first line\n" + line) == [(2, reason)]


def test_a_range_becomes_the_networks_it_spans():
    assert sorted(values("8.8.4.1-8.8.4.4")) == ["8.8.4.1", "8.8.4.2/31", "8.8.4.4"]


def test_the_widest_ipv4_range_is_read_and_an_ipv6_range_of_countless_networks_is_not():
    widest = read("0.0.0.1-255.255.255.254")
    assert (widest.records, widest.indicators.height) == (1, 62)
    assert reasons("::1-ffff::1") == [(1, "a range of more than 62 networks; expected the networks themselves")]
    assert values("0.0.0.0-255.255.255.255") == ["0.0.0.0/0"]


def test_what_was_changed_on_the_way_in_is_noted():
    noted = read("8.8.4.77/24\n8.8.4.1-8.8.4.4\nevil.example/x").noted
    assert [(note.line, note.value) for note in noted] == [
        (1, "8.8.4.77/24"),
        (2, "8.8.4.1-8.8.4.4"),
        (3, "evil.example/x"),
    ]
    assert noted[0].reason == "host bits were cleared"


def test_comments_become_labels_that_are_printable_and_short():
    content = "# head\n; head\n// head\n8.8.4.1 # bad\x1b[31m\tguy " + "x" * 500 + "\n8.8.4.2\n"
    table = read(content).indicators
    assert table["line"].to_list() == [4, 5]
    assert table["label"][0].startswith("bad [31m guy xxx")
    assert len(table["label"][0]) == 200
    assert table["label"][1] is None


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_line_ends_and_encodings_make_no_difference(ends, encoding):
    content = ends.join(["# é", "8.8.4.1", "", "evil.example"]).encode(encoding)
    assert read(content).indicators.select("line", "value").rows() == [(2, "8.8.4.1"), (4, "evil.example")]


def test_bytes_of_another_encoding_spoil_only_their_own_value():
    found = read(b"8.8.4.1 # caf\xe9\nb\xfccher.example\n8.8.4.2\n")
    assert found.indicators["value"].to_list() == ["8.8.4.1", "8.8.4.2"]
    assert [refusal.line for refusal in found.refused] == [2]


def test_duplicates_count_as_records_and_stand_at_their_first_line():
    found = read("8.8.4.1\nEVIL.example\n8.8.4.1/32\nevil.example.\n")
    assert found.records == 4
    assert found.indicators.select("value", "line").rows() == [("8.8.4.1", 1), ("evil.example", 2)]


def test_refusals_are_counted_beyond_what_is_kept():
    found = read("8.8.4.1\n" + "8.8.4.2\nnonsense\n" * (REFUSALS_KEPT + 500))
    assert (len(found.refused), found.refused_total) == (REFUSALS_KEPT, REFUSALS_KEPT + 500)


def test_refused_text_is_shown_short_and_printable():
    value = read("8.8.4.1\nx\x1b[2Jy\u202e" + "z" * 300).refused[0].value
    assert value.isprintable()
    assert len(value) <= 120


def test_a_hosts_file_lists_the_names_it_sends_nowhere():
    content = """127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
255.255.255.255 broadcasthost
0.0.0.0 evil.example  worse.example # tracker
127.0.0.1\tbad.example
0.0.0.0 plainword
8.8.4.1 mapped.example
"""
    found = read(content)
    assert found.format == "hosts"
    assert found.indicators["value"].to_list() == ["evil.example", "worse.example", "bad.example"]
    assert found.indicators["label"].to_list() == ["tracker", "tracker", None]
    assert [(refusal.line, refusal.reason) for refusal in found.refused] == [
        (1, "a name of the machine's own"),
        (2, "a name of the machine's own"),
        (3, "a name of the machine's own"),
        (6, "a single label is no domain"),
        (7, "it maps a name to an address, and lists nothing"),
    ]
    assert found.records == 7


def test_a_netset_has_its_headers_category_unless_the_settings_name_one():
    content = b"#\n# ipv4 hash:net ipset\n# Category        : Malware\n#\n8.8.4.0/24\n8.8.5.1\n"
    assert parse(content, FEED).indicators["category"].to_list() == ["malware", "malware"]
    assert parse(content, FeedSettings("f", category="c2")).indicators["category"].unique().to_list() == ["c2"]
    saved = "create drop hash:net family inet\nadd drop 8.8.4.0/24\nadd drop 8.8.5.1\n"
    assert values(saved) == ["8.8.4.0/24", "8.8.5.1"]
    assert read("-A INPUT -s 8.8.4.1/32 -j DROP\n-A INPUT -s 8.8.4.2/32 -j DROP\n").format == "access-rules"
    excepting = "create x hash:net\nadd x 8.8.4.0/24\nadd x 8.8.4.9 nomatch\n"
    assert (values(excepting), [each.line for each in read(excepting).refused]) == (["8.8.4.0/24"], [3])


@pytest.mark.parametrize(
    ("content", "column", "expected"),
    [
        ("ip,seen\n8.8.4.1,2026\n", None, ["8.8.4.1"]),
        ('"first_seen","dst_ip","port"\r\n"2026","8.8.4.1","443"\r\n# END\r\n', None, ["8.8.4.1"]),
        ('# id,url,tags\n1,http://evil.example/x,"a,b"\n', None, ["http://evil.example/x"]),
        ("when;host;note\n1;evil.example;x\n", None, ["evil.example"]),
        ("8.8.4.0/24,acme\n8.8.5.0/24,acme\n", None, ["8.8.4.0/24", "8.8.5.0/24"]),
        ("x,8.8.4.1,y\nx,evil.example,y\n", None, ["8.8.4.1", "evil.example"]),
        ("a,b\n8.8.4.1,8.8.5.1\n", "b", ["8.8.5.1"]),
        ("ip,other_ip\n8.8.4.1,8.8.5.1\n", "other_ip", ["8.8.5.1"]),
        ("ip,other_ip\n8.8.4.1,8.8.5.1\n", 2, ["8.8.5.1"]),
        ("x|8.8.4.1\n", "2", ["8.8.4.1"]),
        ('name,ip\n"a ""quoted"", name", 8.8.4.1\n', None, ["8.8.4.1"]),
        ("start_ip,end_ip,country\n8.8.4.0,8.8.4.255,US\n8.8.5.1,,US\n", None, ["8.8.4.0/24", "8.8.5.1"]),
        ('"network_first_ip";"network_last_ip"\n"8.8.4.0";"8.8.4.255"\n', None, ["8.8.4.0/24"]),
        ("8.8.4.1,8.8.5.1\n", 2, ["8.8.5.1"]),
        ("seen_from,relayed_by\n8.8.4.1,8.8.5.1\n", None, ["8.8.4.1"]),
    ],
)
def test_csv_columns_are_found_by_header_by_name_by_number_or_by_what_they_hold(content, column, expected):
    found = read(content, column)
    assert found.format == "csv"
    assert found.indicators["value"].to_list() == expected


@pytest.mark.parametrize(
    "content",
    ["8.8.4.0,8.8.4.255,US\n", '"8.8.4.1";"x";"8.8.5.1"\n', "8.8.4.1,8.8.4.2,8.8.4.3\n8.8.5.1,8.8.5.2,8.8.5.3\n"],
)
def test_which_of_several_nameless_columns_of_addresses_is_meant_has_to_be_said(content):
    with pytest.raises(FormatError, match=r"the columns 1, [23].* all hold addresses"):
        read(content)


def test_csv_rows_that_are_too_short_or_wrong_are_refused_and_the_others_used():
    found = read("seen,ip,malware\n1,8.8.4.1,Emotet\n2\n3,nonsense,x\n4,8.8.4.2,\n")
    assert found.indicators.select("value", "label").rows() == [("8.8.4.1", "Emotet"), ("8.8.4.2", None)]
    assert [refusal.line for refusal in found.refused] == [3, 4]


@pytest.mark.parametrize(("column", "wrong"), [("nope", "no column 'nope'"), (3, "no column 3"), (0, "no column 0")])
def test_a_column_that_is_not_there_is_an_error(column, wrong):
    with pytest.raises(FormatError, match=wrong):
        read("ip,seen\n8.8.4.1,x\n", column)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("<!DOCTYPE html><title>Sign in</title>\nevil.example", "HTML"),
        ("\0\0\0", "binary"),
    ],
)
def test_other_formats_are_named_and_never_taken_for_lists(content, what):
    with pytest.raises(FormatError, match=what):
        read(content)


@pytest.mark.parametrize("content", ["", "\n\n", "# nothing\n; here\n"])
def test_a_feed_that_lists_nothing_is_an_empty_snapshot(content):
    found = read(content)
    assert found.indicators.is_empty()
    assert found.refused_total == 0


def test_a_comment_in_a_hosts_file_is_a_label_and_no_category():
    said = b"0.0.0.0 evil.example # phishing kit, see ticket 7\n0.0.0.0 worse.example\n"
    found = parse(said, FeedSettings("hosts"))
    assert found.format == "hosts"
    rows = found.indicators.select("value", "label", "category").rows()
    assert rows == [("evil.example", "phishing kit, see ticket 7", None), ("worse.example", None, None)]
