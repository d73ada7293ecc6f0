"""The console command `cpt`: everything that is neither `inspect`, `lm_eval` nor `accelerate`.

A command is imported when it is called: the folders that commands live in do not import one another, and `cpt --help`
imports none of them.
"""

import atexit
import gc
from pkgutil import resolve_name
from typing import cast

import click

GROUPS = {
    "adapter": "Check trained adapters.",
    "judge": "Audit and compare judges; forecast and halve what they cost.",
    "rubric": "Write, check, import and export rubrics.",
}
# words of the command -> where it stands, and its line in a list of commands
COMMANDS = {
    "adapter check": ("cpt_tasks.check_adapter:check_command", "Check that an adapter folder works elsewhere."),
    "calls": ("model_calls.commands:calls_command", "Show what a call store holds and cost; forget what failed."),
    "compare": ("cpt_tasks.report.compare:compare_command", "Compare two models on the same samples."),
    "generate": ("data_gen.generate.command:generate_command", "Ask a teacher for responses at each score level."),
    "judge agreement": (
        "cpt_tasks.judge_logs.commands:agreement_command",
        "Compare a judge with another, or with people.",
    ),
    "judge answers": ("cpt_tasks.judge_logs.commands:answers_command", "Take a judge's answers from a file."),
    "judge audit": ("cpt_tasks.judge_logs.commands:audit_command", "Compare a judge with known scores."),
    "judge batch": ("cpt_tasks.judge_logs.commands:batch_command", "Judge logs through provider batches."),
    "judge forecast": ("cpt_tasks.judge_logs.commands:forecast_command", "Say what judging will cost."),
    "judge questions": ("cpt_tasks.judge_logs.commands:questions_command", "Write a judge's questions to a file."),
    "judge texts": ("cpt_tasks.judge_logs.commands:texts_command", "Score the responses of a JSONL file."),
    "quickstart": ("cpt_tasks.quickstart:quickstart_command", "A first benchmark of a model, with a page."),
    "report": ("cpt_tasks.report.report:report_command", "Compute tables, figures and a page from eval logs."),
    "rubric draft": ("data_gen.draft.commands:draft_command", "Let a model draft a rubric."),
    "rubric export": ("rubrics.commands:export_command", "Write a rubric as a Markdown page."),
    "rubric import": ("rubrics.commands:import_command", "Read a rubric from a page or a table."),
    "rubric lint": ("rubrics.commands:lint_command", "Say what is wrong with rubrics."),
    "rubric prompts": ("data_gen.draft.commands:prompts_command", "Let a model write a rubric's system prompts."),
    "teachers": ("data_gen.teachers.command:teachers_command", "Report how well teachers hit the levels."),
    "twins": ("data_gen.twins.command:twins_command", "Make preference pairs out of responses."),
    "verify": ("data_gen.verify.command:verify_command", "Judge and filter responses, account for every row."),
}


class _LazyGroup(click.Group):
    """The commands whose words begin with `prefix`, and one word further, groups."""

    prefix = ""

    def list_commands(self, ctx: click.Context) -> list[str]:
        words = [name.removeprefix(self.prefix) for name in COMMANDS if name.startswith(self.prefix)]
        return sorted({word.split(" ")[0] for word in words})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = f"{self.prefix}{cmd_name}"
        if name in COMMANDS:
            try:
                return cast(click.Command, resolve_name(COMMANDS[name][0]))
            except ModuleNotFoundError as error:
                raise click.ClickException(f"{error}: pip install 'cpt-tasks[data]'") from error
        if name not in GROUPS:
            return None
        group = _LazyGroup(name=cmd_name, help=GROUPS[name])
        group.prefix = f"{name} "
        return group

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for word in self.list_commands(ctx):
            name = f"{self.prefix}{word}"
            rows.append((word, COMMANDS[name][1] if name in COMMANDS else GROUPS[name]))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.command(cls=_LazyGroup)
@click.version_option(package_name="cpt-tasks")
def main() -> None:
    """Configurable preference tuning: rubrics, data, judges and reports.

    Benchmarks run with `inspect eval`, training with `accelerate`.
    """
    # a third of the time of a short command is looking for garbage in what inspect and the providers' clients import
    gc.set_threshold(10_000)
    atexit.register(gc.freeze)
