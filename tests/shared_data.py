"""Where the project's shared reference data lies, for the tests that need it; users do not have it."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared"
CAPTURES = SHARED / "data" / "captures"
needs_shared = pytest.mark.skipif(not CAPTURES.is_dir(), reason="the shared reference data is not on this machine")
