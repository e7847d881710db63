"""An evaluation as one self-contained HTML page, and its pictures as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from decision.evaluating.printing import told
from learning.evaluation import Evaluation
from storage.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 150
_TITLES = {
    "forest": "Estimates and their intervals",
    "value": "Value over time",
    "overlap": "What was done, and what would be",
    "weights": "Weights of the rounds",
}
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 54rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.note { background: #f6f3ea; border-left: 4px solid #d9c98c; padding: .6rem 1rem; }
pre { font-size: .8rem; line-height: 1.35; white-space: pre-wrap; } svg { max-width: 100%; height: auto; }
"""


def page(found: Evaluation, pictures: Mapping[str, Figure]) -> str:
    """Return the page: verdict, doubts, pictures, and all figures."""
    low, high = found.difference.interval
    worth = found.diagnostics.effective_sample_size
    doubts = "".join(f"<li>{escape(one)}</li>" for one in found.diagnostics.doubts)
    drawn = "".join(
        f"<h2>{title}</h2>\n{_svg(pictures[name])}\n" for name, title in _TITLES.items() if name in pictures
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<title>{escape(found.candidate)}: {escape(found.verdict)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>
<h1>{escape(found.candidate)} against {escape(found.baseline)}: {escape(found.verdict)}</h1>
<p>Difference per decision {found.difference.value:+.4f}, {found.confidence:.0%} interval
{"-∞" if low is None else f"{low:+.4f}"} to {"∞" if high is None else f"{high:+.4f}"}. The log of
{found.diagnostics.rounds:,} rounds is worth {worth:,.0f} of this policy.</p>
{f'<div class="note"><b>Doubts</b><ul>{doubts}</ul></div>' if doubts else ""}
{drawn}<h2>Figures</h2>
<pre>{escape(chr(10).join(told(found)))}</pre>
</body></html>
"""


def write(found: Evaluation, pictures: Mapping[str, Figure], html: Path | None, folder: Path | None) -> None:
    """Write the page, and the pictures into a folder.

    Raises:
        ConfigurationError: they can't be written there.
    """
    try:
        if html is not None:
            html.write_text(page(found, pictures), encoding="utf-8")
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for name, figure in pictures.items():
                figure.savefig(folder / f"{name}.png", dpi=_DPI)
    except OSError as error:
        raise ConfigurationError(
            f"the report can't be written to {error.filename}: {error.strerror}"
        ) from error


def _svg(figure: Figure) -> str:
    import matplotlib as mpl  # noqa: PLC0415 - a second, for those who want pictures

    kept = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "nextplay"}):
        figure.savefig(kept, format="svg", metadata={"Date": None})
    return kept.getvalue()[kept.getvalue().index("<svg") :]
