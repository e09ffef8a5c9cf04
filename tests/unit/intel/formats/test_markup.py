"""What begins with `<`: OpenIOC and its AND and OR, hostile XML, and pages that are no feeds."""

from __future__ import annotations

import pytest

from netpersona.intel.formats import FormatError, read
from shared_data import SHARED, needs_shared

FEEDS = SHARED / "data" / "feeds"


def item(search, content, condition="is", more=""):
    document = search.partition("/")[0]
    return (
        f'<IndicatorItem id="i" condition="{condition}"{more}>\n<Context document="{document}" search="{search}" type="mir"/>'
        f'<Content type="string">{content}</Content></IndicatorItem>\n'
    )


def group(word, *parts):
    return f'<Indicator operator="{word}" id="g">\n{"".join(parts)}</Indicator>\n'


def ioc(*parts, root='ioc xmlns="http://schemas.mandiant.com/2010/ioc" last-modified="1970-01-02T00:00:00"'):
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<{root}>\n<short_description>A &amp; B</short_description>\n'
        f"<definition>\n{group('OR', *parts)}</definition>\n</{root.split()[0]}>\n"
    )


def of(text):
    return read(text if isinstance(text, bytes) else text.encode())


def entered(found, *columns):
    return found.table.select(*(columns or ("raw", "type"))).rows()


ADDRESS = item("PortItem/remoteIP", "9.9.9.1")
NAME = item("Network/DNS", " evil.example ", "contains")


@pytest.mark.parametrize(
    ("search", "kind"),
    [
        ("FileItem/Md5sum", "hash"),
        ("TaskItem/sha256sum", "hash"),
        ("Network/DNS", "domain"),
        ("DnsEntryItem/RecordName", "domain"),
        ("UrlHistoryItem/URL", "url"),
        ("RouteEntryItem/Destination", "address"),
        ("PortItem/remoteIP", "address"),
        ("Network/IP", "address"),
    ],
)
def test_the_name_of_a_term_says_what_it_is(search, kind):
    found = of(ioc(item(search, "x")))
    assert (found.format, found.records, entered(found)) == ("openioc", 1, [("x", kind)])


def test_terms_of_an_or_suffice_and_those_of_an_and_do_not():
    only = group("AND", item("PortItem/remoteIP", "9.9.9.2"))
    both = group("AND", item("PortItem/remoteIP", "9.9.9.3"), group("OR", item("Network/DNS", "c.example")))
    found = of(ioc(ADDRESS, NAME, only, both))
    assert found.records == 5
    assert entered(found) == [("9.9.9.1", "address"), ("evil.example", "domain"), ("9.9.9.2", "address")]
    assert all("joined by AND" in reason for reason in found.refused["reason"])


@pytest.mark.parametrize(
    ("term", "reason"),
    [
        (item("PortItem/remotePort", "443"), "PortItem/remotePort: a kind of value that this product cannot match"),
        (item("Network/DNS", "a.example", "isnot"), "its condition is 'isnot'"),
        (item("Network/DNS", "a.example", "matches"), "its condition is 'matches'"),
        (item("Network/DNS", "a.example", "is", ' negate="true"'), "its condition is 'not is'"),
    ],
)
def test_a_refused_term_is_a_record(term, reason):
    found = of(ioc(ADDRESS, term))
    assert (found.records, entered(found)) == (2, [("9.9.9.1", "address")])
    assert reason in found.refused["reason"][0]


def test_version_1_1_has_another_root():
    assert entered(of(ioc(ADDRESS, root='OpenIOC xmlns="http://openioc.org/schemas/OpenIOC_1.1"'))) == [
        ("9.9.9.1", "address")
    ]


def test_what_the_file_says_is_carried_with_the_line():
    assert entered(of(ioc(ADDRESS, NAME)), "line", "label", "valid_from") == [
        (6, "A & B", 86_400_000_000),
        (8, "A & B", 86_400_000_000),
    ]


@pytest.mark.parametrize("encoded", ["utf-8-sig", "utf-16"])
def test_the_encoding_is_what_the_bytes_are(encoded):
    assert entered(of(ioc(ADDRESS).encode(encoded))) == [("9.9.9.1", "address")]


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (ioc(ADDRESS)[:300], "line 7: damaged XML"),
        (ioc(ADDRESS).replace("</Context", "<Context").replace("/>", ">"), "damaged XML"),
        (ioc("<Indicator>" * 100_000), "nested too deeply"),
        ('<!DOCTYPE ioc [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><ioc>&b;</ioc>', "XML that declares entities"),
        ('<!DOCTYPE ioc [<!ENTITY a SYSTEM "file:///etc/passwd">]><ioc>&a;</ioc>', "XML that declares entities"),
        ("<ioc>\x01</ioc>", "damaged XML"),
        ('<stix:STIX_Package xmlns:stix="s"/>', "STIX 1 in XML"),
        ("<?xml version='1.0'?><!-- a -->\n<TCP/>", "XML ('TCP')"),
        ("<!-- -->" * 5_000 + "<", "no known text"),
        ("<!----><!--" * 5_000, "no known text"),
        ("<" * 100_000, "no known text"),
        ("<!DOCTYPE html><html><head><title>Not\nfound &amp; gone</title>", "a page in HTML ('Not found & gone')"),
        ("\n<!-- x --><HTML><body>9.9.9.1</body>", "a page in HTML"),
        ("<table><tr><td>9.9.9.1</td></tr></table>", "a page in HTML"),
    ],
)
def test_what_is_no_feed_is_told_by_its_name(content, wrong):
    with pytest.raises(FormatError) as error:
        of(content)
    assert wrong in str(error.value)


@needs_shared
@pytest.mark.parametrize("name", ["intelmq/feodotracker.html", "intelmq/malwareurl.html"])
def test_pages_of_the_world_are_no_feeds(name):
    with pytest.raises(FormatError, match="a page in HTML"):
        read((FEEDS / name).read_bytes())
