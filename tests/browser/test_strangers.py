"""The app's address in browsers that should not get in: without the token, and from another site's page."""

import http.server
import threading

import psutil
import pytest
from playwright.sync_api import Page
from servers import free_port


@pytest.fixture(scope="module")
def dashboard(serve):
    return serve()


@pytest.fixture
def page(chromium) -> Page:
    return chromium.new_context().new_page()


def kernels(dashboard) -> int:
    return len(psutil.Process(dashboard.process.pid).children(recursive=True))


def test_without_the_token_a_browser_is_asked_for_it_and_may_type_it(page, dashboard) -> None:
    page.goto(dashboard.url)
    assert "/login" in page.url
    assert page.locator(".sammed3d-app").count() == 0
    assert kernels(dashboard) == 0
    page.fill("input[name=password]", "wrong")
    page.keyboard.press("Enter")
    page.get_by_text("Invalid credentials").wait_for()
    page.fill("input[name=password]", dashboard.token)
    page.keyboard.press("Enter")
    page.wait_for_selector(".sammed3d-app")
    assert dashboard.token not in page.url


def test_another_sites_page_starts_no_kernel_and_reads_nothing(page, dashboard) -> None:
    page.goto(dashboard.page())  # this browser is let in: it has the cookie
    page.wait_for_selector(".sammed3d-app")
    kernel = page.evaluate("JSON.parse(document.getElementById('jupyter-config-data').textContent).kernelId")
    address = dashboard.url.removeprefix("http://")
    hostile = f"""<title>prizes</title><script>
    const end = (name) => () => {{ document.title += " " + name; }};
    const picture = new Image();
    picture.onerror = end("picture");
    picture.src = "{dashboard.url}";
    fetch("{dashboard.url}", {{credentials: "include"}}).then(end("READ"), end("fetch"));
    fetch("{dashboard.url}api/kernels/{kernel}", {{method: "DELETE", credentials: "include"}}).then(
        end("ENDED"), end("delete"));
    const socket = new WebSocket("ws://{address}api/kernels/{kernel}/channels");
    socket.onopen = end("CONNECTED");
    socket.onerror = end("socket");
    </script>"""

    class Hostile(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(hostile.encode())

        def log_message(self, *words: object) -> None:
            pass

    before = kernels(dashboard)
    with http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Hostile) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        other = page.context.new_page()
        other.goto(f"http://localhost:{site.server_address[1]}/")  # another site than 127.0.0.1
        other.wait_for_function("document.title.split(' ').length === 5")
        said = set(other.title().split()[1:])
        site.shutdown()
    assert said == {"picture", "fetch", "delete", "socket"}
    assert kernels(dashboard) == before
