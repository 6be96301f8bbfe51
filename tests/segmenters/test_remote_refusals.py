"""What a client says of servers that are none, of addresses and of keys; no server of nnInteractive is needed."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import sammed3d_nb as snb
from sammed3d_nb import UserError
from sammed3d_nb.errors import ServerError
from sammed3d_nb.models.remote import KEY_FILE_VARIABLE, KEY_VARIABLE, key_of

pytest.importorskip("nnInteractive.inference.remote", reason="nninteractive-client is missing: the extra [remote]")


class Stranger:
    """A server that answers everything with one status and body, and remembers what it was asked."""

    def __init__(self, status: int, body: object) -> None:
        self.asked: list[tuple[str, str]] = []
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        stranger = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                stranger.asked.append((self.path, self.headers.get("Authorization", "")))
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                if status in (301, 307):
                    self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = answer  # noqa: N815  as the library calls them

            def log_message(self, *arguments: object) -> None:
                """Silent."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def stranger(request: pytest.FixtureRequest) -> Iterator[Stranger]:
    found = Stranger(*request.param)
    yield found
    found.server.shutdown()
    found.server.server_close()


def sentence(source: str, **options: object) -> str:
    with pytest.raises(UserError) as said:
        snb.load_model(source, **options)
    text = str(said.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


@pytest.mark.parametrize(
    ("stranger", "told"),
    [
        ((404, b"nothing here"), "none of the nnInteractive protocol"),
        ((200, b"<html>a web page</html>"), "not as one of the nnInteractive protocol does"),
        ((200, {"lease_token": "a", "unexpected": True}), "not as one of the nnInteractive protocol does"),
        ((200, ["a", "list"]), "not as one of the nnInteractive protocol does"),
        ((401, {"detail": "Invalid bearer token"}), "refuses the key (it says: Invalid bearer token)"),
        ((403, b""), "refuses the key;"),
        ((413, {"detail": "too big"}), "takes no image that large (it says: too big)"),
        ((503, {"detail": "place 3 in the queue"}), "is full (place 3 in the queue)"),
        ((502, b"bad gateway"), "cannot answer now (HTTP 502)"),
        ((500, b"oops"), "failed (HTTP 500)"),
        ((422, {"detail": [{"msg": "field required"}]}), "refuses it (HTTP 422)"),
        ((307, b""), "refuses it (HTTP 307)"),
    ],
    indirect=["stranger"],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else "",
)
def test_servers_that_do_not_answer_as_they_should_get_a_sentence(stranger: Stranger, told: str) -> None:
    assert told in sentence(stranger.url, api_key="secret")


@pytest.mark.parametrize("stranger", [(307, b"")], indirect=True)
def test_the_key_goes_nowhere_else(stranger: Stranger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirection is not followed: image and key are for the server that was named."""
    sentence(stranger.url, api_key="secret")
    assert {key for _, key in stranger.asked} == {"Bearer secret"}
    assert all(not path.startswith("/elsewhere") for path, _ in stranger.asked)


def test_nobody_listens() -> None:
    from running import free_port

    text = sentence(f"http://127.0.0.1:{free_port()}")
    assert "does not answer" in text


@pytest.mark.parametrize(
    "address",
    [
        "http://",
        "http://:1527",
        "http://host:99999",
        "http://host:0",
        "http://user:secret@host:1527",
        "http://host:1527/?key=secret",
        "http://[::1",
        "http://host:1527#part",
    ],
)
def test_addresses_that_are_none_are_refused_before_anything_is_sent(address: str) -> None:
    text = sentence(address)
    assert "secret" not in text


def test_options_of_files_mean_nothing_to_a_server() -> None:
    assert sentence("http://127.0.0.1:1", device="cpu") == "A model on a server knows no device; leave it out."
    assert "decoder or precision" in sentence("http://127.0.0.1:1", decoder="x", precision="float32")
    assert "api_key" in sentence("compact", api_key="secret")


def test_where_the_key_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from-file\n")
    file.chmod(0o600)
    assert key_of(None, {}) is None
    assert key_of("given", {KEY_VARIABLE: "environment"}) == "given"
    assert key_of(None, {KEY_VARIABLE: "environment"}) == "environment"
    assert key_of(None, {KEY_VARIABLE: "environment", KEY_FILE_VARIABLE: str(file)}) == "from-file"
    assert key_of(file, {}) == "from-file"


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [("key", 0o644, "Others can read"), ("", 0o600, "no word"), ("two words", 0o600, "more than one word")],
)
def test_key_files_that_are_refused(tmp_path: Path, content: str, mode: int, told: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    file.chmod(mode)
    with pytest.raises(ServerError, match=told) as said:
        key_of(file, {})
    assert "two words" not in str(said.value)


def test_a_key_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="cannot be read"):
        key_of(tmp_path / "nowhere", {})
