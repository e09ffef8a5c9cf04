"""What is wrong with a file that an operator wrote: every problem with its place, all of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from netpersona.errors import PolicyError
from netpersona.policy.model import Place

_SHOWN = 50  # problems in one message; `RefusedError.problems` has them all


class Problem(NamedTuple):
    """One thing that is wrong, where, and what was perhaps meant."""

    place: Place
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" + (f"; {self.hint}" if self.hint else "")


class RefusedError(PolicyError):
    """A PolicyError that still has its problems one by one; its text has one line for each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.place, p.message)))
        lines = [str(problem) for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            lines.append(f"... and {len(self.problems) - _SHOWN} more")
        super().__init__("\n".join(lines))


def refused(place: Place, message: str, hint: str | None = None) -> RefusedError:
    """A RefusedError of one problem."""
    return RefusedError([Problem(place, message, hint)])


def meant(word: str, known: Sequence[str], synonyms: dict[str, str] | None = None) -> str:
    """What the word perhaps stands for: the closest known one, or else all that are known."""
    same = (synonyms or {}).get(word.lower())
    close = [same] if same else get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"known are: {', '.join(known)}"


def shown(text: str) -> str:
    """Outside text for a message: quoted, printable, short."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")
