"""Finding a gateway's maintenance API, and what it may answer."""

import click
import httpx
import pytest

from connect.cli.admin import find_gateway, open_admin
from connect.cli.connections import connections
from connect.cli.drain import activate, drain
from connect.cli.gateways import gateways
from connect.errors import ConfigurationError
from tests.cli.admin_apis import ADMIN, answering, run

HERE = {"id": "01JAAA1", "hostname": "here", "admin": "http://127.0.0.1:9000"}
THERE = {"id": "01JAAA2", "hostname": "there", "admin": "http://127.0.0.1:9000"}
FAR = {"id": "01JBBB", "hostname": "there", "admin": "http://10.0.0.7:8290"}
OLD = {"id": "01JCCC", "hostname": "there", "admin": ""}


AT = {"127.0.0.1:9000": {"id": "01JAAA1"}, "10.0.0.7:8290": {"id": "01JBBB"}}


def table(request: httpx.Request) -> httpx.Response:
    """Answer for the table of all gateways, and for each of them what it says of itself."""
    if request.url.path == "/gateway":
        return httpx.Response(200, json=AT[request.url.netloc.decode()])
    assert str(request.url) == f"{ADMIN}/gateways"
    return httpx.Response(200, json={"data": [HERE, THERE, FAR, OLD]})


def nothing(request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"asked for {request.url}")


def test_without_a_name_the_api_that_is_asked_is_meant() -> None:
    assert find_gateway(answering(nothing), None).url == ADMIN


def test_a_url_is_taken_as_it_is() -> None:
    assert find_gateway(answering(nothing), "http://10.0.0.9:1/").url == "http://10.0.0.9:1"


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("01JAAA1", "http://127.0.0.1:9000"),
        ("01jaaa1", "http://127.0.0.1:9000"),
        ("01JB", "http://10.0.0.7:8290"),
    ],
)
def test_a_gateway_is_found_by_its_id_or_the_beginning_of_it(name: str, url: str) -> None:
    assert find_gateway(answering(table), name, hostname="here").url == url


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("02", "there is no gateway '02'; there are 01JAAA1, 01JAAA2, 01JBBB, 01JCCC"),
        ("01JA", "several gateways begin with '01JA'; there are 01JAAA1, 01JAAA2"),
        (
            "01JAAA2",
            "the admin API of gateway 01JAAA2 listens on loopback of there "
            "(http://127.0.0.1:9000): run this there, or give a URL that leads to it",
        ),
        ("01JCCC", "gateway 01JCCC does not say where its admin API listens; give its URL"),
    ],
)
def test_a_gateway_that_cannot_be_found_or_reached_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        find_gateway(answering(table), name, hostname="here")
    assert str(raised.value) == message


def test_an_admin_api_by_name_is_not_taken_for_loopback() -> None:
    def named(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/gateway":
            return httpx.Response(200, json={"id": "01JAAA2"})
        return httpx.Response(200, json={"data": [THERE | {"admin": "http://gw-2:8290"}]})

    assert find_gateway(answering(named), "01JAAA2", hostname="here").url == "http://gw-2:8290"


@pytest.mark.parametrize(
    ("answer", "who"),
    [
        ({"id": "01JDDD", "status": "active"}, "01JDDD"),
        ({"status": "not running here"}, "a process without a gateway"),
    ],
)
def test_another_process_at_the_address_of_a_gateway_that_died_is_not_taken_for_it(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, str], who: str
) -> None:
    monkeypatch.setitem(AT, "10.0.0.7:8290", answer)
    with pytest.raises(ConfigurationError) as raised:
        find_gateway(answering(table), "01JBBB")
    assert str(raised.value) == (
        f"gateway 01JBBB is gone; {who} answers at its address http://10.0.0.7:8290"
    )


def test_a_refusal_is_told_in_the_words_of_the_api() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(409, json={"error": "the service is stopping", "status": 409})

    with pytest.raises(ConfigurationError, match="/activate: the service is stopping"):
        answering(refuse).post("/activate")


@pytest.mark.parametrize("body", [b"<html>", b"[1]"])
def test_an_answer_that_is_no_json_object_is_of_something_else(body: bytes) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body)

    with pytest.raises(ConfigurationError, match="is not an admin API"):
        answering(answer).get("/gateways")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense"])
def test_an_api_that_is_not_there_is_told_in_one_line(url: str) -> None:
    with pytest.raises(ConfigurationError, match=f"no admin API at {url} .*--admin"):
        open_admin(url).get("/gateways")


def test_an_empty_gateway_is_none_at_all() -> None:
    def nothing(request: httpx.Request) -> httpx.Response:
        raise AssertionError(f"nobody is to be asked: {request.url}")

    with pytest.raises(ConfigurationError, match="the gateway is empty"):
        find_gateway(answering(nothing), "")


@pytest.mark.parametrize("command", [drain, activate, gateways, connections])
def test_something_else_that_answers_is_not_taken_for_an_admin_api(
    monkeypatch: pytest.MonkeyPatch, command: click.Command
) -> None:
    result = run(monkeypatch, command, lambda _: httpx.Response(200, json={"status": "ok"}), [])
    assert str(result.exception) == f"what answers at {ADMIN} is not an admin API"
    assert isinstance(result.exception, ConfigurationError)
