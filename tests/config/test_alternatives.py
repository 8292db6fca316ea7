"""Values that fit none of a definition's alternatives: what is said of them."""

import pytest

from connect.config.cue import CueError
from connect.config.cue.source import Source
from connect.config.finding import Document, DocumentRule
from connect.config.function_files import evaluate_function
from connect.config.loader import decode_configuration, evaluate_configuration


def configuration_faults(text: str) -> list[str]:
    """Return what is told of a configuration, as path and message."""
    document = Document("c.cue", text, DocumentRule.EXPLICIT)
    with pytest.raises(CueError) as error:
        decode_configuration(evaluate_configuration(document, environment={}))
    return _told(error.value)


def function_faults(text: str) -> list[str]:
    """Return what is told of a function, as path and message."""
    with pytest.raises(CueError) as error:
        evaluate_function(Source("f.cue", text))
    return _told(error.value)


def _told(error: CueError) -> list[str]:
    return [f"{'.'.join(map(str, fault.path))}: {fault.message}" for fault in error.faults]


def trigger(text: str) -> list[str]:
    return function_faults(f'function: {{id: "f", name: "n", triggers: [{text}]}}')


FOUR = (
    '{backend: "inmemory", …}, {backend: "nats", …}, {backend: "gcp-pubsub", …}'
    ' or {backend: "aws-sqs", …}'
)
TWO = "{event: string, …} or {cron: string, …}"

CONFIGURATIONS = {
    "a name among several": (
        '{log: level: "chatty"}',
        ['log.level: "chatty": expected "trace", "debug", "info", "warn" or "error"'],
    ),
    "a misspelt name": (
        '{log: level: "debgu"}',
        [
            'log.level: "debgu": expected "trace", "debug", "info", "warn" or "error";'
            ' did you mean "debug"?'
        ],
    ),
    "a name of a list": (
        '{connect: roles: ["gatway"]}',
        [
            'connect.roles.0: "gatway": expected "api", "executor" or "gateway";'
            ' did you mean "gateway"?'
        ],
    ),
    "a misspelt backend": (
        '{queue: service: {backend: "rediss", host: "h"}}',
        [
            'queue.service.backend: "rediss": expected "inmemory", "aws-sqs" or "redis";'
            ' did you mean "redis"?'
        ],
    ),
    "a backend of the wrong type": (
        "{queue: service: backend: 5}",
        ['queue.service.backend: 5: expected "inmemory", "aws-sqs" or "redis"'],
    ),
    "a misspelt field of the backend that is named": (
        '{queue: service: {backend: "redis", hostt: "h"}}',
        ['queue.service.hostt: field not allowed: hostt; did you mean "host"?'],
    ),
    "every fault of the backend that is named": (
        '{state: service: {backend: "redis", db: -1, port: 70000}}',
        [
            "state.service.db: invalid value -1 (out of bound >=0)",
            "state.service.port: invalid value 70000 (out of bound <=65535)",
        ],
    ),
    "a misspelt field of a backend that is not named": (
        '{datastore: service: URL: "x"}',
        ['datastore.service.URL: field not allowed: URL; did you mean "URI"?'],
    ),
    "what several backends have": (
        '{eventstream: service: {topic: "jobs"}}',
        [f"eventstream.service: not enough is given to tell what is meant: expected {FOUR}"],
    ),
    "what no two backends have together": (
        '{eventstream: service: {project: "p", serverURL: "u"}}',
        [f"eventstream.service: project and serverURL don't go together; expected {FOUR}"],
    ),
    "what no backend has": (
        "{eventstream: service: {zzz: 1}}",
        [f"eventstream.service: field not allowed: zzz; expected {FOUR}"],
    ),
    "no struct": (
        "{state: service: null}",
        ['state.service: null: expected {backend: "inmemory"} or {backend: "redis", …}'],
    ),
    "a bound with a default": (
        "{eventAPI: port: 99999}",
        ["eventAPI.port: invalid value 99999 (out of bound <=65535)"],
    ),
    "a conflict of the document itself": (
        '{log: {level: "debug"}, log: {level: "warn"}}',
        ['log.level: conflicting values "debug" and "warn"'],
    ),
    "a misspelt field of a driver by its key": (
        "{execution: drivers: http: timeot: 5}",
        ['execution.drivers.http.timeot: field not allowed: timeot; did you mean "timeout"?'],
    ),
    "several drivers": (
        '{execution: drivers: {a: name: "htp", b: {name: "mock", timeout: 3}}}',
        [
            'execution.drivers.a.name: "htp": expected "mock", "http" or "connect";'
            ' did you mean "http"?',
            "execution.drivers.b.timeout: field not allowed: timeout",
        ],
    ),
    "a driver without its name": (
        "{execution: drivers: custom: {}}",
        [
            "execution.drivers.custom: not enough is given to tell what is meant: expected"
            ' {name: "mock", …}, {name: "http", …} or {name: "connect"}'
        ],
    ),
    "a document that unifies with the definition itself": (
        'import c "inngest.com/defs/config"\nconfig: c.#Config & {queue: service: backend: "x"}',
        ['queue.service.backend: "x": expected "inmemory", "aws-sqs" or "redis"'],
    ),
    "a document that does so by another name": (
        'import "inngest.com/defs/config"\nlet C = config.#Config\n'
        'config: {queue: service: backend: "x"} & {log: {}} & C',
        [
            "queue.service: none of 4 alternatives fits:\n"
            '  backend: conflicting values "x" and "inmemory"\n'
            '  backend: conflicting values "x" and "aws-sqs"\n'
            '  backend: conflicting values "x" and "redis"'
        ],
    ),
    "a document that embeds the definition": (
        'import c "inngest.com/defs/config"\nconfig: {c.#Config, queue: service: backend: "x"}',
        ['queue.service.backend: "x": expected "inmemory", "aws-sqs" or "redis"'],
    ),
    "a document that names the definition elsewhere": (
        'import c "inngest.com/defs/config"\nconfig: c.#Config\n'
        'config: queue: service: backend: "x"',
        ['queue.service.backend: "x": expected "inmemory", "aws-sqs" or "redis"'],
    ),
    "a field config that is not unified": (
        'config: queue: service: backend: "x"',
        ['queue.service.backend: "x": expected "inmemory", "aws-sqs" or "redis"'],
    ),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_configuration_is_told_what_would_be_right(name: str) -> None:
    text, expected = CONFIGURATIONS[name]
    assert configuration_faults(text) == expected


TRIGGERS = {
    '{evnt: "a"}': ['function.triggers.0.evnt: field not allowed: evnt; did you mean "event"?'],
    '{event: "a", expresion: "x"}': [
        'function.triggers.0.expresion: field not allowed: expresion; did you mean "expression"?'
    ],
    "{event: 5}": [
        "function.triggers.0.event: conflicting values 5 and string"
        " (mismatched types int and string)"
    ],
    '{event: "a", cron: "* * * * *"}': [
        f"function.triggers.0: event and cron don't go together; expected {TWO}"
    ],
    "{}": [f"function.triggers.0: not enough is given to tell what is meant: expected {TWO}"],
    '"a"': [f'function.triggers.0: "a": expected {TWO}'],
    '{event: "a", definition: {format: "json", synced: true, def: 5}}': [
        'function.triggers.0.definition.format: "json": expected "cue" or "json-schema";'
        ' did you mean "json-schema"?',
        "function.triggers.0.definition.def: 5: expected string or {...}",
    ],
}


@pytest.mark.parametrize("text", TRIGGERS)
def test_a_trigger_is_told_what_would_be_right(text: str) -> None:
    assert trigger(text) == TRIGGERS[text]


def test_a_misspelt_required_field_is_one_fault() -> None:
    text = 'function: {id: "f", name: "n", steps: a: after: [{stp: "x"}]}'
    assert function_faults(text) == [
        'function.steps.a.after.0.stp: field not allowed: stp; did you mean "step"?'
    ]


def test_a_struct_may_have_a_field_of_that_name_too() -> None:
    text = '{config: {}, queue: service: backend: "x"}'
    assert configuration_faults(text) == [
        "config: field not allowed: config",
        'queue.service.backend: "x": expected "inmemory", "aws-sqs" or "redis"',
    ]


def test_a_misspelt_required_field_is_one_fault_without_alternatives_too() -> None:
    text = 'function: {id: "f", nme: "n"}'
    assert function_faults(text) == ['function.nme: field not allowed: nme; did you mean "name"?']


def test_what_is_right_elsewhere_stays_unmentioned() -> None:
    text = 'function: {id: "f", triggers: [{event: 5}, {event: "e"}]}'
    assert [fault.partition(":")[0] for fault in function_faults(text)] == [
        "function.name",
        "function.triggers.0.event",
    ]


def test_a_document_that_needs_its_definition_keeps_the_faults_of_the_language() -> None:
    text = '{id: "f", name: "n", triggers: [{evnt: "a"}], steps: a: defs.#Step}'
    [fault] = function_faults(text)
    assert fault.startswith("triggers.0: none of 2 alternatives fits")


def test_what_is_not_known_yet_is_not_compared() -> None:
    [fault] = configuration_faults('{eventstream: service: {topic: "t", backend: string}}')
    assert fault.startswith("eventstream.service: incomplete value: 4 values are possible")


def test_a_field_that_nearly_is_config_is_told_so() -> None:
    assert configuration_faults('confg: log: level: "debug"') == [
        'confg: field not allowed: confg; did you mean "config"?'
    ]


def test_what_a_misspelt_definition_leaves_open_waits_until_that_is_mended() -> None:
    text = 'import "inngest.com/defs/v1"\nfunction: v1.#Funtion & {triggers: [{event: "e"}]}'
    assert function_faults(text) == [
        'function: undefined field: #Funtion; did you mean "#Function"?'
    ]
