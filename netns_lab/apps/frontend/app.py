"""frontend: fetches http://<host:port>/<path> for its caller at /proxy/<host:port>/<path>."""

import http.client
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Frontend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        parts = self.path.split("/", 3)
        if len(parts) < 3 or parts[1] != "proxy" or not parts[2]:
            return self.answer(200, "text/plain", b"frontend: try /proxy/<host:port>/<path>\n")
        host, path = parts[2], "/" + (parts[3] if len(parts) > 3 else "")
        try:
            connection = http.client.HTTPConnection(host, timeout=20)
            try:
                connection.request("GET", path)
                reply = connection.getresponse()
                kind = reply.getheader("Content-Type", "text/plain")
                self.answer(reply.status, kind, reply.read())
            finally:
                connection.close()
        except (OSError, ValueError, http.client.HTTPException) as exc:
            text = json.dumps({"error": f"{type(exc).__name__}: {exc}", "host": host})
            self.answer(502, "application/json", text.encode() + b"\n")

    def answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    request_queue_size = 128


print(f"frontend instance {os.environ['CF_INSTANCE_INDEX']} listens", flush=True)
Server(("0.0.0.0", int(os.environ["PORT"])), Frontend).serve_forever()
