"""Credentials out of whatever is recorded, sent or shown. Standard library alone; pure.

A credential is replaced by a mark. `[redacted]` says nothing of it. `[redacted KEY:DIGEST]` holds a keyed digest (BLAKE2b under a
recording key that never leaves its owner): two marks under one key tell whether the values are equal, and a reader who lacks the key
cannot try out values. Marks under different keys cannot be compared (docs/adr/0009).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any

from detctl_proto.names import PLACEHOLDER
from detctl_proto.variable_rules import has_recorded_value, names_a_secret, surely_names_a_secret

KEY_BYTES = 32
REDACTED = "[redacted]"
_BEGINS = "[redacted"  # of a mark, also of one that a blank has cut
NOT_RECORDED = "(value not recorded)"
# In a manifest: variables whose value is recorded since the training read them -> the mark that another recording may hold instead.
DIGESTS = "variable_digests"
MARK = re.compile(r"\[redacted(?: ([0-9a-f]{16}):([0-9a-f]{32}))?\]")

Marker = Callable[[str], str]


@dataclass(frozen=True)
class RecordingKey:
    """What digests of values are keyed with: 32 bytes of one user's installation."""

    secret: bytes = field(repr=False)

    @cached_property
    def id(self) -> str:
        """16 hex digits that tell two keys apart and nothing else."""
        return blake2b(b"detctl recording key", key=self.secret, digest_size=8).hexdigest()

    def mark(self, value: str, name: str = "") -> str:
        """The mark of a value. The name goes in too: that two variables hold one value is not told."""
        text = f"{name}\0{value}".encode("utf-8", "surrogatepass")
        return f"[redacted {self.id}:{blake2b(text, key=self.secret, digest_size=16).hexdigest()}]"

    def derived(self, purpose: str) -> RecordingKey:
        """A key for one purpose, from which this one cannot be found."""
        return RecordingKey(blake2b(purpose.encode(), key=self.secret, digest_size=KEY_BYTES).digest())


# -- what is a credential ------------------------------------------------------------------------------------------------

_START = r"(?<![A-Za-z0-9_-])"
_TOKENS = re.compile(
    "|".join(
        (
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)",
            _START + r"eyJ[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{4,4096}(?:\.[A-Za-z0-9_-]{0,4096})?",  # JWT
            _START + r"(?:sk|rk|pk)[-_](?=[A-Za-z_-]{0,256}[0-9])[A-Za-z0-9_-]{16,512}",  # OpenAI, Anthropic, Stripe
            _START + r"(?:gh[pousr]_[A-Za-z0-9]{16,512}|github_pat_[A-Za-z0-9_]{16,512}|glpat-[A-Za-z0-9_-]{16,512})",
            _START + r"xox[a-z]-[A-Za-z0-9-]{8,512}",  # Slack
            _START + r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,128}(?![a-z])",  # AWS
            _START + r"hf_[A-Za-z0-9]{16,512}",
            _START + r"AIza[A-Za-z0-9_-]{30,512}|" + _START + r"ya29\.[A-Za-z0-9_-]{16,512}",  # Google
            _START + r"(?:npm_|pypi-|dop_v1_|shpat_|dct_[0-9a-f]{12}_)[A-Za-z0-9_-]{16,512}",
            _START + r"SG\.[A-Za-z0-9_-]{16,128}\.[A-Za-z0-9_-]{16,128}",  # SendGrid
            r"(?<=/bot)[0-9]{8,12}:[A-Za-z0-9_-]{30,64}",  # Telegram
        )
    )
)
# One of them stands in every token: most texts have none and need not be searched.
_TRIGGERS = (
    "PRIVATE KEY", "eyJ", "sk-", "sk_", "rk-", "rk_", "pk-", "pk_", "gh", "glpat-", "xox", "AKIA", "ASIA", "ABIA", "ACCA", "hf_", "AIza",
    "ya29.", "npm_", "pypi-", "dop_v1_", "shpat_", "dct_", "SG.", "/bot",
)  # fmt: skip
_BEARER = re.compile(r"(?i)\b(bearer|authorization\s{0,3}:\s{0,3}[a-z]{1,16})(\s{1,3})([A-Za-z0-9._~+/=-]{8,4096})")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31}://)([^\s\"'<>`]{1,8192})")
_WHOLE_URL = re.compile(r"((?:[+~-]{0,2}[A-Za-z0-9_.-]{1,64}=)?[A-Za-z][A-Za-z0-9+.-]{0,31}://)([\s\S]+)")
_QUERY = re.compile(r"([?&;#])([^=&;#?]{1,64})=([^&;#]*)")
_QUERY_SECRETS = frozenset(("sig", "signature", "x-amz-signature", "x-amz-credential", "x-goog-signature", "code"))
_HOOK_PARTS = frozenset(("hook", "hooks", "webhook", "webhooks", "webhookb2"))
_ASSIGNED = re.compile(
    r"(?<![A-Za-z0-9_.-])([A-Za-z][A-Za-z0-9_.-]{1,63})(=)(\"[^\"\n]{1,1024}\"|'[^'\n]{1,1024}'|[^\s\"',;&]{1,1024})"
)
_TOLD = re.compile(
    r"(?<![A-Za-z0-9_.-])([A-Za-z][A-Za-z0-9_.-]{1,63})([\"']?\s{0,3}[:=]\s{0,3})(\"[^\"\n]{1,1024}\"|'[^'\n]{1,1024}'|[^\s\"',;&]{1,1024})"
)
_OPTION_INSIDE = re.compile(
    r"(?<!\S)(--?[A-Za-z][A-Za-z0-9_.-]{0,63})(=|\s{1,3})(\"[^\"]{1,1024}\"|'[^']{1,1024}'|[^\s\"'-][^\s\"']{0,1023})"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_./\[\]-]{0,199}")
# What follows `--password` and is another option, not its value.
_OPTION = re.compile(r"--[A-Za-z][A-Za-z0-9_.-]*(?:=[\s\S]*)?|-[A-Za-z]")


def redact_text(text: str, mark: Marker = lambda _: REDACTED) -> str:
    """The text with credentials replaced: user info and token-like parameters of URLs, webhooks, keys, tokens, `password=…`."""
    if "://" in text:
        text = _URL.sub(lambda found: found[1] + _url(found[1], found[2], mark), text)
    if "=" in text:
        text = _ASSIGNED.sub(lambda found: _assigned(found, mark), text)
    return _bare_tokens(text, mark)


def redact_output(text: str) -> str:
    """What a program printed, for showing: as redact_text, and `password: …` too."""
    return _TOLD.sub(lambda found: _assigned(found, lambda _: REDACTED), redact_text(text))


def redact_words(words: Sequence[str], key: RecordingKey | None = None) -> list[str]:
    """A command's words: values of options whose name says secret (`--password X`, `--token=X`, `db.password=X`), and credentials
    inside of any word. key: marks tell whether two commands have the same values; None: plain marks."""
    found: list[str] = []
    expects = ""  # the option whose value the next word is
    for word in words:
        if expects and not _OPTION.fullmatch(word):
            found.append(_marker(key, expects)(word))
            expects = ""
            continue
        expects = ""
        option, equals, value = word.partition("=")
        name = option.lstrip("-+~")
        if equals and value and _NAME.fullmatch(name) and names_a_secret(name):
            found.append(f"{option}={_marker(key, name)(value)}")
            continue
        if word.startswith("-") and not equals and names_a_secret(name):
            expects = name
        found.append(redact_value(word, key))
    return found


def redact_value(value: str, key: RecordingKey | None = None) -> str:
    """One word or value: as redact_text, and where it is one URL all of it is, blanks and quotes too."""
    mark = _marker(key)
    if whole := _WHOLE_URL.fullmatch(value):
        value = whole[1] + _url(whole[1], whole[2], mark)
    if " " in value:
        value = _OPTION_INSIDE.sub(lambda found: _option_inside(found, mark), value)
    return redact_text(value, mark)


def redact_pairs(
    pairs: Mapping[str, str], key: RecordingKey | None = None, command: Sequence[str] = ()
) -> dict[str, str]:
    """Parameters by name: the value of one whose name says secret, and credentials inside of any value.

    command: a template in which `{name}` stands for a value: `--password {name}` makes a secret of it too."""
    hidden = _hidden_parameters(command)
    return {
        name: _marker(key, name)(value)
        if value and (name in hidden or names_a_secret(name))
        else redact_value(value, key)
        for name, value in pairs.items()
    }


def _hidden_parameters(command: Sequence[str]) -> set[str]:
    """Names of the placeholders that redaction takes out of a command."""
    pairs = zip(command, redact_words(command), strict=True)
    return {name for word, shown in pairs for name in set(PLACEHOLDER.findall(word)) - set(PLACEHOLDER.findall(shown))}


def redact_document(value: Any) -> Any:
    """A JSON value for showing: text is redacted; below `variables` and `parameters` values go by their names too."""
    return _document(value, "")


def looks_secret(value: str) -> bool:
    """Whether a value is or holds a credential by its shape: what redact_value finds, and long random text."""
    return redact_value(value) != value or any(
        _is_random(run) for run in re.findall(r"[A-Za-z0-9+=_-]{20,4096}", value)
    )


def _marker(key: RecordingKey | None, name: str = "") -> Marker:
    def mark(value: str) -> str:
        if MARK.fullmatch(value):
            return value  # redacted before
        return REDACTED if key is None else key.mark(value, name)

    return mark


def _assigned(found: re.Match[str], mark: Marker) -> str:
    value = found[3]
    if not surely_names_a_secret(found[1]) or _is_done(value):
        return found[0]
    return f"{found[1]}{found[2]}{mark(value)}"


def _option_inside(found: re.Match[str], mark: Marker) -> str:
    if not names_a_secret(found[1].lstrip("-")) or _is_done(found[3]):
        return found[0]
    return f"{found[1]}{found[2]}{mark(found[3])}"


def _bare_tokens(text: str, mark: Marker) -> str:
    lower = text.lower()
    if "bearer" in lower or "authorization" in lower:
        text = _BEARER.sub(
            lambda found: f"{found[1]}{found[2]}{mark(found[3])}" if _is_token(found[3]) else found[0], text
        )
    if any(trigger in text for trigger in _TRIGGERS):
        text = _TOKENS.sub(lambda found: mark(found[0]), text)
    return text


def _is_done(value: str) -> bool:
    """Whether this has been redacted before, or is the description of a value that is not recorded."""
    return value == _BEGINS or MARK.match(value) is not None or value.startswith("(value ")


def _is_token(word: str) -> bool:
    return any(char.isdigit() for char in word) or len(word) >= 20


def _url(scheme: str, rest: str, mark: Marker) -> str:
    """What follows `scheme://`."""
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
        path = path if _is_done(path[1:]) else f"/{mark(path[1:])}"
    if separator:
        parameters = _QUERY.sub(lambda found: _parameter(found, mark), separator + parameters)
    return f"{host}{path}{parameters}"


def _parameter(found: re.Match[str], mark: Marker) -> str:
    name = found[2]
    if not found[3] or _is_done(found[3]) or not (names_a_secret(name) or name.lower() in _QUERY_SECRETS):
        return found[0]
    return f"{found[1]}{name}={mark(found[3])}"


def _is_random(run: str) -> bool:
    """Whether letters and digits alternate as they do in keys and hardly ever in names: long hex, base64 and the like."""
    bare = run.strip("=")
    if re.fullmatch(r"[0-9a-fA-F]{32,}", bare.replace("-", "")):
        return True
    piece = max(re.split(r"[-_+=]", bare), key=len)
    kinds = ["d" if char.isdigit() else "U" if char.isupper() else "l" for char in piece]
    runs = 1 + sum(a != b for a, b in itertools.pairwise(kinds))
    # The runs of camelCase have three letters and more, those of base64 one and a half.
    return len(piece) >= 16 and len(piece) < 1.9 * runs


def _document(value: Any, within: str) -> Any:
    if isinstance(value, str):
        return REDACTED if within == "secret" and value and not _is_done(value) else redact_value(value)
    if isinstance(value, Mapping):
        return {name: _document(item, _within(str(name), within)) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        if within == "named":  # pairs of name and value, as an audit's request has them
            return [_pair(item) for item in value]
        if within != "secret" and value and all(isinstance(item, str) for item in value):
            return redact_words(list(value))
        return [_document(item, within) for item in value]
    return value


def _pair(item: Any) -> Any:
    if isinstance(item, (list, tuple)) and len(item) == 2 and isinstance(item[0], str):
        return [item[0], _document(item[1], _within(item[0], "named"))]
    return _document(item, "")


def _within(name: str, within: str) -> str:
    """What the value under a name is: `named` holds pairs by name, `secret` is a credential."""
    if within == "secret" or (within == "named" and names_a_secret(name)):
        return "secret"
    section, _, rest = name.rpartition(".")  # `variables.PGPASSWORD` -> its values by arm
    if section.endswith(("variables", "parameters")) and names_a_secret(rest):
        return "secret"
    return "named" if name in ("variables", "parameters", "set", "vary") else ""


# -- variables of a training ---------------------------------------------------------------------------------------------


def protected_variables(
    variables: Mapping[str, str], key: RecordingKey, read: Collection[str] = ()
) -> tuple[dict[str, str], dict[str, str]]:
    """(what a manifest says of each variable, DIGESTS): the value or a mark. read: names that the training's own code asked for."""
    shown: dict[str, str] = {}
    digests: dict[str, str] = {}
    for name, value in sorted(variables.items()):
        if is_open(name, value, read=name in read):
            shown[name] = value
            if not has_recorded_value(name):
                digests[name] = key.mark(value, name)
        else:
            shown[name] = key.mark(value, name)
    return shown, digests


def is_open(name: str, value: str, *, read: bool) -> bool:
    """Whether a manifest may hold the value of this variable."""
    if names_a_secret(name) or MARK.search(value):  # a value that reads as a mark would pass for one
        return False
    if has_recorded_value(name):
        return redact_value(value) == value
    return read and not looks_secret(value)


def protected_manifest(manifest: Mapping[str, Any], key: RecordingKey, read: Collection[str] = ()) -> dict[str, Any]:
    """A manifest as it is recorded today; one that is, stays as it is. Older ones hold all values."""
    if DIGESTS in manifest:
        return dict(manifest)
    found = dict(manifest)
    variables = found.get("variables")
    plain = {str(k): str(v) for k, v in variables.items()} if isinstance(variables, Mapping) else {}
    if plain:
        found["variables"], digests = protected_variables(plain, key, read)
        found[DIGESTS] = digests
    recipe = found.get("recipe")
    if isinstance(recipe, Mapping):
        found["recipe"] = protected_recipe(recipe, key)
    return found


def protected_recipe(recipe: Mapping[str, Any], key: RecordingKey) -> dict[str, Any]:
    """The section `recipe` with its command and parameters redacted."""
    found = dict(recipe)
    command, parameters = found.get("command"), found.get("parameters")
    words = [str(word) for word in command] if isinstance(command, list) else []
    if words:
        found["command"] = redact_words(words, key)
    if isinstance(parameters, Mapping):
        found["parameters"] = redact_pairs({str(k): str(v) for k, v in parameters.items()}, key, words)
    return found


# -- comparing -----------------------------------------------------------------------------------------------------------


def agree(left: str | None, right: str | None) -> bool | None:
    """Whether two recorded values are equal; None: marks under different keys, or a mark against a value, cannot be compared."""
    if left is None or right is None or left == right:
        return left == right
    ours, theirs = MARK.findall(left), MARK.findall(right)
    if not ours and not theirs:
        return False
    if (MARK.fullmatch(left) is None) != (MARK.fullmatch(right) is None):
        return None
    if MARK.sub(REDACTED, left) != MARK.sub(REDACTED, right):
        return False
    known = [(a, b) for a, b in zip(ours, theirs, strict=True) if a[0] and a[0] == b[0]]
    if any(a != b for a, b in known):
        return False
    return True if len(known) == len(ours) else None


def variables_agree(name: str, left: Mapping[str, Any], right: Mapping[str, Any]) -> bool | None:
    """As agree, of one variable in two manifests: where one alone holds the value, its digest is asked."""
    ours, theirs = _variable(left, name), _variable(right, name)
    if ours is not None and theirs is not None:
        if MARK.fullmatch(ours) and not MARK.fullmatch(theirs):
            theirs = _digest(right, name) or theirs
        elif MARK.fullmatch(theirs) and not MARK.fullmatch(ours):
            ours = _digest(left, name) or ours
    return agree(ours, theirs)


def shown_value(value: str) -> str:
    """A value for people: what is not recorded is said to be so."""
    return NOT_RECORDED if MARK.fullmatch(value) else MARK.sub(REDACTED, value)


def _variable(manifest: Mapping[str, Any], name: str) -> str | None:
    section = manifest.get("variables")
    value = section.get(name) if isinstance(section, Mapping) else None
    return None if value is None else str(value)


def _digest(manifest: Mapping[str, Any], name: str) -> str:
    section = manifest.get(DIGESTS)
    return str(section.get(name) or "") if isinstance(section, Mapping) else ""
