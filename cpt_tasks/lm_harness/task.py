"""The class behind both tasks: refuses runs in which the system prompt would be lost, and judges all responses at once.

lm_eval finds it through `class:` in `tasks/_cpt_task`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from lm_eval.api.task import ConfigurableTask

from cpt_tasks.lm_harness.documents import CannotRunError, Document, settings_of
from cpt_tasks.lm_harness.judging import judge_responses, make_judge
from cpt_tasks.lm_harness.lm_eval_private import messages_of, predicts_only, sampled_as
from cpt_tasks.options import decoding_of
from model_calls.visible import OPENED, THOUGHT_OPENED
from rubrics import load_rubrics


class CPTTask(ConfigurableTask):  # type: ignore[misc]  # lm_eval is not typed
    """A task whose documents bring their own system prompt and whose responses are judged by a rubric.

    In its YAML, `metric_list` is a function from settings to the list.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:  # lm_eval looks for a parameter of this name
        content = dict(config)
        content.pop("class", None)  # lm_eval's own configuration has no such field
        self.settings = settings_of(content.get("metadata") or {})
        content["metadata"] = content.get("metadata", {}) | self.settings.model_dump()  # recorded in the results
        content["metric_list"] = content["metric_list"](self.settings)
        self.samples_many = content.get("repeats", 1) > 1
        if self.samples_many:
            content["repeats"] = self.settings.n_samples
        super().__init__(config=content)
        self.rubrics = load_rubrics(self.settings.rubrics)  # as they are now: a file may be edited meanwhile

    def build_all_requests(self, **options: Any) -> None:
        """Makes the requests; CannotRunError if system prompts would be lost or changed, or there is no judge."""
        if not (options.get("apply_chat_template") and options.get("chat_template")):
            raise CannotRunError(
                f"{self.task_name}: the system prompts need a chat template, or they would be glued to the user's "
                "text; pass --apply_chat_template, and a model with a chat template"
            )
        for option, problem in (
            ("system_instruction", "would stand before the system prompt that every document has"),
            ("cache_requests", "would replay prompts made with other --metadata"),
        ):
            if options.get(option):
                raise CannotRunError(f"{self.task_name}: --{option} {problem}; leave it out")
        if others := {"max_tokens", "max_new_tokens", "max_completion_tokens"} & set(self.config.generation_kwargs):
            raise CannotRunError(
                f"{self.task_name}: --gen_kwargs {others.pop()}: give max_gen_toks, which all models read"
            )
        # recorded in the results; not known before, since --gen_kwargs changes it
        model = getattr(options["chat_template"], "__self__", None)
        self.config.metadata["decoding"] = decoding_of(sampled_as(model, self.config.generation_kwargs))
        if not predicts_only(self):
            make_judge(self.settings, self.rubrics)  # says what it lacks before a response is paid for
        super().build_all_requests(**options)

    def construct_requests(self, doc: Document, ctx: Any, **options: Any) -> Any:
        """The request of one document; CannotRunError if its chat lacks the system turn, or is too long."""
        render = options["chat_template"]
        problem = chat_problem(doc, ctx, render) or length_problem(ctx, render, self.config.generation_kwargs)
        if problem:
            raise CannotRunError(f"{self.task_name}: {problem}")
        if isinstance(ctx, str) and OPENED.search(ctx):
            if getattr(getattr(render, "__self__", None), "think_end_token", None):
                raise CannotRunError(
                    f"{self.task_name}: the chat template opens a thought, of which think_end_token would leave one "
                    "that is cut off as the answer; leave it out, the task takes thoughts off itself"
                )
            doc[THOUGHT_OPENED] = "by the template"
        return super().construct_requests(doc, ctx, **options)

    def apply_filters(self) -> None:
        """Judges every response and leaves the verdicts, as JSON, where lm_eval looks for filtered responses."""
        for instance in self.instances:
            del instance.resps[self.config.repeats :]  # data-parallel padding asks the last request twice
        super().apply_filters()
        if predicts_only(self):
            return
        responses = [(instance.doc, response) for instance in self.instances for response in instance.resps]
        verdicts = iter(judge_responses(self.settings, responses, self.rubrics))
        for instance in self.instances:
            mine = [next(verdicts) for _ in instance.resps]
            for name in instance.filtered_resps:
                instance.filtered_resps[name] = mine if self.samples_many else mine[0]


def chat_problem(document: Document, rendered: Any, render: Callable[[list[dict[str, str]]], Any]) -> str:
    """What is wrong with a document's chat as the model will read it, "" if nothing is.

    `rendered` is a text, or for models behind an API messages, also as JSON in an attribute `prompt`; `render` makes
    such a chat of messages.
    """
    system, user = document["system_prompt"].strip(), document["user_prompt"].strip()
    problem = ""
    if (messages := messages_of(rendered)) is not None:
        turns = [(message["role"], message["content"].strip()) for message in messages]
        if turns != [("system", system), ("user", user)]:
            problem = f"gives the turns {[role for role, _ in turns]}, expected system and user"
    elif missing := [name for name, text in (("system", system), ("user", user)) if text not in rendered]:
        problem = f"leaves out the {missing[0]} turn"
    else:
        before = render([{"role": "user", "content": user}]).partition(user)[0]
        if rendered.startswith(before) and rendered[len(before) :].lstrip().startswith(system):
            problem = "folds the system prompt into the user turn"
    return problem and (
        f"the chat template {problem}; pass tokenizer=FOLDER in --model_args with one that has a system turn, such as "
        "an adapter folder of recipes/dpo_lora.py"
    )


def length_problem(rendered: Any, render: Callable[..., Any], generation: Mapping[str, Any]) -> str:
    """Whether a chat would be cut: a local model drops its beginning, the system prompt, where there is no room."""
    # a task is not given the model, but its method that makes the chat
    model: Any = getattr(render, "__self__", None)
    if not isinstance(rendered, str) or not hasattr(model, "tok_encode") or not hasattr(model, "max_length"):
        return ""
    tokens, asked = len(model.tok_encode(rendered)), int(generation.get("max_gen_toks", 0))
    if tokens + asked <= model.max_length:
        return ""
    return (
        f"a prompt of {tokens} tokens and max_gen_toks={asked} do not fit into the model's {model.max_length}, and the "
        f"system prompt would be cut off; pass --gen_kwargs max_gen_toks={max(1, model.max_length - tokens)} or less"
    )
