"""A local transformers model as an OpenVINO graph, its adapter merged: written once into `.openvino/` beside it.

`optimum-intel`, the usual way, does not support transformers 5.23. The graph is what OpenVINO GenAI takes for a decoder
(as of optimum-intel, `exporters/openvino/stateful.py`): its keys and values are states, in the order of `beam_idx`.
"""

import hashlib
import shutil
import warnings
from pathlib import Path
from typing import Any

from filelock import FileLock

MODEL_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")


def local_folder(name: str) -> Path:
    """The folder of a model: the one named, or that of a model of the hub in its cache."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, allow_patterns=list(MODEL_FILES)))


def export(folder: Path, compress: bool) -> Path:
    """The folder with the graph of a model, made now or found from an earlier run.

    It is found by a hash of the weights, of those of the base model of an adapter, and of this file.

    Args:
        folder: Model folder, or adapter folder whose `adapter_config.json` names its base model.
        compress: Whether weights are kept in 16 bits; for computing in float32 they are not.

    Raises:
        ValueError: If a graph would compute something else: where a layer attends to anything but the whole text
            before a token, or the angles of positions depend on the length of a text.
    """
    import openvino

    base = folder
    if (folder / "adapter_config.json").is_file():
        from peft import PeftConfig

        base = local_folder(str(PeftConfig.from_pretrained(str(folder)).base_model_name_or_path))
    _check_attention(base)
    found = hashlib.sha256(f"{openvino.__version__} {compress}".encode())
    for path in [Path(__file__), *sorted({*_weights(base), *_weights(folder)})]:
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


def _weights(folder: Path) -> list[Path]:
    return [path for pattern in ("*config.json", "*.safetensors") for path in folder.glob(pattern)]


def _check_attention(folder: Path) -> None:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder).get_text_config()
    window = "sliding_attention" if getattr(config, "sliding_window", None) else "full_attention"
    others = sorted({*(getattr(config, "layer_types", None) or [window])} - {"full_attention"})
    if others:
        raise ValueError(f"{folder}: got layers of {', '.join(others)}, expected full_attention only; use hf/")
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if rope in ("dynamic", "longrope"):
        raise ValueError(f"{folder}: got rope_type {rope}, whose angles change with the length of a text; use hf/")


def _write(base: Path, folder: Path, out: Path, compress: bool) -> None:
    import openvino
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="sdpa")
    if folder != base:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    graph = _graph(model.eval())
    openvino.save_model(graph, out / "openvino_model.xml", compress_to_fp16=compress)
    model.config.save_pretrained(out)
    sampling = model.generation_config
    sampling.do_sample = True
    sampling.top_k = 50 if sampling.top_k is None else sampling.top_k  # transformers' default, not GenAI's
    sampling.save_pretrained(out)


def _graph(model: Any) -> Any:
    """The stateful graph of a decoder: logits of input_ids, attention_mask, position_ids and beam_idx."""
    import openvino
    import torch
    from openvino._offline_transformations import apply_make_stateful_transformation

    config = model.config
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads, layers = config.num_key_value_heads, range(config.num_hidden_layers)
    past = [torch.zeros(2, heads, 3, head) for _ in layers for _ in ("key", "value")]
    example = (torch.ones(2, 2, dtype=torch.long), torch.ones(2, 5, dtype=torch.long), torch.tensor([[3, 4]] * 2))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # of branches that a decoder with a cache never takes
        graph = openvino.convert_model(_decoder(model), example_input=(*example, *past))

    states = [f"past_key_values.{layer}.{kind}" for layer in layers for kind in ("key", "value")]
    names = ["input_ids", "attention_mask", "position_ids", *states]
    for port, name in zip(graph.inputs, names, strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_friendly_name(name)
        port.get_node().set_partial_shape(openvino.PartialShape([-1, heads, -1, head] if name in states else [-1, -1]))
    present = [name.replace("past_key_values", "present") for name in states]
    for port, name in zip(graph.outputs, ["logits", *present], strict=True):
        port.get_tensor().set_names({name})
    _reorder(graph, states)
    apply_make_stateful_transformation(graph, dict(zip(states, present, strict=True)))
    _start_empty(graph, heads, head)
    return graph


def _decoder(model: Any) -> Any:
    """The model as a function of tensors alone: with its own mask, and keys and values in and out."""
    import torch
    from transformers.cache_utils import DynamicCache, DynamicLayer

    class Decoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, position_ids: Any, *past: Any) -> tuple[Any, ...]:
            cache = DynamicCache()
            for keys, values in zip(past[::2], past[1::2], strict=True):
                layer = DynamicLayer()
                layer.lazy_initialization(keys, values)
                layer.keys, layer.values = keys, values
                cache.layers.append(layer)
            # transformers' own mask is made of Python numbers, which a trace would freeze
            order = torch.arange(attention_mask.shape[-1])
            queries = order[attention_mask.shape[-1] - input_ids.shape[-1] :]
            seen = (order[None, :] <= queries[:, None])[None, None] & (attention_mask[:, None, None, :] > 0)
            mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float16).min)
            done = self.model(
                input_ids=input_ids, attention_mask=mask, position_ids=position_ids, past_key_values=cache
            )
            return (
                done.logits,
                *(part for layer in done.past_key_values.layers for part in (layer.keys, layer.values)),
            )

    return Decoder()


def _reorder(graph: Any, states: list[str]) -> None:
    """Takes the states in the order of a new input `beam_idx`."""
    import openvino
    from openvino import opset13

    beams = opset13.parameter(openvino.PartialShape([-1]), openvino.Type.i32, name="beam_idx")
    beams.output(0).get_tensor().add_names({"beam_idx"})
    graph.add_parameters([beams])
    graph.validate_nodes_and_infer_types()
    for name in states:
        port = graph.input(name)
        readers = port.get_target_inputs()
        ordered = opset13.gather(port, beams, opset13.constant(0))
        for reader in readers:
            reader.replace_source_output(ordered.output(0))
    graph.validate_nodes_and_infer_types()


def _start_empty(graph: Any, heads: int, head: int) -> None:
    """Lets every state begin with no tokens, for as many sequences as `input_ids` has."""
    import numpy as np
    from openvino import opset13

    shape = opset13.shape_of(graph.input("input_ids"), output_type="i64")
    batch = opset13.gather(shape, opset13.constant([0]), opset13.constant(0))
    sizes = [opset13.constant(np.array([size], dtype=np.int64)) for size in (heads, 0, head)]
    for node in graph.get_ops():
        if node.get_type_name() == "ReadValue":
            zero = opset13.constant(0.0, dtype=node.get_output_element_type(0))
            node.set_arguments([opset13.broadcast(zero, opset13.concat([batch, *sizes], axis=0))])
    graph.validate_nodes_and_infer_types()
