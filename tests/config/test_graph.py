"""Pictures of a function's steps."""

from typing import Any

from connect.config.definitions import Function
from connect.config.graph import Charset, dot_graph, mermaid_graph, terminal_graph


def made(
    steps: dict[str, list[dict[str, Any]]], *triggers: dict[str, Any], name: str = ""
) -> Function:
    return Function.from_json(
        {
            "id": "order",
            "name": name,
            "triggers": list(triggers),
            "steps": {key: {"id": key, "after": after} for key, after in steps.items()},
        }
    )


ORDER = made(
    {
        "ship": [
            {"step": "charge", "wait": "1h"},
            {
                "step": "pack",
                "async": {"ttl": "1d", "event": "shop/hold", "match": "async.data.id == 1",
                          "onTimeout": True},
            },
        ],
        "charge": [{"step": "reserve", "if": "steps.reserve.ok"}],
        "pack": [{"step": "charge"}],
        "reserve": [],
        "bill": [{"step": "ship", "async": {"ttl": "1d", "event": "shop/paid"}}],
        "notify": [{"step": "$trigger", "if": 'event.data.mail != "<none>"'}],
    },
    {"event": "shop/order.*", "expression": "event.data.total > 0"},
    {"cron": "0 9 * * MON", "jitter": "30s"},
    {"cron": "@daily"},
    name="Order fulfilment",
)  # fmt: skip


def test_the_terminal_shows_a_tree() -> None:
    assert (
        terminal_graph(ORDER)
        == """\
order  (Order fulfilment)
◇ on shop/order.* if event.data.total > 0
◇ at 0 9 * * MON, up to 30s later
◇ at @daily
│
├─▶ reserve
│   └─▶ charge  [if steps.reserve.ok]
│       ├─▶ pack
│       │   └─▶ ship  [no shop/hold within 1d where async.data.id == 1]  + charge [wait 1h]
│       │       └─▶ bill  [shop/paid within 1d]
│       └─▶ ship  (drawn under pack)
└─▶ notify  [if event.data.mail != "<none>"]
"""
    )


def test_a_terminal_without_unicode_shows_the_same_tree() -> None:
    assert (
        terminal_graph(ORDER, Charset.ASCII)
        == """\
order  (Order fulfilment)
* on shop/order.* if event.data.total > 0
* at 0 9 * * MON, up to 30s later
* at @daily
|
|-> reserve
|   `-> charge  [if steps.reserve.ok]
|       |-> pack
|       |   `-> ship  [no shop/hold within 1d where async.data.id == 1]  + charge [wait 1h]
|       |       `-> bill  [shop/paid within 1d]
|       `-> ship  (drawn under pack)
`-> notify  [if event.data.mail != "<none>"]
"""
    )


def test_mermaid_shows_a_flowchart() -> None:
    assert (
        mermaid_graph(ORDER)
        == """\
flowchart TD
    trigger(["on shop/order.* if event.data.total #gt; 0<br/>\
at 0 9 * * MON, up to 30s later<br/>at @daily"])
    step1["ship"]
    step2["charge"]
    step3["pack"]
    step4["reserve"]
    step5["bill"]
    step6["notify"]
    step2 -->|"wait 1h"| step1
    step3 -->|"no shop/hold within 1d where async.data.id == 1"| step1
    step4 -->|"if steps.reserve.ok"| step2
    step2 --> step3
    trigger --> step4
    step1 -->|"shop/paid within 1d"| step5
    trigger -->|"if event.data.mail != #quot;#lt;none#gt;#quot;"| step6
"""
    )


def test_dot_shows_a_directed_graph() -> None:
    assert (
        dot_graph(ORDER)
        == """\
digraph "order" {
    node [shape=box];
    trigger [label="on shop/order.* if event.data.total > 0\\n\
at 0 9 * * MON, up to 30s later\\nat @daily", shape=ellipse];
    step1 [label="ship"];
    step2 [label="charge"];
    step3 [label="pack"];
    step4 [label="reserve"];
    step5 [label="bill"];
    step6 [label="notify"];
    step2 -> step1 [label="wait 1h"];
    step3 -> step1 [label="no shop/hold within 1d where async.data.id == 1"];
    step4 -> step2 [label="if steps.reserve.ok"];
    step2 -> step3;
    trigger -> step4;
    step1 -> step5 [label="shop/paid within 1d"];
    trigger -> step6 [label="if event.data.mail != \\"<none>\\""];
}
"""
    )


def test_a_function_without_steps_says_so() -> None:
    assert terminal_graph(made({}, {"event": "e"})) == (
        "order\n◇ on e\n(no steps: one call does everything)\n"
    )


def test_a_function_without_triggers_is_invoked() -> None:
    function = made({"a": []})
    assert '(["(invoked)"])' in mermaid_graph(function)
    assert 'label="(invoked)"' in dot_graph(function)


def test_two_ways_between_the_same_steps_are_one_edge() -> None:
    function = made({"a": [], "b": [{"step": "a", "if": "true"}, {"step": "a", "wait": "1h"}]})
    assert terminal_graph(function).endswith("    └─▶ b  [if true or wait 1h]\n")


def test_long_conditions_are_cut() -> None:
    function = made({"a": [{"step": "$trigger", "if": "true" + " && true" * 20}]})
    label = terminal_graph(function).splitlines()[-1].partition("[")[2]
    assert (len(label), label[-2:]) == (61, "…]")


def test_a_terminal_gets_no_control_characters() -> None:
    function = made({"a\x1b[2J\n": []}, {"event": "e"}, name="bell\a")
    assert terminal_graph(function) == ("order  (bell\\x07)\n◇ on e\n│\n└─▶ a\\x1b[2J\\n\n")


def test_a_terminal_without_unicode_gets_none() -> None:
    function = made({"ä": [{"step": "$trigger", "if": "true" + " && true" * 20}]})
    assert terminal_graph(function, Charset.ASCII).isascii()


def test_a_step_that_also_comes_after_the_trigger_says_so() -> None:
    after = [{"step": "end"}, {"step": "$trigger", "wait": "1h"}]
    assert terminal_graph(made({"end": [], "last": after})).splitlines()[1:] == [
        "│",
        "├─▶ end",
        "│   └─▶ last  + $trigger [wait 1h]",
        "└─▶ last  (drawn under end)",
    ]


def test_a_long_chain_is_drawn_without_recursion() -> None:
    chain = {f"s{n}": [{"step": f"s{n - 1}"}] for n in range(1, 1500)}
    assert terminal_graph(made({"s0": [], **chain})).count("\n") == 1502


def test_every_step_is_drawn_once_and_every_edge_is_shown() -> None:
    steps = {f"s{n}": [{"step": f"s{m}"} for m in range(n)] for n in range(20)}
    text = terminal_graph(made(steps))
    drawn = [line for line in text.splitlines() if "▶" in line and "drawn under" not in line]
    assert len(drawn) == 20
    assert text.count("(drawn under") == sum(max(0, n - 1) for n in range(20))
