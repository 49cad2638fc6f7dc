"""Films whose headers claim what cannot be, in a format where nothing else says how large they are."""

import pytest

from apps.uploads.errors import NotAllowed
from apps.uploads.inspection.inspector import inspect
from tests.support import hostile

pytestmark = pytest.mark.pure


def _look(data: bytes) -> tuple[int | None, int | None]:
    facts = inspect(lambda offset, length: data[offset : offset + length], len(data))
    return facts.width, facts.height


def test_a_film_is_refused_for_its_size_and_nothing_else() -> None:
    assert _look(hostile.film_claiming(320, 180)) == (320, 180)
    with pytest.raises(NotAllowed, match="pixels"):
        _look(hostile.film_claiming(hostile.HUGE, hostile.HUGE))


@pytest.mark.parametrize(("width", "height"), [(hostile.HUGE, 180), (320, hostile.HUGE), (16_385, 16)])
def test_one_side_is_enough(width: int, height: int) -> None:
    with pytest.raises(NotAllowed, match="pixels"):
        _look(hostile.film_claiming(width, height))
