"""Origins, as browsers name whose page asks: ``scheme://host``, and ``:port`` where it is not the scheme's own."""

import re
from typing import Final

FORM: Final = "scheme://host or scheme://host:port, in small letters and with nothing after it"
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")


def is_origin(text: str) -> bool:
    """Whether a browser could name an origin like this."""
    return _ORIGIN.fullmatch(text) is not None
