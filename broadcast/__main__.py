"""``python -m broadcast``: run one process of the broadcast service."""

import os
import sys

from broadcast import config, logs


def main() -> int:
    """Run until told to stop; returns the exit code, 2 when the environment cannot be used."""
    try:
        settings = config.load(os.environ)
    except config.ConfigurationError as problem:
        sys.stderr.write(f"broadcast: {problem}\n")
        return 2
    logs.configure(settings.log_level)
    # Imported here: it installs the reactor, which is of no use to anyone who only wants an error message.
    from broadcast.server import BroadcastServer
    from broadcast.service import Service

    return BroadcastServer(settings, Service(settings)).run()


if __name__ == "__main__":
    sys.exit(main())
