from netpersona.flow.window import MINUTE, SECOND, WINDOW
from unit.risk.detectors.windows import FAR, judged, kinds, probe, talk, window


def vain(peer, port, *, at=0, transport="tcp", flows=1):
    return talk(peer, port, at=at, transport=transport, flows=flows, every=SECOND // 10, answered=0, back=0)


def host(i):
    return f"198.41.{i // 250}.{i % 250 + 1}"


def test_many_unanswered_ports_of_a_host_are_a_vertical_scan_with_a_strong_weight():
    [findings] = judged([window([vain(FAR, port) for port in range(1, 60)])])
    [finding] = findings
    assert (finding.kind, finding.peer, finding.alert) == ("scan_vertical", FAR, True)
    assert 2.4 <= finding.weight <= 2.7
    assert finding.half_life == 6 * 60 * MINUTE


def test_a_scan_that_straddles_windows_is_one_episode():
    windows = [window([vain(FAR, 8 * i + j, at=i * WINDOW) for j in range(8)], number=i) for i in range(3)]
    first, second, third = judged(windows)
    assert first == []
    assert [f.id for f in second] == [f.id for f in third]
    assert second[0].judged_at == third[0].judged_at == windows[1].window.end
    assert second[0].first_seen == windows[0].conversations[0].first


def test_many_unanswered_hosts_at_a_port_are_a_horizontal_scan():
    [findings] = judged([window([vain(host(i), 23) for i in range(40)])])
    [finding] = findings
    assert (finding.kind, finding.peer, finding.port, finding.peers_total) == ("scan_horizontal", None, 23, 40)
    assert finding.peers == tuple(sorted(host(i) for i in range(40)))


def test_a_browser_that_meets_a_few_dead_servers_is_no_scanner():
    alive = [talk(host(i)) for i in range(60)]
    dead = [vain(host(100 + i), 443) for i in range(12)]
    assert judged([window(alive + dead)]) == [[]]


def test_traceroute_and_blocked_quic_are_no_scan():
    traced = [vain(FAR, 33434 + i, transport="udp") for i in range(60)]
    quic = [vain(host(i), 443, transport="udp") for i in range(60)]
    assert judged([window(traced), window(quic, number=1)]) == [[], []]


def test_what_was_only_said_inside_flows_does_not_count_as_unanswered():
    said = [talk(host(i), 443, answered=0, out=0, packets=(0, 0)) for i in range(60)]
    assert judged([window(said)]) == [[]]


def test_a_sweep_of_echoes_over_a_network_is_found_and_a_pinger_of_known_servers_is_context():
    sweep = [talk(f"10.77.3.{i}", 0, transport="icmp", answered=i % 2) for i in range(1, 30)]
    latency = [talk(host(i * 250), 0, transport="icmp") for i in range(20)]
    first, second = judged([window(sweep), window(latency, number=100)])
    assert kinds(first) == ["scan_horizontal"]
    assert kinds(second) == []


def test_icmp_refusals_to_those_who_probe_us_are_no_sweep():
    scanners = [host(i) for i in range(30)]
    probes = [probe(s, 53413) for s in scanners]
    refusals = [talk(s, 0, transport="icmp", answered=0) for s in scanners]
    assert judged([window(probes + refusals)]) == [[]]


def test_hammering_one_closed_port_is_found():
    [findings] = judged([window([talk(FAR, 902, flows=1500, every=SECOND // 50, answered=0, refused=1500, back=0)])])
    assert kinds(findings) == ["scan_horizontal"]


def test_a_scan_of_a_whole_network_is_one_finding():
    network = [f"10.77.4.{i}" for i in range(1, 60)]
    [findings] = judged([window([vain(peer, port) for peer in network for port in range(20, 35)])])
    vertical = [f for f in findings if f.kind == "scan_vertical"]
    assert [(f.peer, f.peers) for f in vertical] == [(None, tuple(sorted(network)))]
    assert "59 hosts" in vertical[0].why
