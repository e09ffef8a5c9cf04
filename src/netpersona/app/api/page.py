"""Long lists, a page at a time: a page ends with the place where the next one begins, so nothing is told twice."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple, TypeVar

from fastapi import Depends, Query

from netpersona.persona.resource import API_VERSION

_T = TypeVar("_T")

DEFAULT, MOST = 100, 1000


class Page(NamedTuple):
    """Which part of a list is asked for."""

    limit: int
    after: str | None


def _page(
    limit: Annotated[int, Query(ge=1, le=MOST, description="At most so many items.")] = DEFAULT,
    after: Annotated[
        str | None, Query(alias="continue", max_length=256, description="`metadata.continue` of the page before.")
    ] = None,
) -> Page:
    return Page(limit, after)


Paged = Annotated[Page, Depends(_page)]


def listed(kind: str, items: Sequence[Any]) -> dict[str, Any]:
    """A short list, whole."""
    return {"apiVersion": API_VERSION, "kind": f"{kind}List", "metadata": _rest(None, 0), "items": list(items)}


def paged(
    kind: str, items: Sequence[_T], key: Callable[[_T], str], shown: Callable[[_T], Any], page: Page
) -> dict[str, Any]:
    """The asked part of a list that is in the order of its keys; only that part is worked out."""
    begin = 0 if page.after is None else bisect_right(items, page.after, key=key)
    end = begin + page.limit
    rest = len(items) - end
    return {
        "apiVersion": API_VERSION,
        "kind": f"{kind}List",
        "metadata": _rest(key(items[end - 1]) if rest > 0 else None, max(0, rest)),
        "items": [shown(item) for item in items[begin:end]],
    }


def _rest(after: str | None, remaining: int) -> dict[str, Any]:
    return {"continue": after, "remaining": remaining}
