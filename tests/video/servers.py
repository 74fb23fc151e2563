"""Servers for tests: streams of Motion JPEG that break, ask for a password, or never answer; and files."""

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from .clips import STEP

PASSWORD = "s3cr3t"


def jpeg(number: int) -> bytes:
    return cv2.imencode(".jpg", np.full((48, 64, 3), number % 25 * STEP, np.uint8))[1].tobytes()


@contextmanager
def serve(files: Path | None = None, frames: int = 40, pause_s: float = 0.01) -> Iterator[str]:
    """Yield the host and port of a server.

    /live is a stream of `frames` pictures, after which the connection breaks; /secret asks for a password;
    /hang never answers; /page is a web page; any other path is a file.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/hang":
                over.wait(20)
            elif path == "/secret" and "Authorization" not in self.headers:
                self.answer(401, b"", ("WWW-Authenticate", 'Basic realm="door"'))
            elif path in ("/live", "/secret"):
                self.stream()
            elif path == "/page":
                self.answer(200, b"<html>door</html>")
            elif files is not None and (files / path[1:]).is_file():
                self.answer(200, (files / path[1:]).read_bytes())
            else:
                self.answer(404, b"")

        def answer(self, status: int, content: bytes, *headers: tuple[str, str]) -> None:
            self.send_response(status)
            for header in (("Content-Length", str(len(content))), *headers):
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(content)

        def stream(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=x")
            self.end_headers()
            try:
                for number in range(frames):
                    content = jpeg(number)
                    head = f"--x\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n\r\n"
                    self.wfile.write(head.encode() + content + b"\r\n")
                    time.sleep(pause_s)
            except OSError:
                pass  # the reader has gone

    over = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def answer_once(answer: bytes) -> Iterator[str]:
    """Yield the host and port of a server that gives every connection the same answer to its first line."""
    listening = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

    threading.Thread(target=work, daemon=True).start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.close()
