"""A local server that breaks off, or lies, as a test wants."""

import hashlib
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATA = bytes(range(256)) * 4000
SHA = hashlib.sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves DATA; ``cuts`` says after how many bytes each answer breaks off, None for never."""

    daemon_threads = True

    def __init__(self, *cuts, ranges=True, data=DATA):
        super().__init__(("127.0.0.1", 0), Handler)
        self.cuts, self.ranges, self.data = list(cuts), ranges, data
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/weights/model.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        asked = self.headers.get("Range") if self.server.ranges else None
        self.server.asked.append(self.headers.get("Range"))
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        size = len(self.server.data)
        if start >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            self.end_headers()
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(size - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts else None
        self.wfile.write(self.server.data[start:][:cut])

    def log_message(self, *_):
        pass


@contextmanager
def serving(*cuts, **options):
    server = Server(*cuts, **options)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
