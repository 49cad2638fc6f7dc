"""``python -m coursehub.stack``."""

import sys

from coursehub.stack import cli

if __name__ == "__main__":
    sys.exit(cli.main())
