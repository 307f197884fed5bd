"""Whole runs with the real command line, whose messages a server on this machine takes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest


class Receiver(BaseHTTPRequestHandler):
    """Keeps what is posted to `/ok/…`, answers `/slow/…` when the test is over, and refuses the rest."""

    messages: list[dict[str, Any]]
    is_over: threading.Event

    def do_POST(self) -> None:
        if self.path.startswith("/slow/"):
            self.is_over.wait(60)
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/ok/"):
            self.messages.append(json.loads(body))
        self.send_response(200 if self.path.startswith("/ok/") else 500)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    handler = type("Handler", (Receiver,), {"messages": [], "is_over": threading.Event()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as receiver:
        thread = threading.Thread(target=receiver.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{receiver.server_address[1]}", handler.messages
        handler.is_over.set()
        receiver.shutdown()
        thread.join()


def run_hello(root: Path, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "rv_core", "run", "inprocess", "rv_core.hello", "-a", f"root_uri={root}", *words]
    environ = {**os.environ, "RV_NOTIFY_URL": url}
    return subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, timeout=60)


def events_of(root: Path) -> list[dict[str, Any]]:
    (path,) = root.glob(".rv/runs/*/events/submission.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_end_of_a_run_is_posted(server: tuple[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    url, messages = server
    assert run_hello(tmp_path, f"{url}/ok/token").returncode == 0
    (message,) = messages
    assert (message["event"], message["succeeded"], message["done"]) == ("run_finished", True, 5)


def test_a_failed_task_is_posted_with_its_reason(server: tuple[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    url, messages = server
    assert run_hello(tmp_path, f"{url}/ok/token", "-a", "fail_on=item-1").returncode == 1
    failed, finished = messages
    assert (failed["event"], failed["task"]) == ("task_failed", "hello.cpu_task")
    assert "asked to fail on item-1" in failed["reason"]
    assert finished["failed_tasks"] == ["hello.cpu_task"]


def test_a_server_that_refuses_is_an_event_and_no_failure(
    server: tuple[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    url, messages = server
    expect_event(tmp_path, f"{url}/other/secret-token", "the message was refused: 500")
    assert messages == []


def test_a_server_that_is_slow_is_an_event_and_no_failure(
    server: tuple[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    expect_event(tmp_path, f"{server[0]}/slow/secret-token", "the message could not be posted: TimeoutError")


def test_a_server_that_is_down_is_an_event_and_no_failure(tmp_path: Path) -> None:
    with socket.socket() as unused:  # bound, so that nobody else gets the port; not listening
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/secret-token"
        expect_event(tmp_path, url, "the message could not be posted: URLError")


def expect_event(root: Path, url: str, reason: str) -> None:
    """A run ends well, warns of what went wrong and writes it to its events; the token is nowhere."""
    done = run_hello(root, url)
    assert done.returncode == 0, done.stderr
    (event,) = [event for event in events_of(root) if event["event"] == "hook_failed"]
    assert reason in event["reason"]
    assert f"warning: {event['reason']}" in done.stderr
    assert "secret-token" not in json.dumps(events_of(root)) + done.stdout + done.stderr


def test_without_a_url_nothing_happens(tmp_path: Path) -> None:
    assert run_hello(tmp_path, "").returncode == 0
    assert [event["event"] for event in events_of(tmp_path)] == ["run_finished"]
