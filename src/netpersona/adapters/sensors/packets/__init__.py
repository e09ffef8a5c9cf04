"""Packets into flows: the parts that the capture reader and a live tap share.

    capture_file   pcap and pcapng framing             file -> Packets
    packets        Packets: bytes, offsets, lengths, times, link types
    dissect        Ethernet ... IP ... TCP/UDP/ICMP    Packets -> Headers, in columns
    assemble       headers -> open flows -> flows      carried from batch to batch in open_flows
    conn_state     TCP flags -> Zeek's conn_state words
    fingerprint    the originator's SYN in p0f v3 words
    conversation   payloads -> transactions; dns, tls and http read one payload each
    rows           both, from numbers into the words of the schemas
    meter          the metering process (RFC 7011): one batch of packets in, one FlowBatch out
    window_meter   the same for what goes on: flows window by window, told while they last

Only `conversation` and the three payload readers run Python per packet, and only on the packets that a columnar
test has picked.  All else is numpy over whole batches.
"""
