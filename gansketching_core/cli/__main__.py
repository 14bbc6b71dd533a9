"""`python -m gansketching_core.cli`: the same as the command `gansketching`."""

import sys

from .main import main

sys.exit(main())
