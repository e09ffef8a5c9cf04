"""Channels, tunnels, mining, spreading, long connections."""

import random

from msgspec.structs import replace

from netpersona.flow.window import HOUR, MINUTE, SECOND, WINDOW
from netpersona.persona.model import Kind, Usage
from netpersona.risk.detectors import Context
from unit.risk.detectors.test_volumes import learned
from unit.risk.detectors.windows import FAR, START, asked, judged, kinds, talk, window

INSIDE = "10.77.0.20"


def test_a_session_at_an_odd_port_is_a_channel():
    [findings] = judged([window([talk(port=4782, lasts=3 * MINUTE, out=11_000, back=6_000)])])
    [finding] = findings
    assert (finding.kind, finding.alert, finding.peer) == ("c2_channel", True, FAR)


def test_sites_at_the_webs_second_ports_are_no_file_sharing_that_would_hide_a_channel():
    sites = [talk(f"198.51.100.{i}", 8000 + 443 * (i % 2)) for i in range(12)]
    [findings] = judged([window([*sites, talk(port=4782, lasts=3 * MINUTE, out=11_000, back=6_000)])])
    assert kinds(findings) == ["c2_channel"]
    peers = [talk(f"198.51.100.{i}", 50_000 + i) for i in range(12)]
    assert judged([window([*peers, talk(port=4782, lasts=3 * MINUTE, out=11_000, back=6_000)])]) == [[]]


def test_usual_ports_short_flows_known_peers_and_big_data_are_no_channel():
    known = learned(Kind("outbound", "tcp", 4782, FAR))
    assert judged([window([talk(port=443, lasts=3 * MINUTE)])]) == [[]]
    assert judged([window([talk(port=4782, lasts=3 * SECOND)])]) == [[]]
    assert judged([window([talk(port=4782, lasts=3 * MINUTE, back=40_000_000)])]) == [[]]
    assert judged([window([talk(port=4782, lasts=3 * MINUTE)])], known) == [[]]


def test_a_sandbox_shows_a_session_for_half_a_minute():
    assert kinds(judged([window([talk(port=4771, lasts=31 * SECOND, out=11_000, back=6_000)])])[0]) == ["c2_channel"]
    assert judged([window([talk(port=4771, lasts=29 * SECOND, out=11_000, back=6_000)])]) == [[]]


def test_the_port_of_a_tool_tells_inside_too_and_sooner():
    shell = {"port": 4444, "out": 2000, "back": 900}
    for peer in (FAR, INSIDE, "192.168.9.9"):
        assert kinds(judged([window([talk(peer, lasts=15 * SECOND, **shell)])])[0]) == ["c2_channel"]
    assert judged([window([talk(INSIDE, lasts=5 * SECOND, **shell)])]) == [[]]
    assert judged([window([talk(INSIDE, lasts=15 * SECOND, application="http", **shell)])]) == [[]]
    assert judged(
        [window([talk(INSIDE, lasts=15 * SECOND, **shell)])], learned(Kind("outbound", "tcp", 4444, INSIDE))
    ) == [[]]


def begun_before(port, **more):
    """Two windows of one flow as a tap tells it: 2 s at the end of the first, and what it did in the second."""
    late = talk(port=port, at=WINDOW - 2 * SECOND, lasts=2 * SECOND, out=700, back=700)
    rest = replace(
        talk(port=port, at=WINDOW, lasts=4 * MINUTE, **more), flows=0, starts=(), longest=4 * MINUTE + 2 * SECOND
    )
    return [window([late]), window([rest], number=1)]


def test_a_session_is_not_familiar_by_its_own_beginning():
    for port, more, kind in (
        (4771, {"out": 9000, "back": 6000}, "c2_channel"),
        (14444, {"out": 9000, "back": 6000}, "crypto_mining"),
        (443, {"out": 90_000_000, "back": 6000}, "exfiltration"),
    ):
        known = learned()
        met = {
            Kind("outbound", "tcp", port, FAR): Usage(1.0, 700.0, 700.0, START + WINDOW - 2 * SECOND, START + WINDOW)
        }
        learning = replace(known, profile=replace(known.profile, kinds=met))
        assert kind in kinds(judged(begun_before(port, **more), learning)[-1])
        long_known = learned(Kind("outbound", "tcp", port, FAR), band=100_000_000)
        old = {kind: replace_first(usage, START - HOUR) for kind, usage in long_known.profile.kinds.items()}
        long_known = replace(long_known, profile=replace(long_known.profile, kinds=old))
        assert kind not in kinds(judged(begun_before(port, **more), long_known)[-1])


def replace_first(usage, first):
    return replace(usage, first=first)


def test_file_sharing_with_many_is_no_channel():
    peers = [talk(f"93.184.1.{i}", 20_000 + i, lasts=5 * MINUTE) for i in range(1, 12)]
    assert judged([window(peers)]) == [[]]


def test_generated_names_that_all_lead_to_one_host_are_a_channel():
    chance = random.Random(3)
    names = ["".join(chance.choices("bcdfghjklmnpqrstvwxyz", k=10)) + ".com" for _ in range(15)]
    uses = [asked(name, peer=FAR, kind="http") for name in names]
    [findings] = judged([window([talk(port=80)], names=uses)])
    assert kinds(findings) == ["c2_channel"]
    pages = [asked(f"{word}.com", peer=FAR, kind="http") for word in ("garden", "market", "silver", "river")]
    assert judged([window([talk(port=80)], names=pages)]) == [[]]


def test_data_in_names_is_a_tunnel():
    chance = random.Random(4)
    names = [chance.randbytes(30).hex() + ".t.evil-tunnel.com" for _ in range(60)]
    [findings] = judged([window(names=[asked(n) for n in names])])
    [finding] = findings
    assert (finding.kind, finding.alert, finding.evidence["domain"]) == ("dns_tunnel", True, "evil-tunnel.com")


def test_a_tunnel_without_any_domain_is_found():
    chance = random.Random(4)
    names = [f"dnscat.{chance.randbytes(30).hex()}.{chance.randbytes(20).hex()}" for _ in range(60)]
    assert kinds(judged([window(names=[asked(n) for n in names])])[0]) == ["dns_tunnel"]


def questions(bytes_each, count=150, **more):
    """One flow of so many questions, of which the sensor tells no names."""
    how = {"port": 53, "transport": "udp", "lasts": MINUTE, "packets": (count, count)}
    return talk("10.77.0.1", out=bytes_each * count, back=270 * count, **{**how, **more})


def test_where_no_names_are_told_many_large_questions_are_a_tunnel():
    [finding] = judged([window([questions(216)])])[0]
    assert (finding.kind, finding.alert, finding.peer) == ("dns_tunnel", True, "10.77.0.1")
    for ordinary in (questions(95), questions(216, 40), questions(216, answered=0), questions(216, port=123)):
        assert judged([window([ordinary])]) == [[]]


def test_where_names_are_told_they_decide():
    assert judged([window([questions(216)], names=[asked("www.content.com")])]) == [[]]


def test_long_names_of_content_networks_are_no_tunnel():
    names = [f"r{i}---sn-4g5ednse.googlevideo.com" for i in range(80)]
    assert judged([window(names=[asked(n) for n in names])]) == [[]]


def test_full_echoes_are_a_tunnel_and_ordinary_pings_are_not():
    full = talk("10.77.9.9", 0, transport="icmp", out=80_000, back=88_000, packets=(360, 370))
    ping = talk("10.77.9.9", 0, transport="icmp", out=98 * 300, back=98 * 300, packets=(300, 300))
    large = talk("10.77.9.9", 0, transport="icmp", out=1500 * 300, back=1500 * 300, packets=(300, 300))
    assert kinds(judged([window([full])])[0]) == ["icmp_tunnel"]
    assert judged([window([ping])]) == [[]]
    assert kinds(judged([window([large])])[0]) == []


def test_coin_peers_and_pool_names_are_mining():
    coins = [talk(f"159.69.36.{i}", 18080) for i in range(1, 5)]
    assert kinds(judged([window(coins)])[0]) == ["crypto_mining"]
    assert kinds(judged([window(names=[asked("pool.supportxmr.com")])])[0]) == ["crypto_mining"]
    assert judged([window(names=[asked("carpool.example.com"), asked("hotelpool.de")])]) == [[]]


def test_a_session_at_a_pools_port_is_mining_and_at_a_games_is_context():
    held = {"lasts": MINUTE, "out": 9000, "back": 9000}
    assert "crypto_mining" in kinds(judged([window([talk(port=3333, **held)])])[0])
    game = judged([window([talk(port=7777, **held)])])[0]
    assert "crypto_mining" in kinds(game, alerts=False)
    assert "crypto_mining" not in kinds(game)


def test_nodes_of_other_coins_are_found():
    ether = [talk(f"159.69.36.{i}", 30303, transport="udp") for i in range(1, 5)]
    assert kinds(judged([window(ether)])[0]) == ["crypto_mining"]


def test_remote_shell_and_file_sharing_to_one_machine_inside_is_spreading():
    victim = "10.77.0.20"
    spread = [talk(victim, 5985, flows=4), talk(victim, 445, flows=10, out=600_000, back=8000)]
    assert kinds(judged([window(spread)])[0]) == ["lateral_movement"]


def test_a_first_reach_inside_counts_once_the_vm_is_known():
    reach = window([talk("10.77.0.20", 3389)])
    assert kinds(judged([reach], learned(Kind("outbound", "tcp", 443, FAR)))[0]) == ["lateral_movement"]
    assert judged([reach]) == [[]]


def test_domain_controllers_and_habits_are_no_spreading():
    controller = [talk("10.77.0.5", port) for port in (88, 135, 389, 445)]
    assert kinds(judged([window(controller)], learned())[0]) == []
    habit = learned(Kind("outbound", "tcp", 22, "10.77.0.20"))
    assert judged([window([talk("10.77.0.20", 22)])], habit) == [[]]


def test_a_flow_of_hours_to_a_stranger_is_context():
    [finding] = judged([window([talk(port=443, lasts=6 * HOUR)])])[0]
    assert (finding.kind, finding.alert) == ("long_connection", False)
    assert "6.0 h" in finding.why


def test_before_learning_ends_a_long_odd_flow_stays_context():
    odd = window([talk(port=4782, transport="udp", lasts=10 * HOUR)])
    assert kinds(judged([odd])[0]) == ["long_connection"]
    assert kinds(judged([odd], context=Context(learn_until=odd.window.end))[0]) == []


def test_a_server_that_loads_from_a_directory_outside_was_exploited():
    assert kinds(judged([window([talk(port=1389, out=400, back=900)])])[0]) == ["exploit_attempt"]
    assert kinds(judged([window([talk("10.77.0.5", 389)])])[0]) == []
    assert kinds(judged([window([talk(port=389)])], learned(Kind("outbound", "tcp", 389, FAR)))[0]) == []


def test_a_directory_inside_at_no_directorys_port_is_a_callback():
    assert kinds(judged([window([talk(INSIDE, 1389, out=400, back=900)])])[0]) == ["exploit_attempt"]
    assert kinds(judged([window([talk(INSIDE, 9999, out=400, back=900, application="ldap_tcp")])])[0]) == [
        "exploit_attempt"
    ]
    assert judged([window([talk(INSIDE, 636, application="ldap_tcp")])]) == [[]]
    assert judged([window([talk(INSIDE, 1389)])], learned(Kind("outbound", "tcp", 1389, INSIDE))) == [[]]


def test_guessing_at_netlogon_asks_the_mapper_anew_each_time():
    for direction in ("outbound", "inbound"):
        guesses = talk(INSIDE, 135, direction=direction, flows=120, every=SECOND // 10)
        assert "exploit_attempt" in kinds(judged([window([guesses])])[0])
    inventory = talk(INSIDE, 135, flows=20, every=SECOND // 10)
    monitor = talk(INSIDE, 135, flows=100, every=3 * SECOND)
    for work in (inventory, monitor):
        assert "exploit_attempt" not in kinds(judged([window([work])])[0])


def test_what_ftp_carries_counts_though_it_is_a_flow_of_its_own():
    control = talk(port=21, out=900, back=1400, application="ftp")
    upload = talk(port=50_123, out=9000, back=400)
    assert "exfiltration" in kinds(judged([window([control, upload])])[0])
    download = talk(port=50_123, out=400, back=90_000)
    assert "exfiltration" not in kinds(judged([window([control, download])])[0])


def test_the_certificates_of_a_mail_server_are_no_answer():
    assert "exfiltration" in kinds(judged([window([talk(port=587, out=3000, back=5500)])])[0])
    assert judged([window([talk(port=25, out=3000, back=5500)])]) == [[]]


def test_who_sends_mail_and_never_reads_any_is_suspect():
    sent = talk(port=587, out=60_000, back=3000, application="smtp")
    reads = talk("93.184.216.35", 993, out=1000, back=90_000)
    [finding] = judged([window([sent])])[0]
    assert (finding.kind, finding.alert, finding.port) == ("exfiltration", True, 587)
    assert judged([window([sent, reads])]) == [[]]


def test_a_mail_server_sends_mail():
    servers = [talk(f"93.184.7.{i}", 25, out=9000, back=1000) for i in range(1, 6)]
    known = learned(Kind("inbound", "tcp", 25, ""))
    assert judged([window(servers)]) == [[]]
    assert "exfiltration" not in kinds(judged([window(servers[:1])], known)[0])


def test_a_worm_that_reaches_everything_inside_is_judged_in_time():
    reached = [talk(f"10.{i // 250}.{i % 250}.9", port) for i in range(4000) for port in (445, 5985)]
    [finding] = [f for f in judged([window(reached)], learned())[0] if f.kind == "lateral_movement"]
    assert (finding.alert, finding.peers_total) == (True, 4000)
    assert len(finding.peers) == 1000
