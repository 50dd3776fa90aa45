"""hello: says who answered and which headers arrived."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        answer = {
            "greeting": os.environ.get("GREETING", "hello"),
            "instance_index": int(os.environ["CF_INSTANCE_INDEX"]),
            "instance_guid": os.environ["INSTANCE_GUID"],
            "path": self.path,
            "headers": dict(self.headers.items()),
        }
        body = json.dumps(answer).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    request_queue_size = 128


Server(("0.0.0.0", int(os.environ["PORT"])), Hello).serve_forever()
