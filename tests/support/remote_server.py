"""A web server on loopback that serves a folder, and can cut, delay, refuse and forget ranges."""

import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Server(ThreadingHTTPServer):
    """Serves a folder; `cuts` is how many answers it breaks off, `ranges` whether it knows them."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.asked: list[tuple[str, str]] = []
        self.cuts, self.ranges, self.busy, self.pause = 0, True, 0, 0.0
        self.lock = threading.Lock()

    def __enter__(self) -> "Server":
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        with self.server.lock:
            self.server.asked.append((self.path, wanted))
            busy, self.server.busy = self.server.busy, max(self.server.busy - 1, 0)
        time.sleep(self.server.pause)
        file = self.server.folder / self.path.lstrip("/")
        if busy or not file.is_file():
            self.send_response(503 if busy else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.server.ranges and (found := re.fullmatch(r"bytes=(\d+)-(\d+)", wanted)):
            start, end = int(found[1]), int(found[2]) + 1
            if start >= file.stat().st_size:
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            with file.open("rb") as opened:
                opened.seek(start)
                data, status = opened.read(end - start), 206
        else:
            data, status = file.read_bytes(), 200
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with self.server.lock:
            cut = self.server.cuts > 0 and len(data) > 1000 and not self.path.endswith(".json")
            self.server.cuts -= cut
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = cut

    def log_message(self, *_: object) -> None:
        pass
