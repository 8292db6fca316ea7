"""The list of functions that a worker registers."""

import datetime
import json
import time
import warnings
from typing import Any

import inngest
import pydantic_core
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from connect.config.functions import (
    CronTrigger,
    EventTrigger,
    FunctionConfigError,
    FunctionFault,
    RegisteredFunction,
    TooManyFunctions,
    max_attempts,
    parse_functions,
)


def definition(**settings: Any) -> dict[str, Any]:
    """Return what SDKs send for a function, with some settings changed or added."""
    step = {
        "id": "step",
        "name": "step",
        "runtime": {"type": "ws", "url": "wss://connect?fnId=app-fn&stepId=step"},
    }
    good = {"id": "app-fn", "name": "Fn", "triggers": [], "steps": {"step": step}}
    return good | settings


def step(**settings: Any) -> dict[str, Any]:
    return {"step": {"id": "step", **settings}}


def parse(*definitions: object) -> tuple[RegisteredFunction, ...]:
    return parse_functions(json.dumps(definitions).encode())


def faults(data: bytes) -> list[str]:
    """Return what is wrong with a list, as text."""
    with pytest.raises(FunctionConfigError) as caught:
        parse_functions(data)
    return [str(fault) for fault in caught.value.faults]


def sdk_functions(*, exclude_none: bool) -> bytes:
    """Return the bytes that the Python SDK sends for a function with every setting."""
    client = inngest.Inngest(app_id="app", is_production=False)

    async def handler(ctx: inngest.Context) -> None: ...

    function = client.create_function(
        fn_id="fn",
        name="Everything",
        retries=2,
        trigger=[
            inngest.TriggerEvent(event="app/made", expression="event.data.n > 1"),
            inngest.TriggerCron(cron="TZ=Europe/Berlin 0 12 * * MON-FRI", jitter="30s"),
        ],
        batch_events=inngest.Batch(max_size=10, timeout=5000, key="event.data.k"),
        cancel=[inngest.Cancel(event="app/ended", timeout=datetime.timedelta(days=14))],
        concurrency=[inngest.Concurrency(limit=3, scope="env", key="'a'")],
        debounce=inngest.Debounce(period=1000, timeout=2000),
        idempotency="event.data.id",
        on_failure=handler,
        priority=inngest.Priority(run="100"),
        rate_limit=inngest.RateLimit(limit=1, period=60_000),
        singleton=inngest.Singleton(mode="skip"),
        throttle=inngest.Throttle(limit=3, period=datetime.timedelta(hours=36)),
        timeouts=inngest.Timeouts(start=10_000, finish=20_000),
    )(handler)
    with warnings.catch_warnings():  # the SDK defines its models in a deprecated way
        warnings.simplefilter("ignore", DeprecationWarning)
        from inngest._internal import comm_lib

    configs = comm_lib.get_function_configs("wss://connect", {function.id: function})
    return pydantic_core.to_json(configs, exclude_none=exclude_none)


def test_an_empty_list_is_an_app_without_functions() -> None:
    assert parse_functions(b" [ ] ") == ()


def test_what_the_python_sdk_sends_is_read() -> None:
    data = sdk_functions(exclude_none=True)

    main, failure = parse_functions(data)

    assert main == RegisteredFunction(
        slug="app-fn",
        name="Everything",
        triggers=(
            EventTrigger("app/made", "event.data.n > 1"),
            CronTrigger("TZ=Europe/Berlin 0 12 * * MON-FRI", "30s"),
        ),
        max_attempts=3,
        definition=json.loads(data)[0],
    )
    assert (failure.slug, failure.max_attempts) == ("app-fn-failure", 1)


def test_settings_that_are_null_count_as_absent() -> None:
    functions = parse_functions(sdk_functions(exclude_none=False))
    assert [function.slug for function in functions] == ["app-fn", "app-fn-failure"]


@pytest.mark.parametrize(
    "settings",
    [
        {"concurrency": 5},
        {"concurrency": {"limit": 5, "key": "event.data.k", "scope": "account"}},
        {"concurrency": [{"limit": 0}, {"limit": 5}]},
        {"throttle": {"count": 1, "period": "1m"}},
        {"throttle": {"limit": 1, "period": "1w2d", "key": "k", "burst": 2}},
        {"cancel": [{"event": "e", "timeout": "2030-01-02T03:04:05.678Z"}]},
        {"cancel": [{"event": "e", "timeout": "1h30m", "if": "event.a == async.a"}]},
        {"checkpoint": True},
        {"checkpoint": {"maxRuntime": "10s"}},
        {"singleton": {"key": "event.data.k", "mode": "cancel"}},
        {"something": ["new", {"of": 1.5}]},
        {"steps": None},
        {"steps": {}},
        {"steps": step(retries=None, runtime=None)},
        {"triggers": [{"event": "e", "definition": {"format": "cue"}}]},
        {"triggers": [{"cron": "*/5 * * * *"}]},
        {"triggers": [{"cron": "0 */5 * * * ?"}]},
        {"triggers": [{"cron": "CRON_TZ=UTC 0 0 1-7,15 JAN-MAR 5#2"}]},
        {"triggers": [{"cron": "@daily"}]},
    ],
    ids=str,
)
def test_every_optional_setting_is_accepted_and_kept(settings: dict[str, Any]) -> None:
    (function,) = parse(definition(**settings))
    assert function.definition == definition(**settings)


def test_a_function_without_a_name_is_named_by_its_slug() -> None:
    (function,) = parse({"id": "app-fn", "triggers": []})
    assert function.name == "app-fn"


@pytest.mark.parametrize(
    ("steps", "attempts"),
    [
        (None, 4),
        ({}, 4),
        (step(), 4),
        (step(retries={}), 4),
        (step(retries={"attempts": None}), 4),
        (step(retries={"attempts": 0}), 1),
        (step(retries={"attempts": 20}), 21),
        ({"first": {"id": "first", "retries": {"attempts": 1}}, "second": {"id": "second"}}, 2),
        ({"first": {"id": "first", "retries": {"attempts": 1}}, **step()}, 4),
    ],
    ids=str,
)
def test_the_attempts_come_from_the_steps_retries(steps: object, attempts: int) -> None:
    (function,) = parse(definition(steps=steps))
    assert function.max_attempts == max_attempts(function.definition) == attempts


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"[", "not JSON: Expecting value: line 1 column 2 (char 1)"),
        (b"{}", "an object; expected a list of functions"),
        (b"null", "null; expected a list of functions"),
        (b'"[]"', "a string; expected a list of functions"),
        (b"1.5", "a number; expected a list of functions"),
        (b"true", "a boolean; expected a list of functions"),
        (b"[NaN]", "not JSON: NaN is no JSON number"),
        (b"[-Infinity]", "not JSON: -Infinity is no JSON number"),
        (b'["\xff"]', "not UTF-8 at byte 2"),
        ("[]".encode("utf-16"), "not UTF-8 at byte 0"),
        (b"[" * 100_000, "nested deeper than 64 levels"),
        (b"[[]]", "#1: a list; expected an object"),
        (b"[null]", "#1: null; expected an object"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_list_of_objects_is_refused(data: bytes, fault: str) -> None:
    assert faults(data) == [fault]


def test_a_number_of_too_many_digits_is_refused() -> None:
    (fault,) = faults(b"[" + b"1" * 5000 + b"]")
    assert fault.startswith("not JSON: Exceeds the limit")


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"id": None}, "#1: id: missing; expected a string"),
        ({"id": ""}, "#1: id: an empty string"),
        ({"id": 5}, "#1: id: a number; expected a string"),
        ({"name": 5}, "app-fn: name: a number; expected a string"),
        ({"idempotency": []}, "app-fn: idempotency: a list; expected a string"),
        ({"triggers": None}, "app-fn: triggers: null; expected a list of objects"),
        ({"triggers": {}}, "app-fn: triggers: an object; expected a list of objects"),
        ({"triggers": ["e"]}, "app-fn: triggers[0]: a string; expected an object"),
        (
            {"triggers": [{}]},
            "app-fn: triggers[0]: expected either an event or a cron; found neither",
        ),
        (
            {"triggers": [{"event": "e", "cron": "* * * * *"}]},
            "app-fn: triggers[0]: expected either an event or a cron; found both",
        ),
        ({"triggers": [{"event": ""}]}, "app-fn: triggers[0].event: an empty string"),
        (
            {"triggers": [{"event": "e", "expression": 1}]},
            "app-fn: triggers[0].expression: a number; expected a string",
        ),
        (
            {"triggers": [{"cron": []}]},
            "app-fn: triggers[0].cron: a list; expected a string",
        ),
        (
            {"triggers": [{"event": "e"}, {"cron": "* * * *"}]},
            "app-fn: triggers[1].cron: 4 fields; expected 5 or 6, such as '*/5 * * * *'",
        ),
        (
            {"triggers": [{"cron": "TZ=UTC"}]},
            "app-fn: triggers[0].cron: no fields; expected 5 or 6, such as '*/5 * * * *'",
        ),
        (
            {"triggers": [{"cron": "* * $ * *"}]},
            "app-fn: triggers[0].cron: '$' is no field of a cron expression",
        ),
        (
            {"triggers": [{"cron": "@sometimes"}]},
            "app-fn: triggers[0].cron: '@sometimes' is no name of a schedule; expected @yearly, "
            "@annually, @monthly, @weekly, @daily, @midnight, @hourly or '@every 1h'",
        ),
        (
            {"triggers": [{"cron": "* * * * *", "jitter": "5"}]},
            "app-fn: triggers[0].jitter: no unit after 5; "
            "expected something like 10s, 1h30m, 500ms or 7d",
        ),
        (
            {"triggers": [{"cron": "0 0 31 2 *"}]},
            "app-fn: triggers[0].cron: the day '31' never comes in the month '2'",
        ),
        (
            {"triggers": [{"event": "e", "expression": "event.data.n >"}]},
            "app-fn: triggers[0].expression: syntax error at line 1, column 15: unexpected end",
        ),
        (
            {"triggers": [{"event": "a*b"}]},
            "app-fn: triggers[0].event: a star may only end a pattern, as in 'shop/order.*'",
        ),
        (
            {
                "steps": {
                    key: {"id": key, "after": [{"step": after}]} for key, after in ("ab", "ba")
                }
            },
            "app-fn: steps.a.after[0].step: steps form a cycle: a → b → a",
        ),
        ({"steps": []}, "app-fn: steps: a list; expected an object"),
        ({"steps": {"step": None}}, "app-fn: steps.step: null; expected an object"),
        ({"steps": {"step": 5}}, "app-fn: steps.step: a number; expected an object"),
        ({"steps": {"step": {}}}, "app-fn: steps.step.id: missing; expected a string"),
        (
            {"steps": {"a": {"id": "b"}}},
            "app-fn: steps.a.id: 'b'; expected the step's key, 'a'",
        ),
        ({"steps": step(name=1)}, "app-fn: steps.step.name: a number; expected a string"),
        (
            {"steps": step(runtime={"type": "http"})},
            "app-fn: steps.step.runtime.url: missing; expected a string",
        ),
        (
            {"steps": step(runtime={"url": "u"})},
            "app-fn: steps.step.runtime.type: missing; expected a string",
        ),
        (
            {"steps": step(retries={"attempts": 21})},
            "app-fn: steps.step.retries.attempts: 21; expected a whole number from 0 to 20",
        ),
        (
            {"steps": step(retries={"attempts": -1})},
            "app-fn: steps.step.retries.attempts: -1; expected a whole number from 0 to 20",
        ),
        (
            {"steps": step(retries={"attempts": 1.5})},
            "app-fn: steps.step.retries.attempts: 1.5; expected a whole number from 0 to 20",
        ),
        (
            {"steps": step(retries={"attempts": True})},
            "app-fn: steps.step.retries.attempts: a boolean; expected a whole number from 0 to 20",
        ),
        ({"concurrency": -1}, "app-fn: concurrency: -1; expected a whole number of 0 or more"),
        (
            {"concurrency": 2.5},
            "app-fn: concurrency: 2.5; expected a whole number of 0 or more",
        ),
        (
            {"concurrency": "5"},
            "app-fn: concurrency: a string; expected a whole number of 0 or more",
        ),
        (
            {"concurrency": [{"limit": 1}, {}]},
            "app-fn: concurrency[1].limit: missing; expected a whole number of 0 or more",
        ),
        (
            {"concurrency": {"limit": 1, "scope": "world"}},
            "app-fn: concurrency.scope: 'world'; expected fn or env or account",
        ),
        ({"throttle": {}}, "app-fn: throttle.period: missing; expected a string"),
        (
            {"throttle": {"limit": 0, "period": "1s"}},
            "app-fn: throttle.limit: 0; expected a whole number of 1 or more",
        ),
        (
            {"rateLimit": {"period": "1s"}},
            "app-fn: rateLimit.limit: missing; expected a whole number of 1 or more",
        ),
        (
            {"rateLimit": {"limit": 1, "period": 60}},
            "app-fn: rateLimit.period: a number; expected a string",
        ),
        (
            {"debounce": {"period": "5"}},
            "app-fn: debounce.period: no unit after 5; "
            "expected something like 10s, 1h30m, 500ms or 7d",
        ),
        (
            {"batchEvents": {"timeout": "-1s"}},
            "app-fn: batchEvents.timeout: no number at '-1s'; "
            "expected something like 10s, 1h30m, 500ms or 7d",
        ),
        (
            {"timeouts": {"start": ""}},
            "app-fn: timeouts.start: an empty duration; "
            "expected something like 10s, 1h30m, 500ms or 7d",
        ),
        ({"priority": {"run": 1}}, "app-fn: priority.run: a number; expected a string"),
        (
            {"singleton": {"mode": "stop"}},
            "app-fn: singleton.mode: 'stop'; expected skip or cancel",
        ),
        ({"cancel": {}}, "app-fn: cancel: an object; expected a list of objects"),
        ({"cancel": [{}]}, "app-fn: cancel[0].event: missing; expected a string"),
        (
            {"cancel": [{"event": "e", "timeout": "2030-01-02T03:04:05"}]},
            "app-fn: cancel[0].timeout: unknown unit '-'; units are w, d, h, m, s, ms, us and ns; "
            "expected something like 10s, 1h30m, 500ms or 7d",
        ),
        (
            {"cancel": [{"event": "e", "timeout": "To be told"}]},
            "app-fn: cancel[0].timeout: no number at 'To be told'; "
            "expected something like 10s, 1h30m, 500ms or 7d",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_fault_names_function_path_and_reason(settings: dict[str, Any], fault: str) -> None:
    assert faults(json.dumps([definition(**settings)]).encode()) == [fault]


def test_a_list_of_triggers_is_required() -> None:
    assert faults(b'[{"id": "a"}]') == ["a: triggers: missing; expected a list of objects"]


def test_two_functions_must_not_have_one_id() -> None:
    data = json.dumps([definition(), definition(id="other"), definition()]).encode()
    assert faults(data) == ["app-fn: id: another function of the list has the same id"]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"9007199254740992", "x: an integer beyond 9007199254740991, which JSON cannot keep"),
        (
            b"[1, -9007199254740992]",
            "x[1]: an integer beyond 9007199254740991, which JSON cannot keep",
        ),
        (b'{"y": [{"z": 1e999}]}', "x.y[0].z: a number too large to express"),
        (rb'["\ud800"]', "x[0]: half of a surrogate pair, which is no text"),
        (rb'{"\udc00": 1}', "x: a key with half of a surrogate pair, which is no text"),
        (
            b"[" * 70 + b"]" * 70,
            "x" + "[0]" * 19 + "[0…: nested deeper than 64 levels",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_canonical_json_cannot_express_is_refused(data: bytes, fault: str) -> None:
    assert faults(b'[{"id": "a", "triggers": [], "x": ' + data + b"}]") == [f"a: {fault}"]


def test_every_fault_of_every_function_is_found() -> None:
    data = [
        definition(id="a", name=1, throttle={"period": "x", "limit": 0}),
        5,
        definition(id="b", triggers=[{}, {"event": "e"}, {"cron": "now"}]),
    ]
    with pytest.raises(FunctionConfigError) as caught:
        parse(*data)
    assert [(fault.function, fault.path) for fault in caught.value.faults] == [
        ("a", "name"),
        ("a", "throttle.period"),
        ("a", "throttle.limit"),
        ("#2", ""),
        ("b", "triggers[0]"),
        ("b", "triggers[2].cron"),
    ]


def test_a_fault_has_its_path_as_keys_too() -> None:
    with pytest.raises(FunctionConfigError) as caught:
        parse(definition(x={"a": [2**60]}, steps=step(retries={"attempts": -1})))
    assert [fault.keys for fault in caught.value.faults] == [
        ("x", "a", 0),
        ("steps", "step", "retries", "attempts"),
    ]


def test_compiling_what_a_worker_sends_is_bounded() -> None:
    expression = "!" * 3996 + "true"
    triggers = [{"event": f"e{n}", "expression": expression + " " * n} for n in range(96)]
    many = [definition(id=f"app-{n}", triggers=triggers) for n in range(10)]

    began = time.process_time()
    with pytest.raises(FunctionConfigError) as caught:
        parse(*many)

    assert time.process_time() - began < 5
    assert {fault.reason for fault in caught.value.faults} == {
        "not checked: the functions before it have too many expressions and crons"
    }


def test_a_large_app_is_within_the_bound() -> None:
    triggers = [
        {"event": "e", "expression": "event.data.kind == 'a kind of thing that has a name'"},
        {"cron": "TZ=Europe/Berlin 0 12 * * MON-FRI"},
    ]
    assert len(parse(*(definition(id=f"app-{n}", triggers=triggers) for n in range(1000)))) == 1000


def test_the_text_of_the_error_tells_its_faults() -> None:
    error = FunctionConfigError(
        [FunctionFault("a", "name", "a number"), FunctionFault("#2", "", "null")]
    )
    assert str(error) == "a: name: a number; #2: null"


def test_the_text_of_many_faults_is_bounded() -> None:
    with pytest.raises(FunctionConfigError) as caught:
        parse(*range(5000))
    text = str(caught.value)
    assert len(caught.value.faults) == 1000
    assert text.endswith("#20: a number; expected an object; and 980 more")


def test_faults_beyond_the_bound_still_count_as_faults() -> None:
    bad_steps = definition(steps=step(retries={"attempts": "x"}))
    with pytest.raises(FunctionConfigError):
        parse(*range(1000), bad_steps)


def test_what_a_fault_quotes_is_short_and_can_be_sent() -> None:
    steps = {"k" * 10_000: {"id": "\ud800" * 10_000}}
    with pytest.raises(FunctionConfigError) as caught:
        parse(definition(id="i" * 10_000, steps=steps))
    assert len(str(caught.value).encode()) < 2000


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(["1s", "e", "* * * * *", "step"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "event", "cron", "limit", "period", "retries", "timeout", "step"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)
settings_values = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ["id", "name", "triggers", "steps", "cancel", "throttle", "concurrency", "timeouts", "x"],
        json_values,
    ),
)


@given(settings_values)
def test_any_definition_is_read_or_refused_and_what_is_read_has_a_canonical_form(
    settings: dict[str, Any],
) -> None:
    data = json.dumps([definition(**settings)]).encode()
    try:
        (function,) = parse_functions(data)
    except FunctionConfigError:
        return
    assert 1 <= function.max_attempts <= 21
    assert rfc8785.dumps(json.loads(data))


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parse_functions(data)
    except FunctionConfigError:
        return


def test_more_functions_than_there_may_be_are_not_even_checked() -> None:
    with pytest.raises(TooManyFunctions, match=r"^3 functions; 2 may be$"):
        parse_functions(b'[1, "x", {}]', most=2)


def test_as_many_functions_as_there_may_be_are_read() -> None:
    data = json.dumps([definition(id="app-a"), definition(id="app-b")]).encode()
    assert len(parse_functions(data, most=2)) == 2
