"""`python -m thor`: the command line."""

import sys

from thor.cli import main

sys.exit(main())
