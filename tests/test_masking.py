"""What counts as a secret in text, and what does not."""

from __future__ import annotations

import pytest

from ranbench.masking import mask, mask_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql+psycopg://me:secret@host:5432/db", "postgresql+psycopg://me:***@host:5432/db"),
        ("--db postgresql://me:s%40:x@host/db --seeds 3", "--db postgresql://me:***@host/db --seeds 3"),
        ("--db 'postgresql://me:pass@word@host/db'", "--db 'postgresql://me:***@host/db'"),
        ("postgresql://me@host/db?sslkey=a&sslpassword=secret", "postgresql://me@host/db?sslkey=a&sslpassword=***"),
        ("postgresql://host/db?user=me&password=secret&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("redis://:secret@host", "redis://:***@host"),
        (
            "--db postgresql+psycopg://user@corp:s3cret@/p6?host=/run x",
            "--db postgresql+psycopg://user@corp:***@/p6?host=/run x",
        ),
        ("at mysql://user@corp:s3cret@host/db.", "at mysql://user@corp:***@host/db."),
        ("postgresql+psycopg:/u:s3cret@h/db", "postgresql+psycopg:/u:***@h/db"),
        ("https://0123456789abcdef0123@github.com/x", "https://***@github.com/x"),
        ("HF_TOKEN=abcdefghij PASSWORD=hunter DB_PASS=x run", "HF_TOKEN=*** PASSWORD=*** DB_PASS=*** run"),
        ("Authorization: Token abcdefgh", "Authorization: Token ***"),
        ("a://u:p@h b://v:q@i", "a://u:***@h b://v:***@i"),
        ("postgresql://me:sec/ret@host/db", "postgresql://me:***@host/db"),
        ("ranbench run x --token abc --seeds 2", "ranbench run x --token *** --seeds 2"),
        ("run --api-key=abc 'two words'", "run --api-key=*** 'two words'"),
        ("HF_TOKEN=abc123def ranbench run", "HF_TOKEN=*** ranbench run"),
        ('+password = "hunter two"', '+password = "***"'),
        ("+  'api_key': 'k',", "+  'api_key': '***',"),
        ("+DB_PASSWORD: s3cretvalue", "+DB_PASSWORD: ***"),
        ("+# ghp_abcdefghijklmnopqrstuvwxyz0123456789", "+# ***"),
        ("hf_abcdefghijklmnopqrst in a comment", "*** in a comment"),
        ("key AKIAABCDEFGHIJKLMNOP.", "key ***."),
        ("Authorization: Bearer abcdefgh.ijkl", "Authorization: Bearer ***"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\n+MIIE\n+abc\n+-----END RSA PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----",
        ),
    ],
)
def test_a_secret_is_masked_and_nothing_around_it(text: str, expected: str) -> None:
    assert mask(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me@host/db",
        "http://host:8080/a@b",
        "sqlite:///runs.db",
        "    token = new_token",
        "    def claim(self, token: str, attempt_id: int) -> None:",
        "owner(token=place.owner.token)",
        "AttemptRow.owner_token == token",
        "tokens: 512",
        "commit 828e092fc0581d7be0c2c7f0a1b2c3d4e5f60718",
        "--only model=attention-56 --seeds 5",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert mask(text) == text


def test_what_the_environment_calls_a_secret_is_masked_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "plainwords")
    monkeypatch.setenv("PGPASSWORD", "short")

    assert mask("+  x = f('plainwords') # short") == "+  x = f('***') # short"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+psycopg://user@corp:s3cret@/p6?host=/run", "postgresql+psycopg://user@corp:***@/p6?host=/run"),
        ("postgresql://me:a@b:c/d@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("u:s3cret@h/db", "u:***@h/db"),
        ("postgresql+psycopg:/u:s3cret@h/db", "postgresql+psycopg:/u:***@h/db"),
        ("mysql://user@corp:s3cret@host/db", "mysql://user@corp:***@host/db"),
        ("postgresql://u/x:12345/67@h/db", "postgresql://u/x:***@h/db"),
        (
            "postgresql://host:5432/db?pass%77ord=s3cret&sslmode=require",
            "postgresql://host:5432/db?pass%77ord=***&sslmode=require",
        ),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
        ("sqlite:///results/ranbench.db", "sqlite:///results/ranbench.db"),
    ],
)
def test_the_url_of_a_database_keeps_everything_but_its_passwords(url: str, expected: str) -> None:
    assert mask_url(url) == expected
