"""Credentials in running text: tokens by their shape, `Bearer …`, and assignments such as `password=…`. Pure."""

from __future__ import annotations

import re

from detctl_proto.security.redaction.marks import Marker, is_redacted, plain_mark
from detctl_proto.security.redaction.urls import redact_urls
from detctl_proto.security.variable_rules import surely_names_a_secret

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
_ASSIGNED = re.compile(
    r"(?<![A-Za-z0-9_.-])([A-Za-z][A-Za-z0-9_.-]{1,63})(=)(\"[^\"\n]{1,1024}\"|'[^'\n]{1,1024}'|[^\s\"',;&]{1,1024})"
)
# As a program prints it: `password: …` and `"password": "…"` too.
_PRINTED = re.compile(
    r"(?<![A-Za-z0-9_.-])([A-Za-z][A-Za-z0-9_.-]{1,63})([\"']?\s{0,3}[:=]\s{0,3})(\"[^\"\n]{1,1024}\"|'[^'\n]{1,1024}'|[^\s\"',;&]{1,1024})"
)


def redact_text(text: str, mark: Marker = plain_mark) -> str:
    """The text with credentials replaced: user info and token-like parameters of URLs, webhooks, keys, tokens, `password=…`."""
    text = redact_urls(text, mark)
    if "=" in text:
        text = _ASSIGNED.sub(lambda found: _assigned(found, mark), text)
    return _tokens(text, mark)


def redact_output(text: str) -> str:
    """The output of a program, for showing: as redact_text, and `password: …` too."""
    return _PRINTED.sub(lambda found: _assigned(found, plain_mark), redact_text(text))


def _assigned(found: re.Match[str], mark: Marker) -> str:
    value = found[3]
    if not surely_names_a_secret(found[1]) or is_redacted(value):
        return found[0]
    return f"{found[1]}{found[2]}{mark(value)}"


def _tokens(text: str, mark: Marker) -> str:
    lower = text.lower()
    if "bearer" in lower or "authorization" in lower:
        text = _BEARER.sub(
            lambda found: f"{found[1]}{found[2]}{mark(found[3])}" if _is_token(found[3]) else found[0], text
        )
    if any(trigger in text for trigger in _TRIGGERS):
        text = _TOKENS.sub(lambda found: mark(found[0]), text)
    return text


def _is_token(word: str) -> bool:
    return any(char.isdigit() for char in word) or len(word) >= 20
