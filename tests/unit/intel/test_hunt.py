from dataclasses import replace

import polars as pl

from netpersona.flow.window import DAY, HOUR, MINUTE
from netpersona.intel.allow import EMPTY, AllowEntry, AllowList
from netpersona.intel.feed import FeedSettings, parse
from netpersona.intel.hunt import Hunt, quarry
from netpersona.intel.rollup import Rollup, rolled_up, together
from past_traffic import AT, a_day, as_seen, flow, rolled, said, traffic


def hunted(values, *days, allow=EMPTY, feed="news"):
    listed = parse("\n".join(values).encode(), FeedSettings(feed)).indicators
    hunt = Hunt(quarry(listed), allow, AT)
    for day in days or [rolled(*a_day())]:
        hunt.day(day)
    return hunt


def told(hunt, *columns):
    return hunt.traces().select(columns or ("vm", "via", "name", "peer", "port", "flows")).rows()


def test_an_address_leads_to_who_talked_to_it_when_and_how_much():
    rows = hunted(["203.0.113.7"]).traces().rows(named=True)
    assert [(r["vm"], r["port"], r["bytes_out"], r["first"] - AT, r["source"]) for r in rows] == [
        ("web-1", 443, 100, MINUTE, "first.log"),
        ("web-1", 8443, 5_000, 9 * MINUTE, "conn.log"),
    ]
    assert {(r["via"], r["direction"], r["vm_address"], r["answered"]) for r in rows} == {
        ("address", "outbound", "10.0.0.1", 1)
    }


def test_a_network_and_its_address_are_both_told_of():
    hunt = hunted(["203.0.113.0/24", "203.0.113.7", "2001:db8::/32"])
    assert hunt.quarry.listed["value"].to_list() == ["203.0.113.7", "2001:db8::/32", "203.0.113.0/24"]
    assert told(hunt, "quarry", "vm", "port") == [
        *((0, "web-1", 443), (0, "web-1", 8443), (1, "web-1", 443)),
        *((2, "web-1", 443), (2, "web-1", 8443)),
    ]


def test_who_was_tried_from_a_listed_address_is_told_of_too():
    assert told(hunted(["192.0.2.66"]), "vm", "direction", "flows", "answered") == [("db-1", "inbound", 1, 0)]


def test_a_domain_leads_to_names_below_it_questions_and_what_followed_their_answers():
    assert told(hunted(["evil.example"])) == [
        ("db-1", "name", "cdn.evil.example", "198.51.100.9", 443, 1),
        ("web-1", "answer", "evil.example", "198.51.100.20", 4444, 1),
        ("web-1", "dns", "evil.example", "10.0.0.53", 53, 1),
    ]


def test_a_resolver_that_is_a_vm_did_not_look_for_what_others_asked_it():
    day = rolled(said(AT, "10.0.0.1", "10.0.0.2", "dns", "evil.example", answers=["198.51.100.20"]))
    assert told(hunted(["evil.example"], day), "vm", "via") == [("web-1", "dns")]


def test_an_answer_of_the_day_before_is_still_known_and_one_of_later_does_not_count():
    question = said(AT + DAY - MINUTE, "10.0.0.1", "10.0.0.53", "dns", "evil.example", answers=["198.51.100.20"])
    after, before = flow(AT + DAY, "10.0.0.1", "198.51.100.20"), flow(AT, "10.0.0.1", "198.51.100.20")
    assert ("answer", 443) in told(hunted(["evil.example"], rolled(question), rolled(after)), "via", "port")
    assert told(hunted(["evil.example"], rolled(before, question)), "via") == [("dns",)]


def test_an_answer_of_the_last_day_that_there_was_is_not_known_when_no_day_lies_between():
    question = said(AT + DAY - MINUTE, "10.0.0.1", "10.0.0.53", "dns", "evil.example", answers=["198.51.100.20"])
    later = rolled(flow(AT + 2 * DAY, "10.0.0.1", "198.51.100.20"))
    assert told(hunted(["evil.example"], rolled(question), later), "via") == [("dns",)]


def test_a_flow_follows_what_was_answered_before_it_not_what_the_name_stood_for_later():
    def asked(minute, answer):
        return said(AT + minute * MINUTE, "10.0.0.1", "10.0.0.53", "dns", "evil.example", answers=[answer])

    questions = asked(1, "198.51.100.20"), asked(3, "198.51.100.21")
    flows = [flow(AT + 2 * MINUTE, "10.0.0.1", f"198.51.100.{last}") for last in (20, 21)]
    whole, halves = rolled(*questions, *flows), [rolled(*questions[::-1]), rolled(*flows)]
    for day in (whole, together(halves)):
        assert told(hunted(["evil.example"], day), "via", "peer") == [
            ("answer", "198.51.100.20"),
            ("dns", "10.0.0.53"),
        ]


def test_whether_a_day_was_put_together_yet_changes_nothing():
    question = said(AT + HOUR, "10.0.0.1", "10.0.0.53", "dns", "evil.example", answers=["198.51.100.20"])
    parts = [rolled(flow(AT + at, "10.0.0.1", "198.51.100.20"), question) for at in (0, 2 * HOUR)]
    beside = Rollup(*(pl.concat([getattr(part, name) for part in parts]) for name in ("talks", "uses")))
    assert hunted(["evil.example"], beside).traces().equals(hunted(["evil.example"], together(parts)).traces())


def test_a_roll_up_that_was_written_without_the_times_of_answers_is_read_as_of_the_first_question():
    day = rolled(*a_day())
    older = Rollup(day.talks, day.uses.with_columns(answered_at=pl.lit(None, pl.List(pl.Int64))))
    for each in (older, together([older, older])):
        assert hunted(["evil.example"], each).traces()["via"].unique().sort().to_list() == ["answer", "dns", "name"]


def test_a_url_leads_to_its_host_and_not_to_names_below_it():
    assert told(hunted(["http://evil.example/a.exe"]), "via", "name") == [
        ("answer", "evil.example"),
        ("dns", "evil.example"),
    ]
    assert told(hunted(["http://203.0.113.7:8080/a"]), "vm", "port") == [("web-1", 443), ("web-1", 8443)]


def test_a_fingerprint_leads_to_who_showed_it():
    assert told(hunted(["a" * 32]), "vm", "via", "peer") == [("web-1", "ja3", "2001:db8::66")]


def test_a_second_request_in_a_flow_is_told_of_without_bytes():
    day = rolled(
        flow(AT, "10.0.0.1", "198.51.100.9", 80, server_name="good.example"),
        said(AT, "10.0.0.1", "198.51.100.9", "http", "good.example", 80),
        said(AT + 1, "10.0.0.1", "198.51.100.9", "http", "evil.example", 80),
    )
    assert told(hunted(["evil.example", "good.example"], day), "via", "name", "bytes_in") == [
        ("http", "evil.example", None),
        ("name", "good.example", 1_000),
    ]


def test_the_name_that_dns_answered_an_address_for_is_told():
    day = rolled(*a_day())
    assert set(told(hunted(["198.51.100.20"], day), "name", "port")) == {("evil.example", 4444), ("good.example", 443)}


def test_what_flows_say_nothing_of_is_named():
    hunt = hunted(["CVE-2024-1234", "203.0.113.7", "b" * 64])
    assert hunt.quarry.unfit.rows() == [("CVE-2024-1234", "cve"), ("b" * 64, "hash")]


def test_allow_lists_win_while_they_are_in_force():
    entries = [AllowEntry("203.0.113.0/29", None, "ours"), AllowEntry("cdn.evil.example", AT, "over")]
    hunt = hunted(["203.0.113.7", "evil.example"], allow=AllowList(tuple(entries)))
    assert {name for (name,) in told(hunt, "name")} == {"cdn.evil.example", "evil.example"}
    assert {value: entry.comment for value, entry in hunt.allowed.items()} == {"203.0.113.7": "ours"}
    whole = hunted(["evil.example"], allow=AllowList((replace(entries[1], until=AT + 1),)))
    assert {name for (name,) in told(whole, "name")} == {"evil.example"}


def test_feeds_that_list_the_same_thing_are_told_together():
    lists = [parse(b"203.0.113.7", FeedSettings(name, category=name)).indicators for name in ("b", "a")]
    assert quarry(pl.concat(lists)).listed.rows() == [("address", "203.0.113.7", ["a", "b"], ["a", "b"], 0.8)]


def test_days_add_up_and_nothing_depends_on_how_a_day_was_cut():
    rows = a_day()
    whole, parts = rolled(*rows), [rolled(*rows[place::3]) for place in range(3)]
    for name in ("talks", "uses"):
        assert getattr(together(parts[::-1]), name).equals(getattr(whole, name))
    values = ["203.0.113.0/24", "evil.example"]
    twice = hunted(values, whole, rolled(*a_day(AT + DAY))).traces()
    assert twice["flows"].to_list() == [2 * flows for flows in hunted(values, whole).traces()["flows"]]


def test_many_days_are_put_together_on_the_way(monkeypatch):
    days = [rolled(*a_day(AT + number * DAY)) for number in range(4)]
    values = ["203.0.113.0/24", "evil.example"]
    whole = hunted(values, *days).traces()
    monkeypatch.setattr("netpersona.intel.hunt._TOGETHER", 3)
    assert hunted(values, *days).traces().equals(whole)


def test_nothing_is_found_in_nothing():
    empty = as_seen(traffic(flow(AT, "8.8.8.8", "9.9.9.9")))
    day = rolled_up(empty.flows, empty.transactions)
    assert not hunted(["203.0.113.7", "evil.example", "a" * 32], day).traces().height
    assert not hunted(["203.0.113.7"], together([day, day])).traces().height
