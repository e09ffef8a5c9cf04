"""What servers say they are, out of packets."""

from __future__ import annotations

import pytest

from netpersona.adapters.sensors.packets.banners import banner_in
from netpersona.adapters.sensors.pcap import PcapSensor
from packet_samples import ACK, PSH, SYN, A, B, pcap, session, tcp

REPLY = b"HTTP/1.1 200 OK\r\nServer: Apache/2.4.49 (Unix)\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("segment", "banner"),
    [
        (REPLY, "Apache/2.4.49 (Unix)"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nServer: x", None),
        (b"SSH-2.0-OpenSSH_9.6p1 Debian-3\r\n", "SSH-2.0-OpenSSH_9.6p1 Debian-3"),
        (b"HTTP/1.1 200 OK\nserver:\tnginx\x07\x1b[2J\n\n", "nginx[2J"),
        (b"HTTP/1.1 200 OK\r\nServer: \r\n\r\n", None),
        (b"", None),
    ],
)
def test_a_banner_is_short_and_printable(segment: bytes, banner: str | None) -> None:
    assert banner_in(segment) == banner


def test_a_server_tells_once_what_it_says_in_every_flow(tmp_path) -> None:
    frames = []
    for sport in (40_000, 40_001, 40_002):
        frames += [*session(sport=sport), tcp(A, sport, B, 80, PSH | ACK, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")]
        text = REPLY if sport < 40_002 else REPLY.replace(b"2.4.49", b"2.4.58")
        frames.append(tcp(B, 80, A, sport, PSH | ACK, text))
    frames += [tcp(A, 50_000, B, 22, SYN), tcp(B, 22, A, 50_000, SYN | ACK)]
    frames.append(tcp(A, 50_000, B, 22, PSH | ACK, b"SSH-2.0-libssh_0.9\r\n"))
    frames.append(tcp(B, 22, A, 50_000, PSH | ACK, b"SSH-2.0-OpenSSH_9.6p1\r\n"))
    path = tmp_path / "a.pcap"
    path.write_bytes(pcap(frames))
    rows = [row for part in PcapSensor(path).batches() for row in part.banners.iter_rows()]
    assert sorted((address, port, text) for _, _, address, port, text in rows) == [
        (B, 22, "SSH-2.0-OpenSSH_9.6p1"),
        (B, 80, "Apache/2.4.49 (Unix)"),
        (B, 80, "Apache/2.4.58 (Unix)"),
    ]
