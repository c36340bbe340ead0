"""`datetime.datetime` and `datetime.date` whose clock can be frozen: C types take no patch, so subclasses stand in for them.

Only the user's own code gets them from the module: pandas and others are compiled against the real types, and crash on any other. The
subclasses make objects of the real types, and objects of the real types are instances of them, as code with isinstance checks expects.
"""

from __future__ import annotations

import copyreg
import datetime
import sys
import types
from types import FrameType
from typing import Any, Callable, Dict, Optional


def install(now_s: Callable[[], float], for_user: Callable[[str], bool], of_user: Callable[[FrameType], bool]) -> None:
    """now_s: seconds since the epoch; for_user(what): whether the user's own code calls; of_user(frame): whether a frame belongs to it."""
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

    standing: Dict[Any, Any] = {real: Datetime, real_date: Date}

    def seen_from(kind: Any, frame: FrameType) -> Any:
        return standing[kind] if of_user(frame) else kind

    class Module(types.ModuleType):
        datetime = property(lambda _: seen_from(real, sys._getframe(1)))
        date = property(lambda _: seen_from(real_date, sys._getframe(1)))

    for kind, stands_in in standing.items():
        stands_in.__name__ = stands_in.__qualname__ = kind.__name__
        stands_in.__module__ = "datetime"
        # pickle looks a type up by its name, from the frame that pickles: there it must find the type that it writes.
        copyreg.pickle(kind, lambda value: (seen_from(type(value), sys._getframe(1)), value.__reduce_ex__(2)[1]))
    datetime.__class__ = Module
