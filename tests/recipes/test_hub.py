"""Uploading an adapter: the real client against a fake hub on loopback."""

# ruff: noqa: E402 (imports follow the importorskip and the path that they need)

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trl")

import huggingface_hub
from huggingface_hub import HfApi
from training.card import push_folder

KEPT = ("README.md", "adapter_config.json", "adapter_model.safetensors", "run_manifest.json", "training.png")


class FakeHub(BaseHTTPRequestHandler):
    """Creates repositories and takes commits of small files; remembers what it was given."""

    created: list[dict[str, Any]]
    committed: dict[str, bytes]
    tokens: set[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.tokens.add(self.headers.get("Authorization", ""))
        if self.headers.get("Authorization") != "Bearer hf_right":
            self._answer({"error": "Invalid user token."}, 401)
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            self.created.append(asked)
            self._answer({"url": f"http://127.0.0.1/me/{asked['name']}"})
        elif self.path == "/api/validate-yaml":  # the head of the card
            self._answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            self._answer({"files": [file | {"shouldIgnore": False, "oid": None} for file in files]})
        else:
            for line in body.decode().splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.committed[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            self._answer({"commitUrl": "http://127.0.0.1/me/my-adapter/commit/abc", "commitOid": "abc"})

    def do_GET(self) -> None:
        if self.path != "/api/whoami-v2":
            self._answer({}, 404)
        elif self.headers.get("Authorization") != "Bearer hf_right":
            self._answer({"error": "Invalid user token."}, 401)
        else:
            self._answer({"name": "me", "type": "user"})

    def _answer(self, content: Any, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeHub]]:
    handler = type("Handler", (FakeHub,), {"created": [], "committed": {}, "tokens": set()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_URL_HOSTS", constants.HF_URL_HOSTS | {"127.0.0.1"})
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda token: HfApi(endpoint=address, token=token))
        yield handler
        server.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a finished run leaves, in small."""
    out = tmp_path / "my-adapter"
    left_out = ["checkpoint-2/optimizer.pt", "sft/adapter_model.safetensors", "sft/checkpoint-1/optimizer.pt"]
    left_out += ["ref/adapter_model.safetensors", "runs/events", "trainer_state.json", "train_results.json"]
    for name in (*KEPT, *left_out, "merged/model.safetensors", "training_args.bin", "run_state.json"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(name.encode())
    return out


def settings(**changes: Any) -> Any:
    defaults = {"hub_model_id": None, "hub_token": "hf_right", "hub_private_repo": True, "hub_revision": None}
    return SimpleNamespace(**defaults | changes)


def test_the_adapter_goes_up_with_its_card_and_without_checkpoints(hub: type[FakeHub], folder: Path) -> None:
    address = push_folder(folder, settings())
    assert address.endswith("/me/my-adapter/commit/abc")
    [created] = hub.created
    assert (created["organization"], created["name"]) == ("me", "my-adapter")
    assert created.get("private") or created["visibility"] == "private"
    assert hub.committed == {
        name: name.encode()
        for name in (
            "README.md",
            "adapter_config.json",
            "adapter_model.safetensors",
            "run_manifest.json",
            "training.png",
        )
    }


def test_a_refusal_is_the_hubs_error_and_commits_nothing(hub: type[FakeHub], folder: Path) -> None:
    with pytest.raises(OSError, match="token"):
        push_folder(folder, settings(hub_token="hf_wrong"))
    assert not hub.committed
