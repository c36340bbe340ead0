"""Whatever a credential is: no eight characters of it stand in what is recorded, and redacting twice changes nothing."""

from __future__ import annotations

import json

from detctl_proto.security.redaction import (
    RecordingKey,
    agree,
    protected_manifest,
    redact_command,
    redact_document,
    redact_output,
    redact_text,
)
from hypothesis import given, settings
from hypothesis import strategies as st

KEY = RecordingKey(b"k" * 32)
# Characters that neither a mark nor the rest of a document has.
SECRETS = st.text(st.sampled_from("ABCXYZ!$%^*~ \"'@/?:;\\äß€GHIJ"), min_size=8, max_size=40)
NAMES = st.sampled_from(["DATABASE_URL", "MY_SETTING", "SLACK_WEBHOOK", "SMTP_URL", "PGPASSWORD", "X"])


def held(secret: str, document: object) -> list[str]:
    """Pieces of eight characters that stand in a document, as JSON or as text."""
    texts = (json.dumps(document), json.dumps(document, ensure_ascii=False), str(document))
    pieces = {secret[at : at + 8] for at in range(len(secret) - 7)}
    return [piece for piece in pieces if any(piece in text for text in texts)]


@given(NAMES, SECRETS)
@settings(deadline=None)
def test_a_variable_that_nobody_read(name: str, secret: str) -> None:
    assert not held(secret, protected_manifest({"variables": {name: secret, "TZ": "UTC"}}, KEY))


@given(SECRETS, st.sampled_from(["postgres", "https", "amqp+ssl"]), st.booleans())
@settings(deadline=None)
def test_user_info_of_a_url(secret: str, scheme: str, read: bool) -> None:
    url = f"{scheme}://bob:{secret}@db.example/app"
    manifest = {
        "variables": {"PYTHONHTTP": url, "STORE": url},
        "recipe": {"command": ["python", "t.py", "--store", url, f"--db={url}"], "parameters": {"store": url}},
    }
    protected = protected_manifest(manifest, KEY, ["STORE"] if read else [])
    assert not held(secret, protected)
    assert not held(secret, redact_document(protected))


@given(SECRETS | SECRETS.map("-{}".format), st.sampled_from(["--password", "--hf-token", "--api_key"]))
@settings(deadline=None)
def test_values_of_options(secret: str, option: str) -> None:
    words = ["python", "t.py", option, secret, f"{option}={secret}", "--lr", "0.1"]
    redacted = redact_command(words, KEY)
    assert not held(secret, redacted)
    assert redacted[-2:] == ["--lr", "0.1"]
    assert redact_command(redacted, KEY) == redacted


@given(st.text(max_size=300))
@settings(deadline=None)
def test_any_text_is_taken_and_redacting_again_changes_nothing(text: str) -> None:
    once = redact_text(text)
    assert redact_text(once) == once
    assert redact_output(redact_output(text)) == redact_output(text)


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
@settings(deadline=None)
def test_marks_agree_as_their_values_do(left: str, right: str) -> None:
    assert agree(KEY.mark(left, "X"), KEY.mark(right, "X")) is (left == right)
