"""Since when the VM knows a peer, where a flow is learned by parts while it lasts.

Live, a flow that began in a window before was learned there with its first part, and would be familiar by itself.
"""

from __future__ import annotations

from netpersona.flow.window import WINDOW
from netpersona.observation.model import Conversation
from netpersona.persona.profile import kind_of
from netpersona.risk.detectors.scene import Scene


def met(scene: Scene, c: Conversation) -> int | None:
    """When (µs) the VM met the peer, in the window in which the longest flow began or later; None: before that.

    Of several flows of one service in a window it is not told which ended last; then a peer that was met in the window
    before counts as unknown too.
    """
    began = c.last - c.longest
    if began >= scene.observation.window.start:
        return None if scene.familiar(c) else c.first
    alone = not c.flows and c.answered <= 1  # else another flow may have ended last, up to a window later
    usage = scene.persona.profile.kinds.get(kind_of(c))
    if usage is None:
        return began if alone else c.first
    earliest = began if alone else began - WINDOW
    return usage.first if usage.first >= earliest - earliest % WINDOW else None


def knew(scene: Scene, c: Conversation) -> bool:
    """Whether the VM knew this kind of conversation before its longest flow began."""
    return met(scene, c) is None
