"""Authentication and origin checks of the page's server, under attack."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine
from starlette.datastructures import Headers

from dashboard import authentication, guess_limit
from dashboard.app import create_app
from dashboard.authentication import COOKIE, Authenticator
from dashboard.guess_limit import GuessLimit
from dashboard.problem_details import ApiError
from dashboard.security_headers import HEADERS
from models.access_token import parse_tokens
from models.errors import TokensNeeded
from tasks.alerts.silences import list_silences
from tests.support.page_server import ADMIN, OVER, READER, TOKENS, WRITER, app_context, bearing, serving
from tests.support.servers import HOST

ACTS = {"by": "Ada", "note": "why", "hours": 1, "rule": "noData"}


@pytest.fixture
def client(sqlite_engine: Engine, tmp_path: Path) -> Iterator[httpx.Client]:
    with serving(app_context(sqlite_engine, tmp_path)) as client:
        yield client


@pytest.fixture
def open_client(sqlite_engine: Engine, tmp_path: Path) -> Iterator[httpx.Client]:
    """Run a server without tokens, which only this machine can reach."""
    with serving(app_context(sqlite_engine, tmp_path, tokens=None)) as client:
        yield client


def origin(client: httpx.Client) -> str:
    return str(client.base_url).rstrip("/")


def test_without_tokens_it_listens_to_this_machine_alone(sqlite_engine: Engine, tmp_path: Path) -> None:
    ctx = app_context(sqlite_engine, tmp_path, tokens=None)
    for host in ("0.0.0.0", "::", "192.0.2.7", "example.org"):  # noqa: S104 - it is what is refused
        with pytest.raises(TokensNeeded, match="ROUTEWATCH_TOKENS"):
            create_app(ctx, host=host)
    for host in ("127.0.0.1", "::1", "localhost"):
        create_app(ctx, host=host)


def test_a_browser_logs_in_and_out(client: httpx.Client) -> None:
    """It is sent to the form, and a wrong token is rejected; no script reads the cookie, and no other site sends it."""
    asked = client.get("/", headers={"Accept": "text/html"})
    assert (asked.status_code, asked.headers["location"]) == (303, "/login")
    own = {"Origin": origin(client), "Sec-Fetch-Site": "same-origin"}
    assert client.post("/login", data={"token": "wrong"}, headers=own).status_code == 401
    entered = client.post("/login", data={"token": ADMIN}, headers=own)
    assert entered.status_code == 303
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert ADMIN not in entered.headers["set-cookie"]
    assert client.get("/").status_code == 200
    client.post("/logout", headers=own)
    assert client.get("/", headers={"Accept": "text/html"}).status_code == 303


def test_a_copy_of_a_session_ends_with_its_logout(client: httpx.Client) -> None:
    """And no other session of the same token does."""
    own = {"Origin": origin(client), "Sec-Fetch-Site": "same-origin"}
    copied, other = (
        {"Cookie": client.post("/login", data={"token": ADMIN}, headers=own).headers["set-cookie"].partition(";")[0]}
        for _ in range(2)
    )
    client.cookies.clear()
    assert [client.get("/summary", headers=it).status_code for it in (copied, other)] == [200, 200]
    client.post("/logout", headers=own | copied)
    assert [client.get("/summary", headers=it).status_code for it in (copied, other)] == [401, 200]


def test_a_session_that_was_ended_stays_so_however_many_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "MOST_ENDED", 3)
    own, now = Authenticator(parse_tokens(f"chief:admin:{ADMIN}"), "127.0.0.1"), datetime.now(UTC)
    sessions = [own.session_for(ADMIN, now) for _ in range(5)]
    for session in sessions:
        own.end_session(session, now)
        own.end_session("a.b.c.d", now)
    for session in sessions:
        headers = Headers({"cookie": f"routewatch_session={session}", "host": "localhost"})
        with pytest.raises(ApiError):
            own.authenticate("GET", "/summary", headers, "http", now)


def test_guesses_at_the_login_form_are_limited(client: httpx.Client) -> None:
    """The right token is refused then too, or it could be guessed on; who has a session or a token goes on."""
    own = {"Origin": origin(client), "Sec-Fetch-Site": "same-origin"}
    statuses = [client.post("/login", data={"token": f"guess-{n}"}, headers=own).status_code for n in range(15)]
    refused = client.post("/login", data={"token": ADMIN}, headers=own)
    assert (set(statuses[:10]), set(statuses[10:]), refused.status_code) == ({401}, {429}, 429)
    assert 0 < int(refused.headers["retry-after"]) <= 30
    assert client.get("/summary", headers=bearing(ADMIN)).status_code == 200


@pytest.mark.parametrize("path", ["/summary", "/no-such-page", "/v1/traces", "/live/silences", "/selections"])
def test_guesses_of_an_authorization_token_are_limited_and_its_holder_is_not(client: httpx.Client, path: str) -> None:
    """Whatever is asked for; nor are the login form and sessions closed to those who share the address."""
    own = {"Origin": origin(client), "Sec-Fetch-Site": "same-origin"}
    method = "GET" if path == "/summary" else "POST"
    answers = [client.request(method, path, headers=bearing(f"guess-{n}")) for n in range(15)]
    statuses = [answer.status_code for answer in answers]
    assert (set(statuses[:10]), set(statuses[10:])) == ({401}, {429})
    assert all(0 < int(answer.headers["retry-after"]) <= 30 for answer in answers[10:])
    assert "wait" in answers[-1].text
    for token in (READER, ADMIN):
        assert client.get("/summary", headers=bearing(token)).status_code == 200
    assert client.post("/login", data={"token": ADMIN}, headers=own).status_code == 303
    assert client.get("/summary").status_code == 200


def test_a_program_that_repeats_its_one_wrong_token_is_told_so_each_time(client: httpx.Client) -> None:
    """A token that was replaced or is over is no guess; 429 would have an exporter send it again for ever."""
    for token in ("replaced-0123456789", OVER):
        assert {client.get("/summary", headers=bearing(token)).status_code for _ in range(30)} == {401}


def test_the_limit_of_guesses_forgets_with_time_and_is_bounded_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guess_limit, "MOST_ADDRESSES", 100)
    limit = GuessLimit()
    for number in range(1_000):
        limit.count_wrong(f"2001:db8::{number:x}", 0.0)
    with pytest.raises(ApiError, match="wait"):
        limit.check("2001:db8::ffff:1", 0.0)
    limit.check("2001:db8:0:1::1", 0.0)
    for number in range(1_000):
        limit.count_wrong(f"10.0.{number // 250}.{number % 250}", 1.0)
    for number in range(1_000):
        limit.check_wrong(f"10.1.{number // 250}.{number % 250}", "guess", 1.0)
    assert len(limit) == 100
    for _ in range(10):
        limit.count_wrong("::ffff:10.9.9.9", 2.0)
    for at_s, is_refused in ((2.0, True), (31.0, True), (32.5, False)):
        try:
            limit.check("::ffff:10.9.9.9", at_s)
        except ApiError:
            assert is_refused, at_s
        else:
            assert not is_refused, at_s


def test_a_page_of_another_site_changes_nothing(client: httpx.Client) -> None:
    """Even with a session in the browser: neither with a form nor with a script."""
    own = {"Origin": origin(client), "Sec-Fetch-Site": "same-origin"}
    client.post("/login", data={"token": ADMIN}, headers=own)
    for headers in (
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-site"},
        {},
    ):
        assert client.post("/live/silences", json=ACTS, headers=headers).status_code == 403
    assert client.post("/live/silences", json=ACTS, headers=own).status_code == 200


def test_neither_does_one_where_no_token_is_asked_for(open_client: httpx.Client) -> None:
    """A page anywhere can reach this machine's ports; a host name of its own that resolves here does not help it."""
    evil = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert open_client.post("/live/silences", json=ACTS, headers=evil).status_code == 403
    assert open_client.post("/selections", json={"modelId": "m"}, headers=evil).status_code == 403
    rebound = open_client.get("/summary", headers={"Host": "evil.example"})
    assert rebound.status_code == 421
    assert open_client.post("/live/silences", json=ACTS).status_code == 200


@pytest.mark.parametrize(("token", "status"), [(ADMIN, 200), (READER, 403), (WRITER, 403), (OVER, 401)])
def test_only_an_admin_acts(client: httpx.Client, token: str, status: int) -> None:
    assert client.post("/live/silences", json=ACTS, headers=bearing(token)).status_code == status


def test_a_decision_is_recorded_with_the_token_that_made_it(client: httpx.Client, sqlite_engine: Engine) -> None:
    """Deciding under another's name leaves a trace."""
    for by in ("Ada", "chief"):
        client.post("/live/silences", json=ACTS | {"by": by}, headers=bearing(ADMIN))
    assert {row.by for row in list_silences(sqlite_engine, datetime.now(UTC))} == {"Ada (token chief)", "chief"}


def test_an_expired_token_is_reported_as_expired_and_nothing_more(client: httpx.Client) -> None:
    answer = client.get("/summary", headers=bearing(OVER))
    assert answer.status_code == 401
    assert "was good until 2026-01-31" in answer.json()["detail"]
    assert OVER not in answer.text


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        "a.b.c",
        "Y2hpZWY.99999999999.00",
        "....",
        "Y2hpZWY.x.y",
        "\xff",
        "Y2hpZWY.\xb2.00",
        f"Y2hpZWY.{'9' * 5_000}.00",
    ],
)
def test_a_forged_session_is_rejected(client: httpx.Client, cookie: str) -> None:
    headers = {"Cookie": f"routewatch_session={cookie}".encode("latin-1")}
    assert client.get("/summary", headers=headers).status_code == 401  # type: ignore[arg-type]


def test_a_session_that_a_clock_a_year_ahead_began_is_over_once_it_is_right() -> None:
    authenticator, now = Authenticator(parse_tokens(TOKENS), HOST), datetime.now(UTC)

    def is_known(began: datetime) -> bool:
        headers = Headers({"Host": HOST, "Cookie": f"{COOKIE}={authenticator.session_for(READER, began)}"})
        try:
            return authenticator.authenticate("GET", "/summary", headers, "http", now) is not None
        except ApiError:
            return False

    ages = (timedelta(days=-365), timedelta(), timedelta(hours=11), timedelta(hours=13))
    assert [is_known(now - age) for age in ages] == [False, True, True, False]


def test_every_answer_forbids_what_no_page_here_needs(client: httpx.Client) -> None:
    """Also a refusal, an error and a file; and no other site may read any of them."""
    for path in ("/healthz", "/summary", "/nothing", "/login", "/static/live.js"):
        answer = client.get(path, headers={"Origin": "https://evil.example"})
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy, path
        assert "frame-ancestors 'none'" in policy, path
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers


def test_a_persons_decision_is_validated(open_client: httpx.Client) -> None:
    """A decision without a reason, without an end, or of an unknown rule gets an error, and nothing is changed."""
    for wrong in ({"note": ""}, {"hours": 0}, {"hours": 1e9}, {"rule": "nope"}, {"by": ""}, {"extra": 1}):
        assert open_client.post("/live/silences", json=ACTS | wrong).status_code == 422
    assert open_client.post("/live/silences/1/end", json={"by": "Ada"}).status_code == 422
    assert open_client.post("/live/optimizations/7/approve", json={"by": "Ada"}).status_code == 422
    assert open_client.get("/?range=2h").status_code == 422


@pytest.mark.parametrize(
    "text", ["a:read", "a:read:short", "a:fly:0123456789abcdef", ":read:0123456789abcdef",
             "a:read:0123456789abcdef:yesterday", "a:read:0123456789abcdef a:write:0123456789abcdeg"],
)  # fmt: skip
def test_token_errors_are_reported_without_the_secret(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_tokens(text)
    assert "0123456789abcdef" not in str(caught.value)


def test_an_answer_to_a_defect_bears_the_headers_too(sqlite_engine: Engine, tmp_path: Path) -> None:
    app = create_app(app_context(sqlite_engine, tmp_path, tokens=None), watches=False)

    @app.get("/defect")
    def fail() -> None:
        raise ZeroDivisionError

    client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    answer = client.get("/defect")
    assert answer.status_code == 500
    assert "ZeroDivisionError" not in answer.text
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


def test_an_id_beyond_all_bounds_is_an_error_of_the_request(open_client: httpx.Client) -> None:
    for path in ("/live/silences/{}/end", "/live/optimizations/{}/approve", "/live/optimizations/{}/revert"):
        for number in ("0", "-1", str(2**63), "9" * 50):
            assert open_client.post(path.format(number), json={"by": "Ada", "note": "why"}).status_code == 422
