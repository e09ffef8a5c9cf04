"""The keyed state of one VM: all that judging its next window needs."""

from __future__ import annotations

from dataclasses import dataclass

from netpersona.persona.memory import Memory
from netpersona.persona.model import Persona


@dataclass(frozen=True, slots=True)
class VmState:
    """The persona, and the detectors' working memory beside it."""

    persona: Persona
    memory: Memory
