"""The fuzzer stands beside the package, in `scripts/`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
