"""Credentials in URLs: user info, parameters such as `sig=…`, and the secret paths of webhooks. Pure."""

from __future__ import annotations

import re

from detctl_proto.security.redaction.marks import MARK, Marker, is_redacted
from detctl_proto.security.variable_rules import names_a_secret

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31}://)([^\s\"'<>`]{1,8192})")
_WHOLE_URL = re.compile(r"((?:[+~-]{0,2}[A-Za-z0-9_.-]{1,64}=)?[A-Za-z][A-Za-z0-9+.-]{0,31}://)([\s\S]+)")
_QUERY = re.compile(r"([?&;#])([^=&;#?]{1,64})=([^&;#]*)")
_QUERY_SECRETS = frozenset(("sig", "signature", "x-amz-signature", "x-amz-credential", "x-goog-signature", "code"))
_HOOK_PARTS = frozenset(("hook", "hooks", "webhook", "webhooks", "webhookb2"))


def redact_urls(text: str, mark: Marker) -> str:
    """The text with the credentials of each URL in it replaced."""
    return _URL.sub(lambda found: found[1] + _url(found[1], found[2], mark), text) if "://" in text else text


def redact_whole_url(value: str, mark: Marker) -> str:
    """The value; if all of it is one URL, also with blanks and quotes in it, with its credentials replaced."""
    whole = _WHOLE_URL.fullmatch(value)
    return whole[1] + _url(whole[1], whole[2], mark) if whole else value


def _url(scheme: str, rest: str, mark: Marker) -> str:
    """The rest of a URL after `scheme://`, redacted."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host = authority
    _, colon, port = authority.rpartition("]")[2].rpartition(":")
    # A password may hold a slash that nobody has quoted: its beginning then stands where a port would.
    web_port = port.isdigit() and scheme.endswith(("http://", "https://", "docker://", "oci://"))
    if "@" in rest and ("@" in authority or (colon and not web_port)):
        info, _, rest = rest.rpartition("@")
        info = info if MARK.fullmatch(info) else mark(info)
        host = re.split(r"[/?#]", rest, maxsplit=1)[0]
        return f"{info}@{_path(host, rest, mark)}"
    return _path(host, rest, mark)


def _path(host: str, rest: str, mark: Marker) -> str:
    """Host, path and parameters, without user info."""
    below = rest[len(host) :]
    path, separator, parameters = re.match(r"([^?#]*)([?#]?)([\s\S]*)", below).groups()  # type: ignore[union-attr]  # matches any text
    parts = path.lower().split("/")
    if len(path) > 1 and (host.lower().startswith("hooks.") or _HOOK_PARTS.intersection(parts)):
        path = path if is_redacted(path[1:]) else f"/{mark(path[1:])}"
    if separator:
        parameters = _QUERY.sub(lambda found: _parameter(found, mark), separator + parameters)
    return f"{host}{path}{parameters}"


def _parameter(found: re.Match[str], mark: Marker) -> str:
    name = found[2]
    if not found[3] or is_redacted(found[3]) or not (names_a_secret(name) or name.lower() in _QUERY_SECRETS):
        return found[0]
    return f"{found[1]}{name}={mark(found[3])}"
