"""Vision-language models of two families with random weights, and twins about pictures, made at test time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tiny_model import make_rows, make_tokenizer

from rubrics.pictures import load_picture

PICTURES = ["shapes_01.png", "chart_01.png", "map_01.png", "landscape_01.png"]
# as the families' processors ship them
IDEFICS3 = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
GEMMA3 = (
    "{{ bos_token }}{%- set prefix = messages[0]['content'][0]['text'] + '\n\n' -%}{%- for message in messages[1:] -%}"
    "{%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}"
    "{{ '<start_of_turn>' + role + '\n' + (prefix if loop.first else '') }}{%- for item in message['content'] -%}"
    "{%- if item['type'] == 'image' -%}{{ '<start_of_image>' }}{%- elif item['type'] == 'text' -%}"
    "{{ item['text'] | trim }}{%- endif -%}{%- endfor -%}{{ '<end_of_turn>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{'<start_of_turn>model\n'}}{%- endif -%}"
)
MARKS = {
    IDEFICS3: ("<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>", "<global-img>"),
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
