"""A server on this machine that speaks as much of OpenAI's protocol as hosted students need, and keeps a ledger.

    with Server() as server:                      # server.url goes into OPENAI_BASE_URL
        server.plant("POST /v1/fine_tuning/jobs", "drop-after")
        ...
        assert server.ledger["jobs"] == 1

Files, fine-tuning jobs (create, retrieve, list, cancel, events) and chat completions (seed, n). Faults are planted by
route and used up one by one; `answer(model, messages, seed, n)` says what a model replies. What costs money at a
provider is counted in the ledger: jobs, tokens trained, completions by (model, prompt, seed).
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "sk-test-0123456789abcdefghijklmnop"


def _fault(status: int, message: str, kind: str, code: str | None, **more: str) -> tuple[int, dict[str, Any]]:
    return status, {"message": message, "type": kind, "code": code, **more}


BAD = "invalid_request_error"
FAULTS = {
    "429": _fault(429, "Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
    "quota": _fault(429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
    "500": _fault(500, "The server had an error.", "server_error", None),
    "503": _fault(503, "Overloaded.", "server_error", None),
    "400": _fault(400, "Invalid value for n_epochs.", BAD, "invalid_value", param="n_epochs"),
    "401": _fault(401, f"Incorrect API key provided: {KEY}.", BAD, "invalid_api_key"),
    "403": _fault(403, "You are not allowed to create fine-tuning jobs.", BAD, "permission_denied"),
    "404": _fault(404, "The model `gpt-none` does not exist.", BAD, "model_not_found"),
    "file-gone": _fault(400, "File is expired.", BAD, "invalid_file", param="training_file"),
}
"""Faults that are an answer. The others: drop-before and drop-after close the connection without one, before or after
the request was carried out; drop-body reads half of the body and resets; kill-before and kill-after send SIGKILL to
`server.victim` instead of an answer; hide answers a list without its newest entry."""

Answer = Callable[[str, list[dict[str, str]], int | None, int], list[str]]


class Server(ThreadingHTTPServer):
    """One provider with one account. polls: looks at a job before it has ended."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, answer: Answer | None = None, polls: int = 1) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer: Answer = answer or (lambda model, messages, seed, n: [f"{seed}" for _ in range(n)])
        self.polls = polls
        self.lock = threading.RLock()
        self.files: dict[str, dict[str, Any]] = {}
        self.bodies: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.looked: Counter[str] = Counter()
        self.faults: dict[str, deque[str]] = defaultdict(deque)
        self.ending: dict[str, Any] = {"status": "succeeded"}
        self.completions: Counter[tuple[str, str, int | None]] = Counter()
        self.requests: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.victim: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def ledger(self) -> dict[str, int]:
        """What an account would be billed for."""
        return {
            "jobs": len(self.jobs),
            "uploads": len(self.files),
            "completions": self.completions.total(),
            "most_often": max(self.completions.values(), default=0),
        }

    def plant(self, route: str, *faults: str) -> None:
        """The next requests to `route` ("POST /v1/files") meet these faults; "ok" lets one pass."""
        self.faults[route].extend(faults)

    def __enter__(self) -> Server:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no news."""


class Gone(Exception):
    """The connection ends without an answer."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/victim/"):
            self.server.victim = int(self.path.rpartition("/")[2])
            return self.say(200, {})
        self.serve(b"")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        route = self.route()
        if self.server.faults[route] and self.server.faults[route][0] == "drop-body":
            self.server.faults[route].popleft()
            self.rfile.read(length // 2)
            self.close_connection = True
            self.connection.close()
            return
        self.serve(self.rfile.read(length))

    def route(self) -> str:
        path = re.sub(r"/(ftjob-|file-)\d+", "/{id}", urlsplit(self.path).path)
        return f"{self.command} {path}"

    def serve(self, body: bytes) -> None:
        server, route = self.server, self.route()
        with server.lock:
            server.requests.append(route)
            fault = server.faults[route].popleft() if server.faults[route] else "ok"
        try:
            if self.headers.get("Authorization") != f"Bearer {KEY}":
                fault = "401"
            if fault in FAULTS:
                return self.say(*FAULTS[fault], error=True)
            self.gone_if(fault, "before")
            with server.lock:
                status, told = self.carry_out(route, body)
            if fault == "hide" and told.get("data"):
                told = {**told, "data": told["data"][1:]}
            self.gone_if(fault, "after")
            self.say(status, told, error=status >= 400)
        except Gone:
            self.close_connection = True
            self.connection.close()

    def gone_if(self, fault: str, when: str) -> None:
        if fault == f"kill-{when}" and self.server.victim:
            os.kill(self.server.victim, signal.SIGKILL)
            raise Gone
        if fault == f"drop-{when}":
            raise Gone

    def say(self, status: int, told: dict[str, Any], error: bool = False) -> None:
        text = json.dumps({"error": told} if error else told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        if status == 429 or status >= 500:
            self.send_header("retry-after-ms", "20")
            self.send_header("Retry-After", "0.02")
        self.end_headers()
        self.wfile.write(text)

    # ------------------------------------------------------------ routes

    def carry_out(self, route: str, body: bytes) -> tuple[int, dict[str, Any]]:
        found = re.search(r"/((?:ftjob|file)-\d+)", self.path)
        one = found.group(1) if found else ""
        match route:
            case "POST /v1/files":
                return 200, self.upload(body)
            case "GET /v1/files":
                return 200, self.listed(list(self.server.files.values()))
            case "POST /v1/fine_tuning/jobs":
                return self.start(json.loads(body))
            case "GET /v1/fine_tuning/jobs":
                wanted = {k[9:-1]: v[0] for k, v in self.query().items() if k.startswith("metadata[")}
                jobs = [j for j in self.server.jobs.values() if wanted.items() <= (j["metadata"] or {}).items()]
                return 200, self.listed(jobs)
            case "GET /v1/fine_tuning/jobs/{id}" if one in self.server.jobs:
                return 200, self.look(self.server.jobs[one])
            case "POST /v1/fine_tuning/jobs/{id}/cancel" if one in self.server.jobs:
                self.server.jobs[one] |= {"status": "cancelled", "finished_at": int(time.time())}
                return 200, self.server.jobs[one]
            case "GET /v1/fine_tuning/jobs/{id}/events":
                return 200, self.listed(self.events(one))
            case "POST /v1/chat/completions":
                return self.complete(json.loads(body))
        return 404, {"message": f"Unknown request: {route}", "type": "invalid_request_error", "code": None}

    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query)

    def listed(self, entries: list[dict[str, Any]]) -> dict[str, Any]:
        """One page, the newest first."""
        newest = entries[::-1]
        after = self.query().get("after", [None])[0]
        start = next((i + 1 for i, e in enumerate(newest) if e["id"] == after), 0)
        limit = int(self.query().get("limit", ["20"])[0])
        page = newest[start : start + limit]
        return {"object": "list", "data": page, "has_more": start + limit < len(newest)}

    def upload(self, body: bytes) -> dict[str, Any]:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = {
            part.get_param("name", header="content-disposition"): part
            for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts()
        }
        content = parts["file"].get_payload(decode=True)
        made = {
            "id": f"file-{len(self.server.files) + 1}",
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": parts["file"].get_filename(),
            "purpose": parts["purpose"].get_payload(decode=True).decode(),
            "status": "processed",
        }
        self.server.files[made["id"]] = made
        self.server.bodies[made["id"]] = content
        return made

    def start(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if asked["training_file"] not in self.server.files:
            return FAULTS["file-gone"]
        job_id = f"ftjob-{len(self.server.jobs) + 1}"
        settings = asked["method"]["supervised"]["hyperparameters"]
        self.server.jobs[job_id] = {
            "id": job_id,
            "object": "fine_tuning.job",
            "created_at": int(time.time()),
            "finished_at": None,
            "error": None,
            "fine_tuned_model": None,
            "hyperparameters": settings,
            "method": asked["method"],
            "metadata": asked.get("metadata"),
            "model": asked["model"],
            "organization_id": "org-1",
            "result_files": [],
            "seed": asked["seed"],
            "status": "validating_files",
            "trained_tokens": None,
            "training_file": asked["training_file"],
            "user_provided_suffix": asked.get("suffix"),
        }
        return 200, self.server.jobs[job_id]

    def look(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job as it stands; every look brings it nearer to its end."""
        self.server.looked[job["id"]] += 1
        if job["status"] in ("validating_files", "queued", "running"):
            job["status"] = "running"
            if self.server.looked[job["id"]] > self.server.polls:
                job |= {"finished_at": int(time.time()), **self.server.ending}
                if job["status"] == "succeeded":
                    job["trained_tokens"] = len(self.server.bodies[job["training_file"]])
                    job["fine_tuned_model"] = f"ft:{job['model']}:org:{job['user_provided_suffix']}:{job['id'][6:]}"
        return job

    def events(self, job_id: str) -> list[dict[str, Any]]:
        looks = self.server.looked[job_id]
        return [
            {
                "id": f"ftevent-{n}",
                "object": "fine_tuning.job.event",
                "created_at": int(time.time()),
                "level": "info",
                "message": f"Step {n}/{self.server.polls}: training loss=0.5",
                "type": "metrics",
                "data": {"step": n, "total_steps": self.server.polls, "train_loss": 0.5},
            }
            for n in range(1, looks + 1)
        ]

    def complete(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        messages, seed, n = asked["messages"], asked.get("seed"), asked.get("n") or 1
        if n > 128:
            return 400, {"message": "n is too large.", "type": "invalid_request_error", "code": None, "param": "n"}
        self.server.asked.append(asked)
        self.server.completions[asked["model"], json.dumps(messages), seed] += 1
        replies = self.server.answer(asked["model"], messages, seed, n)
        read, written = sum(len(m["content"]) for m in messages), sum(map(len, replies))
        return 200, {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": asked["model"],
            "choices": [
                {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
                for i, text in enumerate(replies)
            ],
            "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
        }
