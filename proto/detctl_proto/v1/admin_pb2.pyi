from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TokenRequest(_message.Message):
    __slots__ = ("role", "name", "valid_s")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALID_S_FIELD_NUMBER: _ClassVar[int]
    role: str
    name: str
    valid_s: float
    def __init__(self, role: _Optional[str] = ..., name: _Optional[str] = ..., valid_s: _Optional[float] = ...) -> None: ...

class RotateRequest(_message.Message):
    __slots__ = ("token_id", "grace_s", "valid_s")
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    GRACE_S_FIELD_NUMBER: _ClassVar[int]
    VALID_S_FIELD_NUMBER: _ClassVar[int]
    token_id: str
    grace_s: float
    valid_s: float
    def __init__(self, token_id: _Optional[str] = ..., grace_s: _Optional[float] = ..., valid_s: _Optional[float] = ...) -> None: ...

class TokenRef(_message.Message):
    __slots__ = ("token_id",)
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    token_id: str
    def __init__(self, token_id: _Optional[str] = ...) -> None: ...

class TokenQuery(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class TokenInfo(_message.Message):
    __slots__ = ("token_id", "role", "name", "created_by", "created_unix_s", "expires_unix_s", "revoked_unix_s")
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    CREATED_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    REVOKED_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    token_id: str
    role: str
    name: str
    created_by: str
    created_unix_s: float
    expires_unix_s: float
    revoked_unix_s: float
    def __init__(self, token_id: _Optional[str] = ..., role: _Optional[str] = ..., name: _Optional[str] = ..., created_by: _Optional[str] = ..., created_unix_s: _Optional[float] = ..., expires_unix_s: _Optional[float] = ..., revoked_unix_s: _Optional[float] = ...) -> None: ...

class NewToken(_message.Message):
    __slots__ = ("info", "token")
    INFO_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    info: TokenInfo
    token: str
    def __init__(self, info: _Optional[_Union[TokenInfo, _Mapping]] = ..., token: _Optional[str] = ...) -> None: ...

class TokenList(_message.Message):
    __slots__ = ("tokens",)
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    tokens: _containers.RepeatedCompositeFieldContainer[TokenInfo]
    def __init__(self, tokens: _Optional[_Iterable[_Union[TokenInfo, _Mapping]]] = ...) -> None: ...

class LogRequest(_message.Message):
    __slots__ = ("before", "limit", "audit_id", "machine")
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    before: int
    limit: int
    audit_id: str
    machine: str
    def __init__(self, before: _Optional[int] = ..., limit: _Optional[int] = ..., audit_id: _Optional[str] = ..., machine: _Optional[str] = ...) -> None: ...

class LogEntry(_message.Message):
    __slots__ = ("number", "at_unix_s", "who", "event", "audit_id", "machine", "text", "detail_json")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    AT_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    AUDIT_ID_FIELD_NUMBER: _ClassVar[int]
    MACHINE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DETAIL_JSON_FIELD_NUMBER: _ClassVar[int]
    number: int
    at_unix_s: float
    who: str
    event: str
    audit_id: str
    machine: str
    text: str
    detail_json: str
    def __init__(self, number: _Optional[int] = ..., at_unix_s: _Optional[float] = ..., who: _Optional[str] = ..., event: _Optional[str] = ..., audit_id: _Optional[str] = ..., machine: _Optional[str] = ..., text: _Optional[str] = ..., detail_json: _Optional[str] = ...) -> None: ...

class LogPage(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[LogEntry]
    def __init__(self, entries: _Optional[_Iterable[_Union[LogEntry, _Mapping]]] = ...) -> None: ...
