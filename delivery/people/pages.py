"""The pages of the inbox, as HTML: everything that is filled in is escaped, and they run no script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from liquid import Environment

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5a6675; --line: #d7dde5; --paper: #fff;
  --back: #f4f6f9; --main: #1f5fbf; --late: #b3261e; --lateback: #fdecea; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ecf2; --soft: #a3afbf; --line: #39434f;
  --paper: #1b222b; --back: #12171e; --main: #8ab4f8; --late: #ffb4ab; --lateback: #3b1714; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
header, main { max-width: 46rem; margin: 0 auto; padding: 0 1rem; }
header { display: flex; justify-content: space-between; align-items: center; gap: 1rem;
  padding: .75rem 1rem; }
header p { margin: 0; font-weight: 600; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 1.75rem 0 .5rem; }
a { color: var(--main); }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: .6rem; padding: .85rem 1rem; }
ul.tasks { list-style: none; margin: 0; padding: 0; display: grid; gap: .6rem; }
ul.tasks .card { display: grid; gap: .15rem; }
ul.tasks .late { border-left: .35rem solid var(--late); }
ul.tasks a { font-weight: 600; font-size: 1.05rem; overflow-wrap: anywhere; }
.soft { color: var(--soft); font-size: .92rem; margin: 0; overflow-wrap: anywhere; }
.badge { display: inline-block; background: var(--lateback); color: var(--late); border-radius: .3rem;
  padding: 0 .4rem; font-weight: 600; }
.alert { background: var(--lateback); color: var(--late); border-radius: .6rem; padding: .75rem 1rem; }
form { display: grid; gap: .6rem; margin: 0; }
.row { display: flex; flex-wrap: wrap; gap: .6rem; align-items: center; }
label { font-weight: 600; display: grid; gap: .25rem; }
input, textarea, select { font: inherit; color: inherit; background: var(--back); padding: .55rem .65rem;
  border: 1px solid var(--line); border-radius: .4rem; width: 100%; }
select { width: auto; }
button { font: inherit; font-weight: 600; min-height: 2.75rem; padding: .4rem 1rem; border-radius: .4rem;
  border: 1px solid var(--main); background: transparent; color: var(--main); cursor: pointer; }
button.main { background: var(--main); color: var(--paper); }
:focus-visible { outline: 3px solid var(--main); outline-offset: 2px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .35rem .75rem .35rem 0;
  border-top: 1px solid var(--line); vertical-align: top; }
td:last-child { overflow-wrap: anywhere; min-width: 10rem; }
.card > p:first-child { margin-top: 0; } .scroll + form { margin-top: 1rem; }
thead th { border-top: 0; color: var(--soft); font-weight: 600; }
td:first-child { white-space: nowrap; }
@media (max-width: 30rem) { .row button { flex: 1 1 8rem; } td:first-child { white-space: normal; } }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

# Nothing is loaded from anywhere, nothing runs, nobody frames it, and forms go back to where they came from.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>STYLE</style>
</head>
<body>
<header><p>{% if who %}<a href="/inbox">Inbox</a> of {{ who }}{% else %}nextplay{% endif %}</p>
{% if token %}<form method="post" action="/inbox/leave"><input type="hidden" name="token" value="{{ token }}">
<button>Log out</button></form>{% endif %}</header>
<main>
<h1>{{ title }}</h1>
{% if alert %}<p class="alert" role="alert">{{ alert }}</p>{% endif %}
BODY
</main>
</body>
</html>
"""
_KEY = """<form method="post" action="/inbox/key" class="card">
<label>Your key <input type="password" name="key" autocomplete="current-password" required></label>
<p class="soft">It begins with np_ and was made for you with the scope work.</p>
<div class="row"><button class="main">Open my inbox</button></div>
</form>"""
_TASKS = """<ul class="tasks">
{% for task in LIST %}<li class="card{% if task.overdue %} late{% endif %}">
<a href="{{ task.href }}">{{ task.title }}</a>
<p class="soft">{% if task.overdue %}<span class="badge">Overdue</span> {% endif %}{{ task.when }}</p>
<p class="soft">{{ task.user_id }} · {{ task.about }}</p>
</li>
{% endfor %}</ul>
"""
_INBOX = (
    '{% if mine.size == 0 %}<p class="card">Nothing to do.</p>{% endif %}\n'
    + _TASKS.replace("LIST", "mine")
    + '{% if more %}<p><a href="/inbox?after={{ more }}">More</a></p>{% endif %}\n'
    + "{% if free.size > 0 %}<h2>For anybody of the team</h2>\n"
    + _TASKS.replace("LIST", "free")
    + "{% endif %}\n{% if asleep.size > 0 %}<h2>Put off</h2>\n"
    + _TASKS.replace("LIST", "asleep")
    + "{% endif %}"
)
_HIDDEN = """<input type="hidden" name="token" value="{{ token }}">
<input type="hidden" name="version" value="{{ task.version }}">"""
_TASK = """<div class="card"><dl>
<dt>Due</dt><dd>{% if task.overdue %}<span class="badge">Overdue</span> {% endif %}{{ task.when }}</dd>
<dt>User</dt><dd>{{ task.user_id }}</dd>
<dt>With</dt><dd>{{ task.has }}</dd>
<dt>Standing</dt><dd>{{ task.standing }}{% if task.result %}: {{ task.result }}{% endif %}</dd>
<dt>Playbook</dt><dd>{{ task.playbook }}</dd>
</dl></div>
{% if can_do %}
<h2>What did it come to?</h2>
<form method="post" action="{{ task.href }}/done" class="card">HIDDEN
<label>Note <textarea name="note" rows="3" maxlength="2000"></textarea></label>
<div class="row">{% for result in task.results %}<button class="main" name="result" value="{{ result }}">
{{ result | replace: '_', ' ' }}</button>{% endfor %}</div></form>
<h2>Not yet</h2>
<div class="row">
{% if can_claim %}<form method="post" action="{{ task.href }}/claim">HIDDEN
<button>I am at it</button></form>{% endif %}
<form method="post" action="{{ task.href }}/snooze" class="row">HIDDEN
<label class="row">Put off for <select name="hours"><option value="1">1 hour</option>
<option value="4">4 hours</option><option value="24">a day</option></select></label>
<button>Put off</button></form>
</div>
{% endif %}
<h2>Why this task</h2>
<div class="card">
{% if decision %}<p>Decided on {{ decision.at }}: {{ decision.arm }}.</p>{% endif %}
{% for score in scores %}<p><strong>{{ score.name }}: {{ score.value }}</strong>
{% if score.grade %}({{ score.grade }}){% endif %} — {{ score.reasons }}</p>{% endfor %}
{% if events.size > 0 %}<div class="scroll"><table>
<thead><tr><th scope="col">When</th><th scope="col">What</th><th scope="col">Details</th></tr></thead><tbody>
{% for event in events %}<tr><td>{{ event.at }}</td><td>{{ event.name }}</td><td>{{ event.details }}</td></tr>
{% endfor %}</tbody></table></div>{% else %}<p class="soft">Nothing is known of what the user did.</p>
{% endif %}
</div>
<h2>What became of it</h2>
<div class="card"><div class="scroll"><table><thead><tr><th scope="col">When</th><th scope="col">What</th>
<th scope="col">Details</th></tr></thead><tbody>
{% for step in steps %}<tr><td>{{ step.at }}</td><td>{{ step.what }}</td><td>{{ step.details }}</td></tr>
{% endfor %}</tbody></table></div>
<form method="post" action="{{ task.href }}/comment">HIDDEN
<label>Write something <textarea name="note" rows="2" maxlength="2000" required></textarea></label>
<div class="row"><button>Comment</button></div></form></div>"""

_environment = Environment(autoescape=True)


def _template(body: str) -> Any:
    page = _PAGE.replace("STYLE", _STYLE).replace("BODY", body.replace("HIDDEN", _HIDDEN))
    return _environment.from_string(page)


_KEY_PAGE, _INBOX_PAGE, _TASK_PAGE, _PLAIN_PAGE = map(_template, (_KEY, _INBOX, _TASK, ""))


def key_page(alert: str = "") -> str:
    """Return the page that asks for a key."""
    return _filled(_KEY_PAGE, title="Open the inbox", alert=alert)


def inbox_page(**filled: Any) -> str:
    """Return the page of somebody's tasks."""
    return _filled(_INBOX_PAGE, **filled)


def task_page(**filled: Any) -> str:
    """Return the page of one task."""
    return _filled(_TASK_PAGE, **filled)


def plain_page(**filled: Any) -> str:
    """Return a page that says no more than what is wrong."""
    return _filled(_PLAIN_PAGE, **filled)


def _filled(template: Any, **filled: Any) -> str:
    # To Liquid a text is true also where nothing is in it.
    return str(template.render(**{name: None if value == "" else value for name, value in filled.items()}))
