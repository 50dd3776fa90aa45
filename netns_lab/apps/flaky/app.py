"""flaky: answers one request of three and 503 to the others, to show retries."""

import itertools
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

count = itertools.count(1)


class Flaky(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        number = next(count)
        good = number % 3 == 0
        body = json.dumps({"app": "flaky", "attempt": number, "ok": good}).encode() + b"\n"
        self.send_response(200 if good else 503)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    request_queue_size = 128


Server(("0.0.0.0", int(os.environ["PORT"])), Flaky).serve_forever()
