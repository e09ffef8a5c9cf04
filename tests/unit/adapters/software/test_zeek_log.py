"""Zeek's word on servers' software."""

from __future__ import annotations

from pathlib import Path

from netpersona.adapters.software.zeek_log import newest, read_software, software_logs

TSV = """#separator \\x09
#path\tsoftware
#fields\tts\thost\thost_p\tsoftware_type\tname\tversion.major\tunparsed_version
#types\ttime\taddr\tport\tenum\tstring\tcount\tstring
1.0\t192.0.2.10\t80\tHTTP::SERVER\tApache\t2\tApache/2.4.49 (Unix) PHP/7.2.3
2.0\t192.0.2.10\t-\tHTTP::BROWSER\tFirefox\t59\tMozilla/5.0 Firefox/59.0
3.0\tnot an address\t80\tHTTP::SERVER\tApache\t2\tApache/2.4.1
4.0\t2001:db8::1\t22\tSSH::SERVER\tOpenSSH\t9\tOpenSSH_9.6p1
"""
JSON = """{"ts":1.0,"host":"192.0.2.10","host_p":80,"software_type":"HTTP::SERVER","unparsed_version":"nginx/1.18.0"}
{broken
{"ts":2.0,"host":"192.0.2.10","host_p":80,"software_type":"HTTP::SERVER","unparsed_version":"nginx/1.24.0"}
"""
SSH = (
    '{"ts":1.0,"uid":"C1","id.resp_h":"192.0.2.11","id.resp_p":22,"auth_attempts":1,"server":"SSH-2.0-Erlang/5.1.4"}\n'
)


def test_servers_are_told_of_and_clients_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(TSV)
    assert [(s.address, s.software.product, s.software.version, s.software.port) for s in read_software(path)] == [
        ("192.0.2.10", "apache", "2.4.49", 80),
        ("192.0.2.10", "php", "7.2.3", 80),
        ("2001:db8::1", "openssh", "9.6p1", 22),
    ]


def test_what_was_seen_last_counts(tmp_path: Path) -> None:
    path = tmp_path / "software.json"
    path.write_text(JSON)
    (known,) = newest(read_software(path))["192.0.2.10"]
    assert (known.product, known.version) == ("nginx", "1.24.0")
    assert known.source.endswith("row 2")


def test_the_banner_of_an_ssh_server(tmp_path: Path) -> None:
    path = tmp_path / "ssh.log"
    path.write_text(SSH)
    assert software_logs([tmp_path]) == [path]
    (seen,) = read_software(path)
    assert (seen.address, seen.software.product, seen.software.port) == ("192.0.2.11", "erlang", 22)


def test_logs_are_found_by_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "anything.txt").write_text(TSV)
    (tmp_path / "x" / "conn.log").write_text("#separator \\x09\n#path\tconn\n#fields\tts\tuid\n")
    assert software_logs([tmp_path]) == [tmp_path / "x" / "anything.txt"]
