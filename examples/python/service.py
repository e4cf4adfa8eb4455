"""A service behind a Sallyport gateway, with nothing but http.server. PORT and IDENTITY_PUBLIC_KEY are its settings."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from identity import Guard, Refused

# The name in the gateway's route, so that no assertion for another service is accepted here.
guard = Guard(os.environ.get("IDENTITY_PUBLIC_KEY", ""), audience="python-example")
require_identity, require_role = guard.require_identity, guard.require_role


def public(_headers):
    return {"hello": "everyone"}


@require_identity(callers=("user", "client"))
def whoami(identity):
    return {"caller": identity.caller, "id": identity.user_id or identity.client_id, "roles": identity.roles}


@require_role("doctor")
def ward(identity):
    return {"doctor": identity.email}


ROUTES = {
    "/api/python/public": public,
    "/api/python/whoami": whoami,
    "/api/python/ward": ward,
}


class Handler(BaseHTTPRequestHandler):
    # It stays with HTTP/1.0, one request for each connection: what is left unread of a body is then no further request.

    def do_GET(self):
        try:
            route = ROUTES.get(self.path.partition("?")[0])
            if not route:
                raise Refused(404, "NOT_FOUND", "There is nothing here")
            self.respond(200, "application/json", route(self.headers), {})
        except Refused as refused:
            self.respond(refused.status, "application/problem+json", refused.problem, refused.headers)

    def respond(self, status, content_type, content, headers):
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"content-type": content_type, "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "5020"))), Handler)
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever()
