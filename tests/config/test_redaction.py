"""Secrets of a configuration do not show."""

from decimal import Decimal

import pytest

from connect.config.credentials import MASK
from connect.config.cue.errors import CueError, Fault, FaultKind
from connect.config.cue.parser import parse
from connect.config.cue.source import Source, Span
from connect.config.expansion import expand
from connect.config.redaction import (
    is_secret,
    masked_error,
    masked_message,
    masked_text,
    masked_value,
    secret_texts,
)

SECRET = "hunter2"


def shown(text: str, environment: dict[str, str] | None = None) -> str:
    """Return the text as an error would quote it."""
    expansion = expand(text, environment or {})
    try:
        file = parse(Source("x", expansion.text))
    except CueError:
        file = None
    masked = masked_text(expansion, file)
    assert len(masked) == len(text)
    return masked


@pytest.mark.parametrize(
    "path",
    [
        ("state", "service", "dsn"),
        ("state", "service", "password"),
        ("queue", "service", "queueURL"),
        ("eventstream", "service", "serverURL"),
        ("datastore", "service", "URI"),
        ("execution", "drivers", "http", "signingKey"),
        ("connect", "tenant", "signing_keys", 0),
        ("connect", "tenant", "event_keys"),
        ("connect", "tenant", "session_secret"),
        ("connect", "redis", "url"),
        ("state", "service", "pasword"),
        ("state", "service", "Password"),
        ("my_secret_thing",),
        ("connect", "tenant", "signing_key"),
        ("apiKey",),
        ("session_sekret",),
        ("pass",),
        ("db_pw",),
        ("PW",),
        ("token",),
        ("authToken",),
        ("seecret",),
        ("PasswordFile",),
    ],
)
def test_a_secret_is_known_by_its_name_even_if_misspelt(path: tuple[str | int, ...]) -> None:
    assert is_secret(path)


@pytest.mark.parametrize(
    "path",
    [
        (),
        ("log", "level"),
        ("state", "service", "host"),
        ("state", "service", "username"),
        ("connect", "timing", "session_token"),
        ("connect", "listen", "gateway_url"),
        ("connect", "tenant", "register_url"),
        ("queue", "service", "region"),
        ("eventstream", "service", "topic"),
        ("state", "service", "keyPrefix"),
        ("connect", "limits", "outbox_bytes"),
        ("bypass",),
        ("compass",),
    ],
)
def test_other_values_are_no_secrets(path: tuple[str | int, ...]) -> None:
    assert not is_secret(path)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('password: "hunter2"', 'password: "*******"'),
        ('{"password": "hunter2", "host": "h"}', '{"password": "*******", "host": "h"}'),
        ('state: service: dsn: "redis://x"', 'state: service: dsn: "*********"'),
        ('password: "a" + "b"', 'password: "*" + "*"'),
        ("password: 12345", "password: *****"),
        ('signing_keys: [\n\t"hunter2",\n\t"b"]', 'signing_keys: [\n\t"*******",\n\t"*"]'),
        ('password: "\\(x)hunter2"\nx: "h"', 'password: "***********"\nx: "*"'),
        ('_pw: "hunter2"\npassword: _pw', '_pw: "*******"\npassword: _pw'),
        ('let p = "hunter2"\npassword: p', 'let p = "*******"\npassword: p'),
        ('a: b: "hunter2"\npassword: a.b', 'a: b: "*******"\npassword: a.b'),
        ('paswword: "hunter2"', 'paswword: "*******"'),
        ('log: level: "info"', 'log: level: "info"'),
        ("password: hunter2", "password: *******"),
        ("password: hunter2.x", "password: *********"),
        ("password: hunter2-ab", "password: *******-**"),
        ("password: string", "password: string"),
        ('import "strings"\npassword: strings.Join', 'import "strings"\npassword: strings.Join'),
        ('import s "strings"\npassword: s.Join', 'import s "strings"\npassword: s.Join'),
        ("password: [ for k, v in {} {k}]", "password: [ for k, v in {} {k}]"),
        ("password: {a: 1}.a", "password: {a: *}.a"),
        ('["password"]: "hunter2"', '["password"]: "*******"'),
        ('("pass" + "word"): "hunter2"', '("pass" + "word"): "*******"'),
        ('a: "signkey-test-a1b2"', 'a: "*****************"'),
        ("a: 1 // password: hunter2, x", "a: 1 // password* *******, *"),
        ("a: 1 // see redis://u:hunter2@h", "a: 1 // see *******************"),
        ("a: 1 // nothing here", "a: 1 // nothing here"),
        ('password: """\n\thunter2\n\t"""', 'password: """\n\t*******\n\t"""'),
    ],
)
def test_secrets_of_a_document_are_overwritten(text: str, masked: str) -> None:
    assert shown(text) == masked


@pytest.mark.parametrize("text", ['password: "${PW}"', 'password: "$PW"', "password: $PW"])
def test_references_to_variables_stay_readable(text: str) -> None:
    assert shown(text, {"PW": '"hunter2"' if text.endswith("$PW") else "hunter2"}) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('password: "hunter2" }', 'password: "*******" }'),
        ('{"password": "hunter2"', '{"password": "*******"'),
        ('password: "hunter2\nhost: "h"', 'password: "*******\nhost: "h"'),
        (
            'keys: {\nsigning_keys: ["a",\n"hunter2"]\nhost: )',
            'keys: {\nsigning_keys: ["*",\n"*******"]\nhost: )',
        ),
        ('signing_keys: ["hunter2",\n"b"', 'signing_keys: ["*******",\n"*"'),
        ('password: """\n\thunter2\n\t"""\nhost: )', 'password: """\n\t*******\n\t"""\nhost: )'),
        ("log: level: )", "log: level: )"),
        ('["password"]: "hunter2" }', '["password"]: "*******" }'),
        ("a: ) // pw hunter2", "a: ) // pw *******"),
        ('token: "hunter2" }', 'token: "*******" }'),
    ],
)  # fmt: skip
def test_secrets_of_a_document_that_cannot_be_parsed_are_overwritten(
    text: str, masked: str
) -> None:
    assert shown(text) == masked


@pytest.mark.parametrize(
    ("text", "environment"),
    [
        ('password: "hunter2"', {}),
        ('password: "${PW}"', {"PW": "hunter2"}),
        ('_p: "hunter2"\npassword: _p', {}),
        ('password: "hunter2" }', {}),
        ("password: hunter2", {}),
    ],
)
def test_a_message_does_not_tell_a_documents_secrets(
    text: str, environment: dict[str, str]
) -> None:
    expansion = expand(text, environment)
    try:
        file = parse(Source("x", expansion.text))
    except CueError:
        file = None
    secrets = secret_texts(expansion, file)
    message = f'conflicting values "{SECRET}" and 5'
    assert SECRET not in masked_message(message, secrets)


def test_a_short_secret_is_masked_where_it_is_quoted_only() -> None:
    assert masked_message('"in" is not in ["in"]', ["in"]) == '"********" is not in ["********"]'


def test_a_message_without_secrets_stays_as_it_is() -> None:
    assert masked_message("conflicting values 1 and 2", [SECRET]) == "conflicting values 1 and 2"


@pytest.mark.parametrize(
    "text",
    [
        'service: "redis://user:hunter2@host:6379/0"',
        'service: ["rediss://:hunter2@host"]',
        'dns: "redis://user:hunter2@\\(host)"\nhost: "h"',
        'service: "redis://user:hunter2@host" }',
    ],
)
def test_a_url_with_a_password_does_not_show_whatever_it_is_called(text: str) -> None:
    assert SECRET not in shown(text)


def test_a_message_does_not_tell_a_url_with_a_password() -> None:
    expansion = expand('service: "redis://user:hunter2@host"', {})
    secrets = secret_texts(expansion, parse(Source("x", expansion.text)))
    assert masked_message('"redis://user:hunter2@host": expected 5', secrets) == (
        f"{MASK}: expected 5"
    )


@pytest.mark.parametrize("url", ["redis://host:6379/0", "http://host/a:b@c", "http://h:80/a@b"])
def test_a_url_without_a_password_shows(url: str) -> None:
    text = f'service: "{url}"'
    assert shown(text) == text


def test_the_error_of_documents_shows_none_of_their_secrets() -> None:
    sound, broken = Source("a", 'password: "hunter2"'), Source("b", 'pw: "hunter3" }')
    fault = Fault(
        FaultKind.EVALUATION,
        'conflicting values "hunter2" and "hunter3"',
        ("password",),
        (Span(sound, 10, 19), Span(broken, 4, 13)),
    )
    [shown] = masked_error(CueError([fault])).faults
    assert shown.message == f'conflicting values {MASK} and "{MASK}"'
    assert [span.source.text for span in shown.spans] == [
        'password: "*******"',
        'pw: "*******" }',
    ]
    assert [tuple(map(str, (span.source.name, *span[1:]))) for span in shown.spans] == [
        ("a", "10", "19"),
        ("b", "4", "13"),
    ]


def test_an_error_without_places_stays_as_it_is() -> None:
    fault = Fault(FaultKind.BUDGET, "too many steps")
    assert masked_error(CueError([fault])).faults == (fault,)


def test_the_value_of_a_variable_named_like_a_secret_is_one_anywhere() -> None:
    expansion = expand("host: $DB_PASSWORD, addr: $ADDR", {"DB_PASSWORD": "hunter2", "ADDR": "h"})
    assert secret_texts(expansion, None) == {SECRET}


def test_a_text_with_escapes_is_a_secret_as_it_reads_too() -> None:
    expansion = expand(r'password: "hunter\u0032"', {})
    file = parse(Source("x", expansion.text))
    assert SECRET in secret_texts(expansion, file)


def test_a_short_secret_is_masked_within_any_quotes() -> None:
    assert masked_message("""'abc' or "abc", abc""", ["abc"]) == f"""'{MASK}' or "{MASK}", abc"""


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("hunter2", MASK),
        ("x-hunter2", f"x-{MASK}"),
        (["a", "hunter2"], ["a", MASK]),
        (1234, MASK),
        (Decimal("1.5"), MASK),
        (True, True),
        (None, None),
        ("ab", MASK),
        ("abc", "abc"),
        ("redis://u:x@h", f"redis://u:{MASK}@h"),
    ],
)
def test_a_value_is_shown_without_secrets(value: object, shown: object) -> None:
    assert masked_value(value, {SECRET, "1234", "1.5", "True", "ab"}) == shown
