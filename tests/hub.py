"""A local server with the parts of the Hugging Face Hub that an upload needs."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_" + "a" * 34


class Hub:
    """The uploaded files by name, for each repository."""

    def __init__(self):
        self.files, self.large, self.private, self.requests = {}, {}, {}, []
        self.refuse = None  # an HTTP status with which all requests are answered


@contextmanager
def hub():
    """Start a hub at `hub.address`."""
    found = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": found}))
    found.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def _body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, value, status=200):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _may(self):
        self.hub.requests.append((self.command, self.path))
        if self.hub.refuse:
            self._answer({"error": "no"}, self.hub.refuse)
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}" and "/lfs-store/" not in self.path:
            self._answer({"error": "Invalid credentials"}, 401)
        else:
            return True
        return False

    def do_GET(self):
        if self._may():
            self._answer({"sha": "0" * 40, "id": "x", "siblings": []})

    def do_PUT(self):
        data = self._body()
        if self._may():
            self.hub.large[hashlib.sha256(data).hexdigest()] = data
            self._answer({})

    def do_POST(self):
        data = self._body()
        if not self._may():
            return
        if self.path == "/api/repos/create":
            asked = json.loads(data)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            self.hub.private[name] = bool(asked.get("private")) or asked.get("visibility") == "private"
            self._answer({"url": f"{self.hub.address}/{name}", "id": name})
        elif "/preupload/" in self.path:
            files = json.loads(data)["files"]
            modes = [
                {
                    "path": each["path"],
                    "shouldIgnore": False,
                    "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular",
                }
                for each in files
            ]
            self._answer({"files": modes})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(data)["objects"]
            answers = [
                {**each, "actions": {"upload": {"href": f"{self.hub.address}/lfs-store/{each['oid']}"}}}
                for each in objects
            ]
            self._answer({"transfer": "basic", "objects": answers})
        elif "/commit/" in self.path:
            self._commit(data)
        else:
            self._answer({})

    def _commit(self, data):
        name = self.path.split("/api/models/")[1].split("/commit/")[0]
        files = self.hub.files.setdefault(name, {})
        for line in map(json.loads, data.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
        self._answer(
            {"commitUrl": f"{self.hub.address}/{name}/commit/{'0' * 40}", "commitOid": "0" * 40, "success": True}
        )
