"""How a finding's sentence says spans, sizes and outside text."""

from __future__ import annotations

from netpersona.flow.window import DAY, HOUR, MINUTE, SECOND

_SHOWN = 80  # characters of outside text in a sentence
_END = 37  # of them from its end: of a name, whose it is


def shown(text: str) -> str:
    """Outside text made fit to show: printable ASCII, anything else as `?`; cut to 80 characters in its middle."""
    if len(text) > _SHOWN:
        text = f"{text[: _SHOWN - _END - 3]}...{text[-_END:]}"
    return "".join(ch if " " <= ch <= "~" else "?" for ch in text)


def span(length: float) -> str:
    """A length of time (µs) in words: 0.5 s, 12 s, 5 min, 3.2 h, 2.0 days."""
    if length < 10 * SECOND:
        return f"{length / SECOND:.1f} s"
    if length < 2 * MINUTE:
        return f"{length / SECOND:.0f} s"
    if length < 2 * HOUR:
        return f"{length / MINUTE:.0f} min"
    return f"{length / HOUR:.1f} h" if length < 2 * DAY else f"{length / DAY:.1f} days"


def size(count: float) -> str:
    """A count of bytes in words, in powers of 1,000: 512 B, 1.2 kB, 3.4 MB, 5.6 GB."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB"):
        count /= 1000
        if count < 1000:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} GB"


def times(count: int) -> str:
    """How often, in words: once, twice, 3 times."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
