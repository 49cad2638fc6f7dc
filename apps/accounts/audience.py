"""
Who may hear which topic.

Each kind of topic has a rule, registered by the app that owns the kind: given a user and ids of that kind, it returns
those that the user may hear.
"""

from collections.abc import Callable, Collection
from uuid import UUID

from apps.accounts.models import User
from apps.core import sql
from broadcast.contracts import topics

Rule = Callable[[User, Collection[UUID]], set[UUID]]
NewestSeqs = Callable[[Collection[str]], dict[str, int]]


def _own(user: User, ids: Collection[UUID]) -> set[UUID]:
    """Their own, unless they are disabled, which waits for the end of this transaction."""
    found = sql.rows("SELECT id FROM accounts_user WHERE id = %s AND is_active FOR SHARE", [user.pk])
    return {id_ for (id_,) in found} & set(ids)


_rules: dict[str, Rule] = {topics.USER: _own}
_newest_seqs: list[NewestSeqs] = []


def register(kind: str, rule: Rule) -> None:
    """Say who may hear topics of ``kind``."""
    _rules[kind] = rule


def register_newest_seqs(newest_seqs: NewestSeqs) -> None:
    """Say where the newest seq of each topic is found."""
    _newest_seqs[:] = [newest_seqs]


def heard_by(user: User, wanted: Collection[str]) -> set[str]:
    """Return those of the topics that the user may hear. What is not a topic is heard by nobody."""
    by_kind: dict[str, set[UUID]] = {}
    for topic in wanted:
        kind, id_ = topics.parse(topic)
        by_kind.setdefault(kind, set()).add(UUID(id_))
    return {f"{kind}:{id_}" for kind, ids in by_kind.items() for id_ in _rules[kind](user, ids)}


def newest_seqs(wanted: Collection[str]) -> dict[str, int]:
    """Return each topic's newest seq; 0 for one in which nothing happened yet."""
    known = _newest_seqs[0](wanted)
    return {topic: known.get(topic, 0) for topic in wanted}
