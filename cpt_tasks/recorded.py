"""Recorded replies as an inspect model: `recorded/NAME` reads them from a file and computes nothing.

    inspect eval cpt_tasks/rubric_adherence --model recorded/NAME -M file=recorded.jsonl -T judge=none

A judge's recorded verdicts come through the call store instead (`cpt judge answers`), so without a file every question
is one that the record does not hold.
"""

from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput, modelapi
from inspect_ai.tool import ToolChoice, ToolInfo

from model_calls.inspect_private import PrerequisiteError, command_folder
from rubrics.files import read_jsonl


@modelapi(name="recorded")
def recorded() -> type[ModelAPI]:
    """The provider of recorded replies, for inspect."""
    return Recorded


class Recorded(ModelAPI):
    """A model that gives the response recorded for a system and a user prompt.

    `file` has JSON lines with `system_prompt` ("" or absent for none), `user_prompt` and `response`.

    Raises:
        ValueError: If the file cannot be read, or has no response or two to the same prompts.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        file: str | None = None,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        self._responses: dict[tuple[str, str], str] = {}
        for number, row in read_jsonl(command_folder() / file) if file else ():
            user_prompt, response = row.get("user_prompt"), row.get("response")
            if not isinstance(user_prompt, str) or not isinstance(response, str):
                raise ValueError(f"{file}:{number}: expected user_prompt and response, both texts")
            asked = (row.get("system_prompt") or "", user_prompt)
            if self._responses.setdefault(asked, response) != response:
                raise ValueError(f"{file}:{number}: a second response to {user_prompt[:60]!r}, expected one")

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        """The recorded response; a PrerequisiteError if there is none."""
        asked: dict[str, str] = {message.role: message.text for message in input}
        response = self._responses.get((asked.get("system", ""), asked.get("user", "")))
        if response is None or len(asked) != len(input):
            raise PrerequisiteError(
                f"recorded/{self.model_name}: the record holds no reply to {input[-1].text[:80]!r}, expected only "
                "what was recorded; give its file with -M file=, or a judge's verdicts with `cpt judge answers`"
            )
        return ModelOutput.from_content(f"recorded/{self.model_name}", response)
