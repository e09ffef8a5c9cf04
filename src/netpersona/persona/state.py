"""The keyed state of one VM: all that judging its next window needs."""

from __future__ import annotations

import msgspec

from netpersona.persona.memory import Memory
from netpersona.persona.model import Persona


class VmState(msgspec.Struct, frozen=True):
    """The persona, and the detectors' working memory beside it."""

    persona: Persona
    memory: Memory
