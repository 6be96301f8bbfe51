"""A server that speaks the Hugging Face Hub's download protocol, for one file."""

import hashlib
import http.server
import threading
from pathlib import Path
from typing import Self


class Hub:
    """Serves ``/{repository}/resolve/main/{file.name}``: HEAD with the hub's headers, GET with ranges.

    Attributes:
        break_after: close the connection after so many bytes of a GET, once; ``None`` serves to the end.
        always_break: do so every time.
        requests: (method, Range header or "") of everything that was asked for.
    """

    def __init__(self, repository: str, file: Path, *, corrupt: bool = False) -> None:
        self.repository, self.file, self.corrupt = repository, file, corrupt
        self.etag = hashlib.sha256(file.read_bytes()).hexdigest()  # as the hub does for large files
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
                if self.path != f"/{hub.repository}/resolve/main/{hub.file.name}":
                    self.send_response(404)
                    self.send_header("X-Error-Code", "EntryNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                size = hub.file.stat().st_size
                start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
                self.send_response(206 if asked else 200)
                self.send_header("X-Repo-Commit", "0" * 40)
                self.send_header("ETag", f'"{hub.etag}"')
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(size - start))
                if asked:
                    self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
                self.end_headers()
                if body:
                    self.send_body(start)

            def send_body(self, start: int) -> None:
                left = hub.break_after
                if not hub.always_break:
                    hub.break_after = None
                with hub.file.open("rb") as file:
                    file.seek(start)
                    while chunk := file.read(1 << 20):
                        if hub.corrupt:
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
