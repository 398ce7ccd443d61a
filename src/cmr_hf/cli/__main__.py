"""`python -m cmr_hf.cli`: the same as `cmr-hf`."""

import sys

from . import main

sys.exit(main())
