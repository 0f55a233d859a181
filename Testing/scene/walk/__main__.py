"""``python -m Testing.scene.walk``."""

import sys

from Testing.scene.walk.many_walks import main

sys.exit(main())
