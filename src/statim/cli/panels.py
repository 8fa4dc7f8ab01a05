"""Help of verbs with many options: those that people use first, then the others in panels."""

from typing import Any

from typer.core import TyperCommand


class Panelled(TyperCommand):
    """A command whose help shows options in sections, each named by its ``rich_help_panel``."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, the options without a panel, then the panels in order of first use."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                usual = "Arguments" if param.param_type_name == "argument" else "Options"
                sections.setdefault(getattr(param, "rich_help_panel", None) or usual, []).append(record)
        for name, records in sections.items():
            with formatter.section(name):
                formatter.write_dl(records)
