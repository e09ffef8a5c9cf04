"""Whatever text is put into paths, questions and bodies: the answer is a problem or an answer, never a failure."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpersona.app.api import application as api
from netpersona.app.api.server import Server
from service_samples import SampleService

ROUTES = sorted(
    (method, route.path, tuple(sorted(parameter.alias for parameter in route.dependant.query_params)))
    for part in api._PARTS
    for route in part.router.routes
    for method in route.methods
)
QUERIES = ["at", "limit", "continue", "view", "vm", "peer", "port", "kind", "since", "without", "one", "other", "nft"]
WORDS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "",
            ".",
            "..",
            "web-1",
            "10.77.0.11",
            "web-1@2",
            "0",
            "-1",
            "1e400",
            "nan",
            "null",
            "\x00",
            "%",
            "../../etc",
            "2001:db8::1",
            "[::1]:80",
            "a.example",
            "x" * 300,
            "9" * 400,
            "\u202e",
            "{{7*7}}",
            "' or 1=1 --",
            "\ud7ff",
        ]
    ),
)
NAMES = st.one_of(
    st.sampled_from(["texts", "labels", "values", "mode", "number", "why", "confirm_within", "apiVersion", "kind"]),
    st.text(max_size=10),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=12,
)
YAML = st.one_of(
    WORDS,
    st.text("{}[]:,-&*!|>'\"%@#\n \tab1", max_size=60),
    st.sampled_from(
        [
            "[" * 3000,
            "{a: " * 3000,
            "- " * 3000,
            "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
            "&a [*a]",
            "kind: Policy\nmetadata: &m {name: x, again: *m}\n",
            "!!python/object/apply:os.system [id]",
            "kind: Policy\nmetadata: {name: [x]}\nspec: {mode: enforce}",
            "? {a: b}\n: c",
            "kind: Policy\napiVersion: netpersona/v1\nmetadata: {name: x}\nspec: {mode: enforce, order: 1, rules: 7}",
            "--- a\n--- b\n...\n--- c",
            "%YAML 9.9\n--- a",
        ]
    ),
)


@pytest.fixture(scope="module")
def asks(day):
    """What asks a server that a module's tests share."""

    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "day.db")
        store.write_bytes((day / "day.db").read_bytes())
        server = Server(SampleService(str(store)), Path(folder, "api.sock"))
        server.start()
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=str(server.path)), base_url="http://x", timeout=600
        ) as http:
            yield http
        server.stop()


def told(answer):
    """The answer is well formed, and is no failure."""
    assert answer.status_code < 500, answer.text
    assert "Traceback" not in answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = json.loads(answer.content)
        assert problem["detail"]
        assert problem["advice"]
    elif answer.status_code < 300:
        assert json.loads(answer.content)["apiVersion"]


def filled(path, words):
    """The path with its places filled in."""
    words = iter(words)
    parts = (quote(next(words), safe="") if part.startswith("{") else part for part in path.split("/"))
    return api.PREFIX + "/".join(parts)


@given(
    route=st.sampled_from(ROUTES),
    words=st.lists(WORDS, min_size=2, max_size=2),
    asked=st.dictionaries(st.sampled_from(QUERIES), WORDS, max_size=4),
)
@settings(max_examples=100)
def test_any_text_in_paths_and_questions(asks, route, words, asked):
    method, path, _ = route
    told(asks.request(method, filled(path, words), params=asked))


@given(
    route=st.sampled_from([route for route in ROUTES if route[0] in {"POST", "PUT", "PATCH"}]),
    body=VALUES,
)
@settings(max_examples=100)
def test_any_value_in_bodies(asks, route, body):
    method, path, _ = route
    content = json.dumps(body).encode()
    told(
        asks.request(
            method, filled(path, ["web-1", "freeze"]), content=content, headers={"content-type": "application/json"}
        )
    )


@given(text=YAML)
@settings(max_examples=100)
def test_any_text_as_policies(asks, text):
    for path in ("/policy-checks", "/policy-plans", "/policy-versions"):
        told(asks.post(api.PREFIX + path, content=json.dumps({"texts": {"a.yaml": text}})))
    told(asks.put(f"{api.PREFIX}/policies/x", content=text.encode("utf-8", "surrogatepass")))


@given(values=st.lists(WORDS, max_size=4), name=WORDS)
@settings(max_examples=60)
def test_any_text_as_indicators(asks, values, name):
    for what in ("indicators", "removals"):
        told(asks.post(f"{api.PREFIX}/feeds/{quote(name, safe='')}/{what}", content=json.dumps({"values": values})))


@given(labels=st.dictionaries(st.text(max_size=20), st.one_of(st.none(), st.text(max_size=80)), max_size=4))
@settings(max_examples=60)
def test_any_text_as_labels(asks, labels):
    told(asks.patch(f"{api.PREFIX}/personas/web-1/labels", content=json.dumps({"labels": labels})))
    told(asks.get(f"{api.PREFIX}/personas/web-1"))


@given(content=st.binary(max_size=200))
@settings(max_examples=60)
def test_any_bytes_as_a_body(asks, content):
    for path in ("/policy-plans", "/feeds/a/indicators", "/policy-versions/rollback"):
        told(asks.post(api.PREFIX + path, content=content, headers={"content-type": "application/json"}))


def test_values_nested_deeper_than_anybody_reads(asks):
    for content in (b"[" * 200_000, b'{"texts":' * 100_000, b'{"texts": {"a": "' + b"[" * 200_000 + b'"}}'):
        told(asks.post(f"{api.PREFIX}/policy-checks", content=content))
    told(asks.put(f"{api.PREFIX}/policies/x", content=b"[" * 200_000))
