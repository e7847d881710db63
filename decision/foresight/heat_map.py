"""The calendar as a picture: for each channel a map of hours by days."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from playbooks.rehearsal.calendar import Calendar

_HOURS = 24
_DAY = timedelta(days=1)


def draw(calendar: Calendar, path: Path) -> None:
    """Draw a calendar into a file, whose suffix says which kind it is; times are UTC."""
    first = calendar.begins.date()
    days = (calendar.ends.date() - first).days + 1
    names = [one.channel for one in calendar.channels] or [""]
    figure = Figure(figsize=(max(6.0, 0.5 * days + 2.5), 0.6 + 3.4 * len(names)), layout="constrained")
    for axes, name in zip(figure.subplots(len(names), squeeze=False)[:, 0], names, strict=True):
        grid = np.zeros((_HOURS, days))
        for cell in calendar.volume:
            if cell.channel == name:
                grid[cell.hour.hour, (cell.hour.date() - first).days] = cell.expected
        image = axes.imshow(grid, aspect="auto", cmap="Blues", vmin=0, vmax=max(1.0, grid.max()))
        axes.set_title(f"{name}: about {grid.sum():,.0f} contacts" if name else "nobody is contacted")
        axes.set_xticks(range(days), [f"{first + day * _DAY:%d %b}" for day in range(days)], rotation=90)
        axes.set_yticks(range(0, _HOURS, 3), [f"{hour:02}:00" for hour in range(0, _HOURS, 3)])
        axes.set_ylabel("hour (UTC)")
        figure.colorbar(image, ax=axes, label="contacts an hour")
    figure.savefig(path, dpi=120)
