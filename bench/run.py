"""Every benchmark, one after the other; each prints ratios measured in one run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ORDER = (
    *("startup", "replay", "feeds", "stix", "intel", "hunt", "resolve"),
    *("nftables", "churn", "forwarding", "packets", "tap", "live", "answers", "soak"),
)


def main() -> int:
    failed = 0
    for name in ORDER:
        print(f"== {name}", flush=True)
        failed += subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=False).returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
