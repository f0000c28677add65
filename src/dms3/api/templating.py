"""HTML from the templates beside this module: every value escaped, nothing from outside.

Source: docs/api.md, "The page". It decides nothing about what is shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse

from dms3 import __version__

TEMPLATES = Path(__file__).with_name("templates")


class Pages:
    """The templates of one node's page."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def html(
        self, request: Request, template: str, /, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """The page made from `template`."""
        page = self._environment.get_template(template)
        text = page.render(path=request.url.path, version=__version__, **values)
        return HTMLResponse(text, status)


def static(name: str) -> str:
    """The text of a file beside the templates; `name` is ours, never from a request."""
    return (TEMPLATES / name).read_text()
