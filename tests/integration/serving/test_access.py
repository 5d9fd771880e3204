"""Who may ask a server: hosts, origins, keys, proxies."""

import re

from fastapi.testclient import TestClient

from stages.serving.request_guard import Access
from tests.integration.serving.asking import HOSTS, LIMITS, ask, server


def test_strangers_are_kept_out(client: TestClient) -> None:
    assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 400
    foreign = client.post("/v1/inpaint", headers={"Origin": "https://evil.example"})
    assert (foreign.status_code, foreign.json()["error"]) == (403, "foreign_origin")
    other_port = {"Origin": "http://testserver:8000"}
    assert client.get("/healthz", headers=other_port).status_code == 403
    own = client.get("/healthz", headers=other_port | {"Host": "testserver:8000"})
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers


def test_every_answer_says_what_a_browser_may_do_with_it(client: TestClient) -> None:
    for path in ("/", "/docs", "/v1/model", "/nowhere", "/v1/examples/coffee.png"):
        headers = client.get(path).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_with_a_key_only_who_has_it_is_answered() -> None:
    with server(LIMITS, access=Access(HOSTS, key="secret")) as client:
        for path in ("/v1/model", "/metrics", "/v1/nothing"):
            assert client.get(path).json()["error"] == "wrong_key"
        assert (ask(client).status_code, client.post("/v1/inpaint/json", json={}).status_code) == (401, 401)
        assert [client.get(path).status_code for path in ("/", "/healthz", "/readyz", "/v1/examples")] == [200] * 4
        assert client.get("/v1/model", headers={"X-API-Key": "secre"}).status_code == 401
        client.headers["Authorization"] = "Bearer secret"
        assert (ask(client).status_code, client.get("/metrics").status_code) == (200, 200)


def test_pages_of_named_origins_may_ask() -> None:
    page = {"Origin": "https://paint.example"}
    with server(LIMITS, access=Access(HOSTS, key="secret", origins=["https://paint.example"])) as client:
        asked = page | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        assert client.options("/v1/inpaint", headers=asked).headers["access-control-allow-origin"] == page["Origin"]
        refused = client.get("/v1/model", headers=page)
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, page["Origin"])
        assert client.get("/healthz", headers={"Origin": "https://evil.example"}).status_code == 403


def test_behind_a_proxy_that_has_put_it_elsewhere() -> None:
    with server(LIMITS, access=Access(HOSTS, key="secret"), root_path="/inpaint") as client:
        assert client.get("/inpaint/healthz").status_code == 200
        assert client.get("/inpaint/v1/model").status_code == 401
        shown = client.get("/inpaint/docs").text
        assert '"/inpaint/openapi.json"' in shown.replace("'", '"')
        for path in re.findall(r"""(?:src|href)=["'](/inpaint/[^"']+)""", shown):
            # As it arrives with and without a proxy that takes the prefix away.
            assert [client.get(root + path).status_code for root in ("", "/inpaint")] == [200, 200]
