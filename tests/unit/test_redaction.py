"""What is a credential, what stands in its place, and what of it can still be compared."""

from __future__ import annotations

import pytest
from detctl_proto.security.redaction import (
    DIGESTS,
    REDACTED,
    RecordingKey,
    agree,
    looks_secret,
    protected_manifest,
    protected_variables,
    redact_command,
    redact_document,
    redact_output,
    redact_pairs,
    redact_text,
    redact_value,
    variables_agree,
)
from detctl_proto.security.variable_rules import REMOTE, has_recorded_value, is_withheld, names_a_secret

KEY, OTHER = RecordingKey(b"k" * 32), RecordingKey(b"o" * 32)


@pytest.mark.parametrize(
    "value",
    [
        "postgres://bob:hunter2xyz@db.example/app",
        "postgres://bob:hunter2@xyz@db.example/app",
        "postgres://bob:hunter2/xyz@db.example/app",
        "postgres://bob:hunter2 xyz@db.example/app",
        'smtp://bob:hunter2"xyz@mail.example:25',
        "redis://:hunter2xyz@cache:6379/0",
        "https://hunter2xyz@sentry.example/42",
        "https://hooks.slack.com/services/T000/B000/hunter2xyz",
        "https://discord.com/api/webhooks/1234/hunter2xyz",
        "https://api.example/v1?user=bob&access_token=hunter2xyz#top",
        "https://bucket.example/x?X-Amz-Signature=hunter2xyz",
        "Authorization: Bearer hunter2xyzhunter2xyz",
        "db_password=hunter2xyz",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2xyz\n-----END RSA PRIVATE KEY-----",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJodW50ZXIyIn0.hunter2xyz",
        "sk-proj-hunter2xyzhunter2xyz",
        "ghp_hunter2xyzhunter2xyzhunter2xyz",
        "xoxb-12345-hunter2xyz",
        "hf_hunter2xyzhunter2xyz",
        "python train.py --db-password hunter2xyz --lr 1",
    ],
)
def test_values_that_hold_a_credential(value: str) -> None:
    redacted = redact_value(value)
    assert "hunter2" not in redacted and "xyz" not in redacted, redacted
    assert looks_secret(value)
    assert redact_value(redacted) == redacted
    keyed = redact_value(value, KEY)
    assert redact_value(keyed, KEY) == keyed, "redacting again changes nothing"
    assert "hunter2" not in keyed


@pytest.mark.parametrize(
    "value",
    [
        "/data/imagenet/train", "0,1,2,3", "0.5", "git+https://github.com/org/repo@main", "http://localhost:8080/v1?limit=3",
        "experiment-2024-resnet50-baseline-v2", "MyVeryLongExperimentNameForResNet50", "user@example.org", "s3://bucket/key",
        "max_tokens=512", "sort(names, key=len)", "tcp://127.0.0.1:29500", "lambda x: x", "file:///C:/data",
    ],
)  # fmt: skip
def test_values_that_hold_none(value: str) -> None:
    assert redact_value(value) == value == redact_text(value)
    assert not looks_secret(value)


def test_names() -> None:
    for name in (
        "HF_TOKEN", "PGPASSWORD", "db-password", "apiKey", "WANDB_API_KEY", "SLACK_WEBHOOK", "SENTRY_DSN", "token", "key",
        "DB_PASS", "basic_auth", "PASSWORD_2", "aws_secret_access_key", "accessToken",
    ):  # fmt: skip
        assert names_a_secret(name), name
    for name in (
        "max_tokens", "pad_token", "tokenizer", "sort_key", "label-key", "n_passes", "TOKENIZERS_PARALLELISM", "lr", "token_dim",
        "monkey", "XKB_KEYMAP", "data", "num_keys", "",
    ):  # fmt: skip
        assert not names_a_secret(name), name


def test_one_list_serves_all_sides() -> None:
    assert all(has_recorded_value(name) and not is_withheld(name) for name in REMOTE), (
        "an experiment reads back what it set"
    )
    assert not has_recorded_value("HF_TOKEN") and not has_recorded_value("DATABASE_URL")


def test_words_of_a_command() -> None:
    command = ["python", "t.py", "--password", "hunter2", "--token=hunter3", "model.api_key=hunter4", "--max-tokens", "512",
               "--db", "postgres://u:hunter5@h/d", "--use-auth-token", "--lr", "0.1"]  # fmt: skip
    assert redact_command(command) == [
        "python", "t.py", "--password", REDACTED, f"--token={REDACTED}", f"model.api_key={REDACTED}", "--max-tokens", "512",
        "--db", f"postgres://{REDACTED}@h/d", "--use-auth-token", "--lr", "0.1",
    ]  # fmt: skip
    keyed = redact_command(command, KEY)
    assert "hunter" not in "".join(keyed)
    assert redact_command(keyed, KEY) == keyed
    assert redact_command(["t", "--password", "-hunter2", "--token", "--lr", "0.1", "--key", "-5"]) == [
        "t", "--password", REDACTED, "--token", "--lr", "0.1", "--key", REDACTED,
    ]  # fmt: skip
    assert redact_command(command, KEY) == keyed, "equal commands stay equal"
    other = redact_command([word.replace("hunter2", "hunter9") for word in command], KEY)
    assert [a != b for a, b in zip(keyed, other, strict=True)].index(True) == 3
    assert redact_pairs({"db_password": "x", "lr": "0.1"}) == {"db_password": REDACTED, "lr": "0.1"}
    template = ["python", "t.py", "--password", "{word3}", "--token=a-{other}", "--lr", "{lr}"]
    given = {"word3": "hunter2", "other": "hunter3", "lr": "0.1"}
    assert redact_pairs(given, command=template) == {"word3": REDACTED, "other": REDACTED, "lr": "0.1"}
    recipe = protected_manifest({"recipe": {"command": template, "parameters": given}}, KEY)["recipe"]
    assert "hunter" not in str(recipe) and recipe["parameters"]["lr"] == "0.1"


def test_what_a_program_printed() -> None:
    text = "epoch 3 tokens: 512\npassword: hunter2\nconnecting to postgres://u:hunter2@h/d failed\n{'api_key': 'hunter2'}\n"
    redacted = redact_output(text)
    assert "hunter2" not in redacted and "tokens: 512" in redacted


def test_documents_for_showing() -> None:
    document = {
        "variables": {"PGPASSWORD": "hunter2", "OMP_NUM_THREADS": "2"},
        "environment": {
            "variables.PGPASSWORD": {"a": "hunter2", "b": "hunter3"},
            "variables.TZ": {"a": "UTC", "b": "GMT"},
        },
        "recipe": {"command": ["python", "t.py", "--token", "hunter2"], "parameters": {"secret": "hunter2", "lr": 0.1}},
        "evidence": ["MODE: postgres://u:hunter2@h/ against (unset)"],
        "steps": [1, None, True],
    }
    shown = redact_document(document)
    assert "hunter" not in str(shown)
    assert shown["variables"]["OMP_NUM_THREADS"] == "2" and shown["environment"]["variables.TZ"] == {
        "a": "UTC",
        "b": "GMT",
    }
    assert shown["recipe"]["parameters"]["lr"] == 0.1 and shown["steps"] == [1, None, True]
    assert redact_document(shown) == shown


def test_variables_of_a_training() -> None:
    given = {
        "OMP_NUM_THREADS": "2", "LR": "0.1", "MODE": "fast", "DATABASE_URL": "postgres://u:hunter2@h/d", "TORCH_HOME_TOKEN": "x",
        "NCCL_PROXY": "http://u:hunter2@proxy:3128",
    }  # fmt: skip
    shown, digests = protected_variables(given, KEY, read=["LR", "DATABASE_URL", "TORCH_HOME_TOKEN"])
    assert shown["OMP_NUM_THREADS"] == "2", "it can change numbers"
    assert shown["LR"] == "0.1", "the training read it"
    assert shown["MODE"] == KEY.mark("fast", "MODE"), "neither"
    assert shown["DATABASE_URL"] == KEY.mark(given["DATABASE_URL"], "DATABASE_URL"), "read, and a credential"
    assert "hunter2" not in str(shown)
    assert digests == {"LR": KEY.mark("0.1", "LR")}
    manifest = {"variables": given, "recipe": {"command": ["t", "--password", "hunter2"]}}
    protected = protected_manifest(manifest, KEY, ["LR"])
    assert "hunter2" not in str(protected)
    assert protected_manifest(protected, OTHER) == protected, "what is protected stays as it is"


def test_what_can_be_compared() -> None:
    a, b, far = KEY.mark("1", "X"), KEY.mark("2", "X"), OTHER.mark("1", "X")
    assert agree(a, a) is True and agree(a, b) is False
    assert agree(a, far) is None, "another key: nobody can say"
    assert agree(a, "1") is None
    assert agree("1", "2") is False and agree(None, a) is False
    assert agree(f"db://{a}@h", f"db://{b}@h") is False
    assert agree(f"db://{a}@h", f"db://{far}@h") is None
    assert agree(f"db://{a}@h1", f"db://{far}@h2") is False, "what stands around it differs"
    read = {"variables": {"X": "1"}, DIGESTS: {"X": a}}
    assert variables_agree("X", read, {"variables": {"X": a}}) is True
    assert variables_agree("X", read, {"variables": {"X": b}}) is False
    assert variables_agree("X", read, {"variables": {"X": far}}) is None
    assert variables_agree("X", read, {"variables": {}}) is False


def test_a_key_is_told_by_its_id_alone() -> None:
    assert repr(KEY) == "RecordingKey()"
    assert KEY.id != OTHER.id and KEY.secret.hex() not in KEY.mark("x")
    assert KEY.mark("x", "A") != KEY.mark("x", "B"), "equal values of two variables are not told"
    assert KEY.derived("audit a1").id not in (KEY.id, KEY.derived("audit a2").id)
