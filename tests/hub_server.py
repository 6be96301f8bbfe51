"""A server that speaks the Hugging Face Hub's download protocol, for the files of one repository."""

import hashlib
import http.server
import threading
from pathlib import Path
from typing import Self


class Hub:
    """Serves ``/{repository}/resolve/main/{name}``: HEAD with the hub's headers, GET with ranges.

    Large files are told by their SHA-256, texts of several files by Git's sum, as the hub does.

    Args:
        repository: Its name.
        file: The file, or several by their names.
        corrupt: Serve something else than was told: True, or the name of a file.

    Attributes:
        etag: told of the file instead of its sum; of the only file, its sum.
        break_after: close the connection after so many bytes of the file, once; ``None`` serves to the end.
        always_break: do so every time.
        requests: (method, Range header or "") of everything that was asked for.
    """

    def __init__(self, repository: str, file: Path | dict[str, Path], *, corrupt: bool | str = False) -> None:
        files = file if isinstance(file, dict) else {file.name: file}
        self.repository, self.corrupt = repository, corrupt
        self.files = {f"/{repository}/resolve/main/{name}": (name, path) for name, path in files.items()}
        self.etags = {name: _etag(path) for name, path in files.items()}
        self.etag = _etag(file) if isinstance(file, Path) else None
        self.break_after: int | None = None
        self.always_break = False
        self.requests: list[tuple[str, str]] = []
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, *, body: bool) -> None:
                asked = self.headers.get("Range", "")
                hub.requests.append((self.command, asked))
                if self.path not in hub.files:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "EntryNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                name, path = hub.files[self.path]
                size = path.stat().st_size
                start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
                self.send_response(206 if asked else 200)
                self.send_header("X-Repo-Commit", "0" * 40)
                self.send_header("ETag", f'"{hub.etag or hub.etags[name]}"')
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(size - start))
                if asked:
                    self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
                self.end_headers()
                if body:
                    self.send_body(name, path, start)

            def send_body(self, name: str, path: Path, start: int) -> None:
                left = None if hub.break_after is None else max(0, hub.break_after - start)
                if not hub.always_break:
                    hub.break_after = None
                with path.open("rb") as file:
                    file.seek(start)
                    while chunk := file.read(1 << 20):
                        if hub.corrupt is True or hub.corrupt == name:
                            chunk = bytes([chunk[0] ^ 1]) + chunk[1:]
                        if left is not None:
                            chunk = chunk[:left]
                            left -= len(chunk)
                        self.wfile.write(chunk)
                        if left == 0:
                            self.close_connection = True
                            return

            def log_message(self, *arguments: object) -> None:
                """Silent."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def _etag(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix in (".json", ""):
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return hashlib.sha256(content).hexdigest()
