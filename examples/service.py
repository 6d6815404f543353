"""Answers images over HTTP: `python service.py int8.tflite 8000`, then `curl --data-binary @photo.jpg localhost:8000`.

For a network that you trust: it listens on this machine only, and has neither passwords nor encryption.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from runtime import Classifier, ImageError

MAX_BYTES = 20 * 2**20


class Handler(BaseHTTPRequestHandler):
    """One image in the body of a POST; the answer is JSON."""

    classifier: Classifier  # one for all threads: it may be called from any number of them
    timeout = 30  # seconds that a client may be silent

    def do_POST(self) -> None:
        """Classify the image."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BYTES:
            return self.answer(413, {"error": f"expected an image of at most {MAX_BYTES} bytes"})
        try:
            predictions = self.classifier.classify(self.rfile.read(int(length)))
        except ImageError as error:
            return self.answer(400, {"error": str(error)})
        return self.answer(200, {"predictions": [prediction.as_dict() for prediction in predictions]})

    def answer(self, status: int, value: object) -> None:
        """Send JSON."""
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    Handler.classifier = Classifier(sys.argv[1])
    with ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler) as server:
        print(f"listening on {server.server_address[1]}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")
