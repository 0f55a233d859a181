"""``python -m DenseLandmarksLib`` is ``dense-landmarks``."""

import sys

from DenseLandmarksLib.cli import main

sys.exit(main())
