"""Vision-language models of two families with random weights, and twins about pictures, made at test time."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import trl
from tiny_model import make_rows, make_tokenizer

from rubrics.pictures import load_picture

PICTURES = ["shapes_01.png", "chart_01.png", "map_01.png", "landscape_01.png"]
SHIPPED = Path(trl.__file__).parent / "chat_templates"
IDEFICS3, GEMMA3, QWEN2_5_VL = (
    (SHIPPED / f"{name}.jinja").read_text(encoding="utf-8") for name in ("smolvlm", "gemma3", "qwen2_5_vl")
)
MARKS = {
    IDEFICS3: ("<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>", "<global-img>"),
    QWEN2_5_VL: ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
    GEMMA3: ("<bos>", "<end_of_turn>", "<start_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>"),
}
VISION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION |= {"image_size": 56, "patch_size": 14}
TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
TEXT |= {"num_key_value_heads": 2}


def picture_rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """`count` twins, each about a picture, in the form that `cpt twins` gives them."""
    rows = make_rows(count, start)
    for row in rows:
        system, user = ({"type": "text", "text": message["content"]} for message in row["prompt"])
        image = {"type": "image", "text": None}
        row["prompt"] = [{"role": "system", "content": [system]}, {"role": "user", "content": [image, user]}]
        row["images"] = [load_picture(PICTURES[row["pair_id"] % len(PICTURES)]).data_uri]
    return rows


def save_idefics3(folder: Path, template: str = IDEFICS3) -> None:
    """Of the family of SmolVLM."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    words = make_tokenizer(template, MARKS[IDEFICS3])
    sizes = {"longest_edge": 56}
    images = Idefics3ImageProcessorPil(do_image_splitting=False, size=sizes, max_image_size=sizes)
    build: Any = Idefics3Processor
    build(images, words, image_seq_len=4, chat_template=template).save_pretrained(folder)
    text = {"model_type": "llama", "vocab_size": len(words), "pad_token_id": words.pad_token_id, **TEXT}
    ids = {"image_token_id": words.convert_tokens_to_ids("<image>"), "pad_token_id": words.pad_token_id}
    torch.manual_seed(0)
    config: Any = Idefics3Config(vision_config=VISION, text_config=text, scale_factor=2, **ids)
    Idefics3ForConditionalGeneration(config).save_pretrained(folder)


def save_gemma3(folder: Path, template: str = GEMMA3) -> None:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3Processor
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    words = make_tokenizer(template, MARKS[GEMMA3])
    names = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    words.init_kwargs |= names
    for name, token in names.items():
        setattr(words, name, token)
        setattr(words, f"{name}_id", words.convert_tokens_to_ids(token))
    images = Gemma3ImageProcessorPil(size={"height": 56, "width": 56})
    build: Any = Gemma3Processor
    build(images, words, image_seq_length=4, chat_template=template).save_pretrained(folder)
    text = {"vocab_size": len(words), "head_dim": 8, "pad_token_id": words.pad_token_id, **TEXT}
    ids = {"boi_token_index": words.boi_token_id, "eoi_token_index": words.eoi_token_id}
    ids |= {"image_token_index": words.image_token_id, "mm_tokens_per_image": 4}
    torch.manual_seed(0)
    config: Any = Gemma3Config(vision_config=VISION, text_config=text, **ids)
    Gemma3ForConditionalGeneration(config).save_pretrained(folder)


def qwen_processor() -> Any:
    """Of Qwen2.5-VL, without the part for videos, which needs torchvision: so it cannot be saved and read."""
    from transformers import ProcessorMixin, Qwen2_5_VLProcessor
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    build: Any = Qwen2_5_VLProcessor
    words = make_tokenizer(QWEN2_5_VL, MARKS[QWEN2_5_VL])
    with patch.object(ProcessorMixin, "check_argument_for_proper_class"):
        return build(Qwen2VLImageProcessorPil(max_pixels=56 * 56), words, None, chat_template=QWEN2_5_VL)
