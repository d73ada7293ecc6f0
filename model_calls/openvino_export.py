"""A local transformers model as an OpenVINO graph, its adapter merged: written once into `.openvino/` beside it.

`optimum-intel`, the usual way, does not support transformers 5.23. The graph is what OpenVINO GenAI takes for a decoder
(as of optimum-intel, `exporters/openvino/stateful.py`): its keys and values are states, in the order of `beam_idx`.
"""

import hashlib
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from filelock import FileLock
from huggingface_hub import snapshot_download
from openvino import opset13
from openvino._offline_transformations import apply_make_stateful_transformation
from peft import PeftConfig, PeftModel
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.cache_utils import DynamicCache, DynamicLayer

MODEL_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]


def local_folder(name: str) -> Path:
    """The folder of a model: the one named, or for a name on the hub that in its cache."""
    return Path(name) if Path(name).is_dir() else Path(snapshot_download(name, allow_patterns=MODEL_FILES))


def export(folder: Path, compress: bool) -> Path:
    """The folder with the graph of a model, made now or found: by a hash of its files, its base model's and this one.

    Args:
        folder: Model folder, or adapter folder whose `adapter_config.json` names its base model.
        compress: Whether weights are kept in 16 bits; computing in float32 needs all 32.

    Raises:
        ValueError: If the graph would compute something else: where a layer attends to anything but the whole text
            before a token, or the angles of positions depend on the length of a text.
    """
    base = folder
    if (folder / "adapter_config.json").is_file():
        base = local_folder(str(PeftConfig.from_pretrained(str(folder)).base_model_name_or_path))
    _check(base)
    found = hashlib.sha256(f"{openvino.__version__} {compress}".encode())
    files = {path for one in (base, folder) for kind in ("*config.json", "*.safetensors") for path in one.glob(kind)}
    for path in (Path(__file__), *sorted(files)):
        found.update(path.read_bytes())
    out = folder / ".openvino" / found.hexdigest()[:16]
    out.parent.mkdir(exist_ok=True)
    with FileLock(f"{out}.lock"):
        if not out.exists():
            part = out.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)  # of a run that was killed
            _write(base, folder, part, compress)
            part.rename(out)
    return out


def _check(folder: Path) -> None:
    config: Any = AutoConfig.from_pretrained(folder)
    window = "sliding_attention" if getattr(config, "sliding_window", None) else "full_attention"
    others = sorted({*(getattr(config, "layer_types", None) or [window])} - {"full_attention"})
    if others:
        raise ValueError(f"{folder}: got layers of {', '.join(others)}, expected full_attention only; use hf/")
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type")
    if rope in ("dynamic", "longrope"):
        raise ValueError(f"{folder}: got rope_type {rope}, whose angles change with the length of a text; use hf/")


def _write(base: Path, folder: Path, out: Path, compress: bool) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="sdpa")
    sampling = model.generation_config
    sampling.do_sample = True
    sampling.top_k = 50 if sampling.top_k is None else sampling.top_k  # transformers' default, not GenAI's
    if folder != base:
        model = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    openvino.save_model(_graph(model.eval()), out / "openvino_model.xml", compress_to_fp16=compress)
    model.config.save_pretrained(out)
    sampling.save_pretrained(out)


class _Decoder(torch.nn.Module):
    """A model as a function of tensors alone: with its own mask, and keys and values in and out."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Any, attention_mask: Any, position_ids: Any, *past: Any) -> tuple[Any, ...]:
        cache: Any = DynamicCache()
        for keys, values in zip(past[::2], past[1::2], strict=True):
            layer: Any = DynamicLayer()  # type: ignore[no-untyped-call]  # without types
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys, values
            cache.layers.append(layer)
        # transformers' own mask is made of Python numbers, which a trace would freeze
        order = torch.arange(attention_mask.shape[-1])
        queries = order[attention_mask.shape[-1] - input_ids.shape[-1] :]
        seen = (order[None, :] <= queries[:, None])[None, None] & (attention_mask[:, None, None, :] > 0)
        mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float16).min)
        inputs = {"input_ids": input_ids, "attention_mask": mask, "position_ids": position_ids}
        logits = self.model(**inputs, past_key_values=cache, use_cache=True).logits
        return (logits, *(part for layer in cache.layers for part in (layer.keys, layer.values)))


def _graph(model: Any) -> Any:
    """The graph of a decoder: logits of input_ids, attention_mask, position_ids and beam_idx."""
    config = model.config
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    states = [f"{layer}.{kind}" for layer in range(config.num_hidden_layers) for kind in ("key", "value")]
    past = [torch.zeros(2, heads, 3, size) for _ in states]
    example = (torch.ones(2, 2, dtype=torch.long), torch.ones(2, 5, dtype=torch.long), torch.tensor([[3, 4]] * 2))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of branches that a decoder with a cache never takes
        graph = openvino.convert_model(_Decoder(model), example_input=(*example, *past))

    before, after = [f"past_key_values.{name}" for name in states], [f"present.{name}" for name in states]
    names = ["input_ids", "attention_mask", "position_ids", *before]
    for port, name in zip(graph.inputs, names, strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_friendly_name(name)
        port.get_node().set_partial_shape(openvino.PartialShape([-1, heads, -1, size] if name in before else [-1, -1]))
    for port, name in zip(graph.outputs, ["logits", *after], strict=True):
        port.get_tensor().set_names({name})
    beams = opset13.parameter(openvino.PartialShape([-1]), openvino.Type.i32, name="beam_idx")
    beams.output(0).get_tensor().add_names({"beam_idx"})
    graph.add_parameters([beams])
    graph.validate_nodes_and_infer_types()
    for name in before:
        port = graph.input(name)
        readers = port.get_target_inputs()
        ordered = opset13.gather(port, beams, opset13.constant(0))
        for reader in readers:
            reader.replace_source_output(ordered.output(0))
    graph.validate_nodes_and_infer_types()
    apply_make_stateful_transformation(graph, dict(zip(before, after, strict=True)))
    _start_empty(graph, heads, size)
    return graph


def _start_empty(graph: Any, heads: int, size: int) -> None:
    """Lets every state begin with no tokens, for as many sequences as `input_ids` has."""
    shape = opset13.shape_of(graph.input("input_ids"), output_type="i64")
    batch = opset13.gather(shape, opset13.constant([0]), opset13.constant(0))
    sizes = [opset13.constant(np.array([one], dtype=np.int64)) for one in (heads, 0, size)]
    for node in graph.get_ops():
        if node.get_type_name() == "ReadValue":
            zero = opset13.constant(0.0, dtype=node.get_output_element_type(0))
            node.set_arguments([opset13.broadcast(zero, opset13.concat([batch, *sizes], axis=0))])
    graph.validate_nodes_and_infer_types()
