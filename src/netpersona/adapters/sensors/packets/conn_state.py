"""TCP flags into Zeek's conn_state words (scripts/base/protocols/conn/main.zeek, function conn_state).

Only what was seen of each side is needed, not its order, so the state of a flow is that of its summed flags:

    S0 SYN, no answer    S1 established    SF both sides ended it    REJ SYN answered by RST
    S2, S3 established, only the originator, the responder ended it    RSTO, RSTR one of them reset it
    RSTOS0, SH SYN then RST, FIN without a SYN-ACK    RSTRH, SHR the same of the responder, without a SYN
    OTH no SYN seen

UDP and ICMP have S0 (no answer) and SF (answered); all else is OTH.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from netpersona.adapters.sensors.packets.dissect import FIN, ICMP, ICMP6, RST, SYN, TCP, UDP
from netpersona.adapters.sensors.packets.packets import Ints


def conn_states(protocol: Ints, flags_orig: Ints, flags_resp: Ints, packets_resp: Ints, payload: Ints) -> pl.Series:
    """Each flow's state; `payload` is that of both directions."""
    answered = packets_resp > 0
    paired = np.isin(protocol, (UDP, ICMP, ICMP6))
    tcp = _tcp_states(flags_orig, flags_resp, answered, payload)
    other = np.select([paired & answered, paired], ["SF", "S0"], "OTH")
    return pl.Series(np.where(protocol == TCP, tcp, other), dtype=pl.String)


def _tcp_states(
    orig: Ints, resp: Ints, answered: np.ndarray[tuple[int], np.dtype[np.bool_]], payload: Ints
) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    syn, synack = orig & SYN != 0, resp & SYN != 0  # a responder's SYN is taken for its SYN-ACK
    orig_end, resp_end = orig & FIN != 0, resp & FIN != 0
    orig_reset, resp_reset = orig & RST != 0, resp & RST != 0
    refused = syn & ~synack & ((orig & (FIN | RST) == 0) | (payload == 0))
    states: list[tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], str]] = [
        (orig_end & resp_end, "SF"),
        (resp_reset & refused, "REJ"),
        (resp_reset & ~syn, "RSTRH"),
        (resp_reset, "RSTR"),
        (orig_reset & ~synack, "RSTOS0"),
        (orig_reset, "RSTO"),
        (orig_end & ~synack, "SH"),
        (orig_end, "S2"),
        (resp_end & ~syn, "SHR"),
        (resp_end, "S3"),
        (syn & ~answered, "S0"),
        (syn & synack, "S1"),
    ]
    return np.select([chosen for chosen, _ in states], [word for _, word in states], "OTH")
