"""backend: an internal service; says which instance answered; streams on /stream."""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path == "/stream":
            return self.stream()
        answer = {
            "app": "backend",
            "instance_index": int(os.environ["CF_INSTANCE_INDEX"]),
            "instance_guid": os.environ["INSTANCE_GUID"],
            "path": self.path,
            "caller": self.client_address[0],
        }
        body = json.dumps(answer).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self):
        """One line every 100 ms until the caller leaves or a minute is over."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for number in range(600):
            self.wfile.write(f"{number}\n".encode())
            self.wfile.flush()
            time.sleep(0.1)


class Server(ThreadingHTTPServer):
    request_queue_size = 128


Server(("0.0.0.0", int(os.environ["PORT"])), Backend).serve_forever()
