"""A push service and the browser behind it: opens each push, checks who signed it, and prints it.

Prints `{"endpoint": …, "p256dh": …, "auth": …}` first. What it answers follows the endpoint: `…/410`.
"""

import base64
import http.server
import json
import os

import http_ece
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02

key = ec.generate_private_key(ec.SECP256R1())
auth = os.urandom(16)


def url_safe(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def say(what):
    print(json.dumps(what), flush=True)


class Service(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        opened = http_ece.decrypt(body, private_key=key, auth_secret=auth, version="aes128gcm")
        signed = self.headers["authorization"]
        token, shown = [part.split("=", 1)[1] for part in signed.removeprefix("vapid ").split(",")]
        claims = token.split(".")[1]
        say(
            {
                "path": self.path,
                "push": json.loads(opened),
                "verified": bool(Vapid02.verify(signed)),
                "key": shown,
                "claims": json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))),
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "bytes": len(body),
            }
        )
        status = int(self.path.rsplit("/", 1)[1])
        self.send_response(status)
        if status in (429, 503):
            self.send_header("retry-after", "120")
        if status in (301, 307):
            self.send_header("location", "/elsewhere/201")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
say(
    {
        "endpoint": f"http://127.0.0.1:{server.server_port}/wpush",
        "p256dh": url_safe(public),
        "auth": url_safe(auth),
    }
)
server.serve_forever()
