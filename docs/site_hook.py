"""What the site adds to docs/: a page for each command, and the repository's own pages."""

import re
import sys
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "src"))

from statim.cli import add_options, app

OF_THE_REPOSITORY = (
    "benchmarks/RESULTS.md",
    "benchmarks/HISTORY.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
)
# links that climb out of docs/ to one of these, on the code host; on the site they are inside
OUTSIDE = re.compile(rf"\]\(\.\./((?:\.\./)*(?:{'|'.join(map(re.escape, OF_THE_REPOSITORY))}))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the commands into the navigation."""
    add_options()
    pages: list[Any] = [{name: f"cli/{name}.md"} for name in typer.main.get_command(app).commands]
    for entry in config.nav or []:
        if "CLI" in entry:
            entry["CLI"] = [{"Overview": "cli/index.md"}, *pages]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is not in docs/."""
    for name in OF_THE_REPOSITORY:
        text = (
            (ROOT / name).read_text(encoding="utf-8").replace("](../docs/", "](../").replace("](docs/", "](")
        )
        files.append(File.generated(config, name, content=text))
    for name, text in command_pages().items():
        files.append(File.generated(config, f"cli/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links to the repository's own pages stay on the site."""
    return OUTSIDE.sub(r"](\1", markdown)


def on_post_page(output: str, page: Page, **_: Any) -> None:
    """Refuse what a browser would fetch from elsewhere."""
    found = re.search(r"<(?:script|img|link|iframe)\b[^>]*(?:src|href)=\"?https?://[^>]*>", output)
    if found:
        raise PluginError(f"{page.file.src_uri} loads from elsewhere: {found.group()}")


def command_pages() -> dict[str, str]:
    """The Markdown of each command's page, and of ``index``."""
    root = typer.main.get_command(app)
    rows = [f"| [`statim {name}`]({name}.md) | {command.help} |" for name, command in root.commands.items()]
    about = "Made from the commands themselves; `statim COMMAND --help` prints the same."
    head = f"# Commands\n\n{about}\n\n| | |\n|---|---|\n"
    found = {"index": head + "\n".join(rows) + "\n"}
    for name, command in root.commands.items():
        parts = [f"# statim {name}", ""]
        if hasattr(command, "commands"):
            parts += [command.help or "", ""]
            for inner, member in command.commands.items():
                parts += [
                    f"## statim {name} {inner}",
                    "",
                    *described(member, f"statim {name} {inner}", "###"),
                ]
        else:
            parts += described(command, f"statim {name}", "##")
        found[name] = "\n".join(parts) + "\n"
    return found


def described(command: Any, path: str, level: str) -> list[str]:
    """Lines on one command: help, usage, arguments, and its options by panel."""
    context = command.make_context(path, [], resilient_parsing=True)
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [command.help or "", "", "```text", f"{path} {usage}", "```", ""]
    panels: dict[str, list[Any]] = {}
    for parameter in command.get_params(context):
        argument = parameter.param_type_name == "argument"
        panel = getattr(parameter, "rich_help_panel", None) or ("Arguments" if argument else "Options")
        panels.setdefault(panel, []).append(parameter)
    for panel, parameters in panels.items():
        lines += [f"{level} {panel}", "", "| | |", "|---|---|"]
        lines += [row(parameter, context) for parameter in parameters]
        lines.append("")
    return lines


def row(parameter: Any, context: Any) -> str:
    """One line of a table: an argument or option, and its help."""
    name, text = parameter.get_help_record(context) or (parameter.name, "")
    return f"| `{cell(name)}` | {cell(text).replace('<', '&lt;')} |"


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|")
