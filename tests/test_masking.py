"""What counts as a secret in text, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranbench.masking import mask, mask_url

SUITES = Path(__file__).parent.parent / "suites"


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
        ("x://user@corp:pw@host:5432/db", "x://user@corp:***@host:5432/db"),
        ("postgresql://a/b:pw@host/db", "postgresql://a/b:***@host/db"),
        ("postgresql+psycopg://me:12345/67@host/db", "postgresql+psycopg://me:***@host/db"),
        ("postgresql+psycopg:/me:pw@host/db", "postgresql+psycopg:/me:***@host/db"),
        ("x://host/db?pass%77ord=pw&a=b", "x://host/db?pass%77ord=***&a=b"),
        ("run x --db 'me:two words@host/db' -v", "run x --db 'me:***@host/db' -v"),
        ("run x --db=me:pw@host/db", "run x --db=me:***@host/db"),
        ("https://alice:pw@host/x", "https://alice:***@host/x"),
        ("git+https://secrettoken@github.com/a", "git+https://***@github.com/a"),
        ("HF_TOKEN=abcdefghij run", "HF_TOKEN=*** run"),
        ("env 'HF_TOKEN=two words' run", "env 'HF_TOKEN=***' run"),
        ("PASSWORD=hunter", "PASSWORD=***"),
        ("export DB_PASS=hunter", "export DB_PASS=***"),
        ("run --auth hunter -x", "run --auth *** -x"),
        ("""run --token 'it'"'"'s' -x""", "run --token *** -x"),
        ("curl -s -u alice:pw https://x", "curl -s -u alice:*** https://x"),
        ("Authorization: Token abcdef", "Authorization: Token ***"),
        ("'Authorization': 'abcdef'", "'Authorization': '***'"),
        ("machine h login u password hunter", "machine h login u password ***"),
        ('password = "it\'s"', 'password = "***"'),
        ("token: str = b'say \"x\"'", "token: str = b'***'"),
        ("+password: >\n+  hunter two", "+password: >\n+  ***"),
        ("# dckr_pat_abcdefghijklmnop", "# ***"),
        ("+os.environ['PASSWORD'] = 'hunter'", "+os.environ['PASSWORD'] = '***'"),
        ('+os.environ["WANDB_API_KEY"] = "0a1b2c"', '+os.environ["WANDB_API_KEY"] = "***"'),
        ('+x = dict(password="""two\n+lines""")', '+x = dict(password="""***""")'),
        ('+API_KEY = (\n+    "first"\n+    f"second"\n+)', '+API_KEY = (\n+    "***"\n+    f"***"\n+)'),
        ("-API_KEY: str = (\n-    'first'\n-)", "-API_KEY: str = (\n-    '***'\n-)"),
        ("+api_key=\n+    'hunter'", "+api_key=\n+    '***'"),
        ("+api_key = \\\n+    'hunter'", "+api_key = \\\n+    '***'"),
        ("+os.environ.setdefault('TOKEN','hunter')", "+os.environ.setdefault('TOKEN','***')"),
        ("+os.getenv('PASSWORD', 'hunter')", "+os.getenv('PASSWORD', '***')"),
        ('+x = os.environ.get("MY_TOKEN", "hunter")', '+x = os.environ.get("MY_TOKEN", "***")'),
        ('+  "secret": ["hunter", "two words"],', '+  "secret": ["***", "***"],'),
        ("wandb login --relogin 0123456789abcdef0123", "wandb login --relogin ***"),
        ("run --pw hunter -x", "run --pw *** -x"),
        ("post https://hooks.slack.com/services/T0/B0/x1", "post https://hooks.slack.com/services/***"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\n+MIIE\n+abc\n+-----END RSA PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----",
        ),
    ],
)
def test_a_secret_is_masked_and_nothing_around_it(text: str, expected: str) -> None:
    assert mask(text) == expected
    assert mask(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me@host/db",
        "http://host:8080/a@b",
        "sqlite:///runs.db",
        "    token = new_token",
        "TOKENS=512 BYPASS=1 COMPASS=2",
        "+token = os.environ['X']",
        "postgresql+psycopg://host:5432/db?sslmode=require",
        "ssh://git@github.com/a/b",
        "x = first if passed else author",
        "(authorization: None)",
        "    def claim(self, token: str, attempt_id: int) -> None:",
        "owner(token=place.owner.token)",
        "AttemptRow.owner_token == token",
        "tokens: 512",
        "commit 828e092fc0581d7be0c2c7f0a1b2c3d4e5f60718",
        "--only model=attention-56 --seeds 5",
        "+os.environ['TOKEN'] = os.environ['X']",
        "+tokens = ['<pad>', '<eos>']",
        "+for name in ('password', 'sslpassword'):",
        '+class Token:\n+    """What the owner holds."""',
        '+def claim(token: str) -> None:\n+    """Take it."""',
        "+token = (\n+    first\n+    if x\n+    else second\n+)",
        "+pw = conv1x1\n+self.pw = nn.Conv2d(3, 4, 1)",
        "+found = kept.get('token', None)",
        "wandb login",
        "huggingface-cli login --help",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize("file", sorted(SUITES.rglob("*.yaml")), ids=lambda file: file.name)
def test_a_suite_and_a_protocol_stay(file: Path) -> None:
    assert mask(file.read_text()) == file.read_text()


def test_what_the_environment_calls_a_secret_is_masked_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "plainwords")
    monkeypatch.setenv("PGPASSWORD", "short")

    assert mask("+  x = f('plainwords') # short") == "+  x = f('***') # short"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+psycopg://user@corp:pw@host:5432/db", "postgresql+psycopg://user@corp:***@host:5432/db"),
        ("mysql://user@corp:pw@host/db", "mysql://user@corp:***@host/db"),
        ("postgresql://me:p@s:s/w@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:two\nlines@host/db", "postgresql://me:***@host/db"),
        ("me:pw@host/db", "me:***@host/db"),
        ("postgresql+psycopg:me:pw@host/db", "postgresql+psycopg:me:***@host/db"),
        ("postgresql+psycopg:/me:pw@host/db", "postgresql+psycopg:/me:***@host/db"),
        ("postgresql://host/db?pass%77ord=pw&x=1", "postgresql://host/db?pass%77ord=***&x=1"),
        ("postgresql://host/db?passwrd=pw&pasword=pw", "postgresql://host/db?passwrd=***&pasword=***"),
        ("host=h password='two words' dbname=x", "host=h password=*** dbname=x"),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
        ("postgresql://host:5432/db?sslmode=require", "postgresql://host:5432/db?sslmode=require"),
        ("sqlite:///C:/Users/a@b/ranbench.db", "sqlite:///C:/Users/a@b/ranbench.db"),
    ],
)
def test_a_url_of_a_database_is_masked_between_its_user_and_the_last_at(url: str, expected: str) -> None:
    assert mask_url(url) == expected


def test_a_long_line_without_a_secret_stays() -> None:
    text = "+" + "abcDEF012_" * 20_000

    assert mask(text) == text
