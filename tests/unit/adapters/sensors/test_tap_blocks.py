"""Blocks of the ring into packets."""

from collections import Counter

from netpersona.adapters.sensors.packets.dissect import dissect
from netpersona.adapters.sensors.packets.meter import Meter
from packet_samples import SYN, T0, A, B, ethernet, ip, tcp, udp
from tap_samples import block, frame, parsed

ONE, TWO = udp(A, 1, B, 2, b"x"), tcp(A, 1, B, 2, SYN)


def test_frames_of_several_blocks_are_packets():
    blocks = [block(frame(ONE, T0), frame(TWO, T0 + 5, last=True)), block(frame(ONE, T0 + 9, length=1500, last=True))]
    packets = parsed(blocks, {7: 3})
    assert packets.time.tolist() == [T0, T0 + 5, T0 + 9]
    assert packets.captured.tolist() == [len(ONE), len(TWO), len(ONE)]
    assert packets.length.tolist() == [len(ONE), len(TWO), 1500]
    assert packets.tap.tolist() == [3, 3, 3]
    assert packets.vlan.tolist() == [-1, -1, -1]
    assert bytes(packets.data[packets.offset[1] :][: len(TWO)]) == TWO


def test_each_packet_has_the_number_of_its_interface_and_others_are_counted():
    frames = [frame(ONE, T0 + place, index=index) for place, index in enumerate([9, 4, 5, 9, 400])]
    skipped = Counter()
    packets = parsed([block(*frames)], {4: 0, 9: 1, 77: 2}, skipped)
    assert packets.tap.tolist() == [1, 0, 1]
    assert packets.time.tolist() == [T0, T0 + 1, T0 + 3]
    assert skipped == {"packet of an interface that is watched no longer": 2}
    assert len(parsed([block(*frames)], {}, skipped)) == 0
    assert len(parsed([], {4: 0})) == 0


def test_a_vlan_tag_that_the_kernel_took_off_is_the_outer_one():
    tagged = ethernet(ip(A, B, 1, bytes(8)), b"\x81\0\0\x05")
    packets = parsed([block(frame(ONE, T0, vlan=12), frame(tagged, T0), frame(tagged, T0, vlan=0x2000 | 30))], {7: 0})
    assert dissect(packets, Counter()).vlan.tolist() == [12, 5, 30]


def test_interfaces_without_ethernet_are_read_by_their_type():
    plain = ip(A, B, 17, b"\0\1\0\2\0\x08\0\0")
    skipped = Counter()
    packets = parsed([block(frame(plain, T0, kind=65534), frame(ONE, T0, kind=772), frame(ONE, T0, kind=801))], {7: 0})
    assert dissect(packets, skipped).src_port.tolist() == [1, 1]
    assert sum(skipped.values()) == 1


def test_the_same_ends_on_two_interfaces_are_two_flows():
    meter = Meter("tap")
    meter.add(parsed([block(frame(ONE, T0, index=4), frame(ONE, T0 + 1, index=5))], {4: 0, 5: 1}), Counter())
    flows = meter.finish().flows
    assert flows["packets_orig"].to_list() == [1, 1]
    assert flows["uid"].n_unique() == 2
