"""`datetime.datetime` and `datetime.date` whose clock can be frozen: C types take no patch, so subclasses stand in for them.

Whatever they make is of the real types, and the real types' objects are instances of them, as code that checks expects.
"""

from __future__ import annotations

import copyreg
import datetime
from typing import Any, Callable, Optional


def install(now_s: Callable[[], float], for_user: Callable[[str], bool]) -> None:
    """now_s: seconds since the epoch; for_user(what): whether the user's own code asks, and is to get them."""
    real, real_date = datetime.datetime, datetime.date

    class Standing(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, real if issubclass(cls, real) else real_date)

    class Datetime(datetime.datetime, metaclass=Standing):
        def __new__(cls, *args: Any, **fields: Any) -> Any:
            return real(*args, **fields)

        @classmethod
        def now(cls, tz: Optional[datetime.tzinfo] = None) -> Any:
            return real.fromtimestamp(now_s(), tz) if for_user("datetime.now") else real.now(tz)

        @classmethod
        def utcnow(cls) -> Any:
            utc = datetime.timezone.utc
            found = real.fromtimestamp(now_s(), utc) if for_user("datetime.utcnow") else real.now(utc)
            return found.replace(tzinfo=None)

        @classmethod
        def today(cls) -> Any:
            return real.fromtimestamp(now_s()) if for_user("datetime.today") else real.today()

    class Date(datetime.date, metaclass=Standing):
        def __new__(cls, *args: Any, **fields: Any) -> Any:
            return real_date(*args, **fields)

        @classmethod
        def today(cls) -> Any:
            return real_date.fromtimestamp(now_s()) if for_user("date.today") else real_date.today()

    for kind, name in ((Datetime, "datetime"), (Date, "date")):
        kind.__name__ = kind.__qualname__ = name
        kind.__module__ = "datetime"
        setattr(datetime, name, kind)
    # pickle finds types by name: under theirs it finds those that stand in for them now. typeshed knows functions of any object alone.
    copyreg.pickle(real, lambda value: (Datetime, value.__reduce_ex__(2)[1]))  # type: ignore[arg-type, return-value]
    copyreg.pickle(real_date, lambda value: (Date, value.__reduce_ex__(2)[1]))  # type: ignore[arg-type, return-value]
