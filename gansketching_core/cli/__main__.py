"""`python -m gansketching_core.cli`: the same as the command `gansketching`."""

from __future__ import annotations

import sys

from .main import main

sys.exit(main())
