"""A company's gateway to apps: checks each call's signature by the package of Standard Webhooks, and prints it.

The argument is the secret. Prints `{"url": …}` first. What it answers follows the address: `…/410`.
"""

import http.server
import json
import sys

from standardwebhooks.webhooks import Webhook

webhook = Webhook(sys.argv[1])


def say(what):
    print(json.dumps(what), flush=True)


class Gateway(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        push = webhook.verify(body, headers)
        say({"path": self.path, "push": push, "headers": headers})
        status = int(self.path.rsplit("/", 1)[1])
        self.send_response(status)
        if status == 503:
            self.send_header("retry-after", "120")
        if status == 307:
            self.send_header("location", "/elsewhere/200")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
say({"url": f"http://127.0.0.1:{server.server_port}/push"})
server.serve_forever()
