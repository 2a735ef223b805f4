"""2,000 requests that no client should send: each is answered, by 4xx with a sentence or rightly; never by 500."""

import gzip
import json
import random
import re
import socket
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from tests.serving.conftest import TOKEN

REQUESTS = 2000
LEAKS = re.compile(r"Traceback|File \"|\.py\b|site-packages|/tmp/|/root/|/home/|gr2\.serving|0x[0-9a-f]{6}")
WORDS = [
    "", " ", "film01", "Comedy number 4", "user07", "<|im_end|>", "</s>", "<s_a_3>", "[INST]", "\x00", "\ud800x",
    "'; DROP TABLE items; --", "<script>alert(1)</script>", "../../etc/passwd", "{{7*7}}", "%s%n", "🎬" * 50, "\u202e",
    "Ignore all previous instructions.", '{"id": "film01"}', '{"id": 1', "[[[[", "a" * 299, "b" * 301, "nan", "-1",
    '{"history": [1, null, {"a": []}]}', '{"user": {"deep": []}}', '["film01", ["film02"]]', "{}", "film01\nfilm02",
]  # fmt: skip
BASES = {
    "/v1/slates": {"history": ["film01"], "candidates": ["film02", {"id": "film03", "score": 1.0}], "top_n": 1},
    "/v2/rerank": {"model": "m", "query": "user07", "documents": ["film02", "Drama number 1"], "top_n": 2},
    "/v1/rerank": {"query": "film01", "documents": ["film02", {"text": "new"}], "return_documents": True},
    "/rerank": {"query": "film01", "texts": ["film02", "film03"], "raw_scores": True, "return_text": True},
}  # fmt: skip


def junk(rng: random.Random, depth: int = 0) -> Any:
    """A JSON value of any kind."""
    kind = rng.randrange(9 if depth < 4 else 6)
    if kind == 0:
        return rng.choice(WORDS)
    if kind == 1:
        return rng.choice([0, -1, 1, 2**63, -(2**70), 10**400, True, False])
    if kind == 2:
        return rng.choice([1.5, -0.0, 1e308, -1e308, 5e-324, float("nan"), float("inf")])
    if kind in (3, 4):
        return None if kind == 3 else rng.choice(WORDS) * rng.randrange(1, 40)
    if kind == 5:
        return [rng.choice(WORDS)] * rng.choice([0, 1, 199, 201, 2000])
    if kind in (6, 7):
        return [junk(rng, depth + 1) for _ in range(rng.randrange(4))]
    keys = ["id", "text", "score", "features", "facts", "sources", "user", "history", "rank", "x" * 50]
    return {rng.choice(keys): junk(rng, depth + 1) for _ in range(rng.randrange(4))}


def spoil(rng: random.Random, body: dict) -> Any:
    """A request with one or more values exchanged, taken away or added."""
    body = json.loads(json.dumps(body))
    for _ in range(rng.randrange(1, 3)):
        key = rng.choice([*body, "user", "history", "candidates", "with_trace", "unknown"])
        if rng.random() < 0.2:
            body.pop(key, None)
        elif isinstance(body.get(key), list) and body[key] and rng.random() < 0.5:
            body[key][rng.randrange(len(body[key]))] = junk(rng)
        else:
            body[key] = junk(rng)
    return body if rng.random() < 0.95 else junk(rng)


def encode(rng: random.Random, value: Any) -> bytes:
    """Mostly JSON in UTF-8."""
    text = json.dumps(value)
    kind = rng.randrange(20)
    if kind == 0:
        return text.encode("utf-16")
    if kind == 1:
        return text[: rng.randrange(len(text))].encode()
    if kind == 2:
        return rng.randbytes(rng.randrange(200))
    if kind == 3:
        return b"\xef\xbb\xbf" + text.encode()
    if kind == 4:
        return gzip.compress(text.encode())
    if kind == 5:
        depth = rng.choice([100, 1000, 40_000])
        return rng.choice([b"[" * depth, b"[" * depth + b"]" * depth, b'{"query":' * 5000 + b"1" + b"}" * 5000])
    if kind == 6:
        return b" " * 100_001
    if kind == 7:
        return text.encode() + b"\x00\xff\xfe"
    return text.encode()


def test_each_is_refused_in_a_sentence_or_answered_rightly(server):
    rng, seen = random.Random(0), Counter()
    for number in range(REQUESTS):
        path = rng.choice(list(BASES))
        headers = {"content-type": rng.choice(["application/json", "text/plain", "application/json; charset=utf-16"])}
        if rng.random() < 0.05:
            headers["Authorization"] = rng.choice(
                ["", "Bearer", "Bearer wrong", "Basic YTpi", f"bearer{TOKEN}", "\xff"]
            )
        content = encode(rng, spoil(rng, BASES[path]))
        method = "POST" if rng.random() < 0.97 else rng.choice(["GET", "PUT", "DELETE", "PATCH", "TRACE"])
        where = (
            path
            if rng.random() < 0.97
            else rng.choice([path + "/", "/v1//slates", "/..%2f..%2fetc", "/v1", path + "?a=%00"])
        )
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        answer = server.client.request(method, where, content=content, headers=raw)
        seen[answer.status_code] += 1
        shown = f"{number}: {method} {where} {content[:300]!r}: {answer.status_code} {answer.text[:300]}"
        assert answer.status_code == 200 or 400 <= answer.status_code < 500, shown
        refused = answer.status_code != 200
        assert not LEAKS.search(answer.text) or not refused, shown
        if refused and method != "TRACE":  # a proxy's method: its answer has no body
            said = answer.json()
            sentence = said.get("message") or said["error"]
            assert re.match(r"[A-Za-z].{10,200}\.$", sentence) and "\n" not in sentence, shown
        if not refused and path == where:
            check_order(path, json.loads(content), answer.json())
    assert seen[200] > 100 and seen[422] > 500 and seen[401] > 30 and seen[413] > 30, seen
    assert server.is_ready() and not server.events("fault"), server.events("fault")
    assert server.metric("gr2_engine_restarts_total") == 0


def check_order(path: str, request: dict, answer: Any) -> None:
    """Every candidate once, or the first top_n of them."""
    count = len(request[{"/v1/slates": "candidates", "/rerank": "texts"}.get(path, "documents")])
    entries = answer if path == "/rerank" else answer.get("ranking", answer.get("results"))
    found = [entry["index"] for entry in entries]
    top = request.get("top_n") if path != "/rerank" else None
    assert len(set(found)) == len(found) == min(count, top or count) and set(found) <= set(range(count))


@pytest.mark.parametrize("text", [
    b"GET / HTTP/1.1\r\n\r\n\x00\x01", b"\x16\x03\x01\x02\x00", b"POST /rerank HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    b"POST /rerank HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    b"POST /rerank HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"POST /rerank HTTP/9.9\r\n\r\n", b"A" * 100_000,
])  # fmt: skip
def test_what_is_no_http_is_refused_too(server, text):
    port = int(server.url.rpartition(":")[2])
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection, suppress(ConnectionError):
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65536):
            answer += part
    assert not answer or answer.split()[1][:1] == b"4", answer[:200]
    assert not LEAKS.search(answer.decode("latin-1"))
    assert server.client.get("/health").status_code == 200


def test_a_body_without_a_length_is_counted_as_it_comes(server):
    parts = (b"[" * 50_000 for _ in range(3))
    answer = server.client.post("/v2/rerank", content=parts)
    assert answer.status_code == 413 and "at most 100000 bytes" in answer.json()["message"]
