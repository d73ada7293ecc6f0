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
from training.card import base_licence, push_folder

KEPT = ("README.md", "adapter_config.json", "adapter_model.safetensors", "run_manifest.json", "training.png")
LEFT = ("checkpoint-2/optimizer.pt", "sft/adapter_model.safetensors", "sft/checkpoint-1/optimizer.pt", "runs/events")
LEFT += ("ref/adapter_model.safetensors", "merged/model.safetensors", "trainer_state.json", "train_results.json")
LEFT += ("training_args.bin", "run_state.json")


class FakeHub(BaseHTTPRequestHandler):
    """Creates repositories and takes commits of small files; remembers what it was given."""

    created: list[dict[str, Any]]
    committed: dict[str, bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
        content: dict[str, Any] = {"commitUrl": "http://127.0.0.1/me/my-adapter/commit/abc", "commitOid": "abc"}
        if self.headers.get("Authorization") != "Bearer hf_right":
            self._answer({"error": "Invalid user token."}, 401)
            return
        if self.path == "/api/repos/create":
            self.created.append(json.loads(body))
            content = {"url": f"http://127.0.0.1/me/{self.created[-1]['name']}"}
        elif self.path == "/api/validate-yaml":  # the head of the card
            content = {"errors": [], "warnings": []}
        elif "/preupload/" in self.path:
            kind = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            content = {"files": [file | kind for file in json.loads(body)["files"]]}
        else:
            entries = [json.loads(line) for line in body.splitlines()]
            files = [entry["value"] for entry in entries if entry["key"] == "file"]
            self.committed.update({file["path"]: base64.b64decode(file["content"]) for file in files})
        self._answer(content)

    def do_GET(self) -> None:
        known = self.headers.get("Authorization") == "Bearer hf_right"
        self._answer(
            {"name": "me", "type": "user"} if known else {"error": "Invalid user token."}, 200 if known else 401
        )

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
    handler = type("Handler", (FakeHub,), {"created": [], "committed": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_URL_HOSTS", constants.HF_URL_HOSTS | {"127.0.0.1"})
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda token: HfApi(endpoint=address, token=token))
        yield handler
        server.shutdown()


def test_the_adapter_goes_up_with_its_card_and_without_checkpoints(hub: type[FakeHub], tmp_path: Path) -> None:
    folder = tmp_path / "my-adapter"
    for name in (*KEPT, *LEFT):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    settings: dict[str, Any] = {"hub_model_id": None, "hub_private_repo": True, "hub_revision": None}
    with pytest.raises(OSError, match="token"):
        push_folder(folder, SimpleNamespace(**settings, hub_token="hf_wrong"))
    assert not hub.committed
    address = push_folder(folder, SimpleNamespace(**settings, hub_token="hf_right"))
    assert address.endswith("/me/my-adapter/commit/abc")
    [created] = hub.created
    assert (created["organization"], created["name"]) == ("me", "my-adapter")
    assert created.get("private") or created["visibility"] == "private"
    assert hub.committed == {name: name.encode() for name in KEPT}


def test_licence_is_left_out_where_nobody_states_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    (tmp_path / "README.md").write_text("# A model\n")
    assert [base_licence(name, None) for name in (str(tmp_path), str(tmp_path.parent), "nobody/such-a-model")] == [
        None
    ] * 3
