"""What `recipes/dpo_lora.py` is made of, in the order of a run.

`settings` and `pairs` (what is asked and read), `chat_templates` and `preflight` (what would be trained on), `plan`,
`stages` with `trainer` and `twins` (the training), `run_files`, `samples` and `outputs` (what it leaves behind).
"""


class RecipeError(ValueError):
    """A setting or a file that cannot be trained on; the message is one sentence saying where, what, and the fix."""
