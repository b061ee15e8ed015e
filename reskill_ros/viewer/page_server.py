"""HTTP server of the live page: the page itself, and a stream of documents as server-sent events."""

from __future__ import annotations

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from reskill_core.errors import GraphError

_PAGE = Path(__file__).with_name("page.html")
# Time after which a comment is sent, so that a closed connection is noticed.
_ALIVE_S = 5.0


class PageServer:
    """Server of one page on its own threads.

    Args:
        host: address to listen on.
        port: port; 0 chooses a free one.

    Raises:
        GraphError: it cannot listen there.

    Attributes:
        url: address of the page.
    """

    def __init__(self, host: str, port: int) -> None:
        self._changed = threading.Condition()
        self._text, self._number, self._closed = "", 0, False
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                """Print nothing."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise GraphError(f"the live page cannot be served on {host}:{port}: {error.strerror}") from error
        self._server.daemon_threads = True
        self.url = f"http://{host}:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, name="page", daemon=True)
        self._thread.start()

    def publish(self, text: str) -> None:
        """Send a document of one line to all viewers."""
        with self._changed:
            self._text, self._number = text, self._number + 1
            self._changed.notify_all()

    def close(self) -> None:
        """End the server and all streams."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        if request.path == "/":
            content = _PAGE.read_bytes()
            request.send_response(HTTPStatus.OK)
            request.send_header("Content-Type", "text/html; charset=utf-8")
            request.send_header("Content-Length", str(len(content)))
            request.end_headers()
            request.wfile.write(content)
        elif request.path == "/events":
            self._stream(request)
        else:
            request.send_error(HTTPStatus.NOT_FOUND)

    def _stream(self, request: BaseHTTPRequestHandler) -> None:
        request.send_response(HTTPStatus.OK)
        request.send_header("Content-Type", "text/event-stream")
        request.send_header("Cache-Control", "no-store")
        request.end_headers()
        sent = 0
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or self._number > sent, _ALIVE_S)  # noqa: B023
                    if self._closed:
                        return
                    news, sent = self._number > sent, self._number
                    text = self._text
                request.wfile.write(f"data: {text}\n\n".encode() if news else b": alive\n\n")
                request.wfile.flush()
        except OSError:
            return  # The viewer has gone.
