"""`python -m mnist12k` is `mnist12k`."""

import sys

from mnist12k.cli import main

sys.exit(main())
