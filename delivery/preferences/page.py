"""The pages by which users end messages and see why they got them: plain HTML without scripts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from audiences.consent.models import ANY, Channel
from delivery.preferences.service import Ending, Shown
from delivery.preferences.told import Choice, Sent, at_most, by

# Nothing is loaded from anywhere, framed by anybody, or sent elsewhere.
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; "
        "base-uri 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
}
_TITLES = {"promotional": "Offers and news", "service": "Service messages", ANY: "All messages"}
_NOTES = {
    "promotional": "Offers, coupons and what is new.",
    "service": "Tips about what you bought, reminders, surveys.",
}
_STYLE = """
:root { color-scheme: light dark; --line: #8885; --quiet: #666; --accent: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --quiet: #aaa; --accent: #7db8f5; } }
* { box-sizing: border-box; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .25rem; }
p { margin: .25rem 0 1rem; }
.quiet { color: var(--quiet); }
.said { border-left: 4px solid var(--accent); padding: .5rem .75rem; margin: 0 0 1rem; }
fieldset { border: 1px solid var(--line); border-radius: .5rem; margin: 0 0 1rem; padding: .5rem 1rem 1rem; }
legend { font-weight: 600; padding: 0 .25rem; }
label { display: flex; gap: .6rem; align-items: center; min-height: 2.75rem; }
input[type=checkbox] { width: 1.25rem; height: 1.25rem; flex: none; accent-color: var(--accent); }
button { font: inherit; min-height: 2.75rem; padding: .4rem 1rem; border-radius: .4rem; cursor: pointer;
  border: 1px solid var(--accent); background: transparent; color: var(--accent); }
button.main { background: var(--accent); color: Canvas; }
button:focus-visible, input:focus-visible, summary:focus-visible, a:focus-visible {
  outline: 3px solid var(--accent); outline-offset: 2px; }
ul.sent { list-style: none; margin: 0; padding: 0; }
ul.sent > li { border-top: 1px solid var(--line); padding: .75rem 0; }
.row { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: center;
  justify-content: space-between; }
summary { cursor: pointer; min-height: 2rem; }
"""


def preferences(shown: Shown, said: str = "") -> str:
    """Return a user's page; `said` tells what was just done."""
    note = f'<p class="said" role="status">{escape(said)}</p>' if said else ""
    fields = "".join(
        _fieldset(purpose, [one for one in shown.choices if one.purpose == purpose])
        for purpose in dict.fromkeys(one.purpose for one in shown.choices)
    )
    return _page(
        "Your messages",
        f"""<h1>Your messages</h1>
<p>Say what we may send you, and by which way. It holds as soon as you save it.</p>
{note}
<form method="post">
{fields}
<fieldset><legend>Confirmations</legend>
<p class="quiet">What you order, pay for or ask for is confirmed in any case.</p></fieldset>
<p><button class="main" name="do" value="save">Save</button>
<button name="do" value="nothing">Send me none of these</button></p>
</form>
<h2>What we sent you lately</h2>
{_sent(shown.sent)}""",
    )


def unsubscribing(ending: Ending, preferences_url: str) -> str:
    """Return the page that asks whether messages are to end."""
    what = _ending(ending)
    return _page(
        "Unsubscribe",
        f"""<h1>Unsubscribe</h1>
<p>Do you want no more {escape(what)}?</p>
<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click">
<p><button class="main">Unsubscribe</button></p></form>
{_elsewhere(preferences_url)}""",
    )


def unsubscribed(ending: Ending, preferences_url: str) -> str:
    """Return the page that says that messages have ended."""
    return _page(
        "Unsubscribed",
        f"""<h1>You are unsubscribed</h1>
<p class="said" role="status">We send you no more {escape(_ending(ending))}.</p>
{_elsewhere(preferences_url)}""",
    )


def trouble(said: str) -> str:
    """Return the page of what went wrong."""
    return _page(
        "This did not work", f"<h1>This did not work</h1>\n<p>{escape(said[:1].upper() + said[1:])}.</p>"
    )


def _ending(ending: Ending) -> str:
    kinds = {"promotional": "offers and news", "service": "service messages"}
    what = kinds.get(ending.purpose, "messages" if ending.purpose == ANY else f"{ending.purpose} messages")
    return what if ending.channel is Channel.ANY else f"{what} by {by(ending.channel)}"


def _elsewhere(url: str) -> str:
    return f'<p><a href="{escape(url)}">See and change everything we may send you</a></p>' if url else ""


def _fieldset(purpose: str, choices: Sequence[Choice]) -> str:
    boxes = "".join(
        f'<label><input type="checkbox" name="want" value="{escape(f"{one.purpose}:{one.channel.value}")}"'
        f"{' checked' if one.wanted else ''}> By {escape(by(one.channel))}{_pace(one.pace)}</label>\n"
        for one in choices
    )
    title, note = _TITLES.get(purpose, purpose), _NOTES.get(purpose, "")
    head = f'<legend>{escape(title)}</legend>\n<p class="quiet">{escape(note)}</p>\n'
    return f"<fieldset>{head}{boxes}</fieldset>\n"


def _sent(sent: Sequence[Sent]) -> str:
    if not sent:
        return '<p class="quiet">Nothing in the last three months.</p>'
    return f'<ul class="sent">{"".join(map(_one, sent))}</ul>'


def _one(one: Sent) -> str:
    reasons = "".join(f"<li>{escape(said)}</li>" for said in one.why)
    day = f"{one.at.day} {one.at:%B %Y}"
    name = escape(one.name)
    if one.transactional:
        button = ""
    else:
        pace = ("usual", "As often as before") if one.pace is not None else ("less", "Less of this")
        doing = [("again", "Send me these again")] if one.ended else [pace, ("none", "None of these")]
        buttons = "\n".join(
            f'<button name="do" value="{do}" aria-label="{label}: {name}">{label}</button>'
            for do, label in doing
        )
        hidden = f'<input type="hidden" name="playbook" value="{escape(one.playbook)}">'
        button = f'<form method="post">{hidden}{buttons}</form>'
    state = ' <span class="quiet">(you get no more of these)</span>' if one.ended else _pace(one.pace)
    when = f'<time datetime="{one.at.isoformat()}">{day}</time>'
    return f"""<li><div class="row"><div><strong>{name}</strong>{state}<br>
<span class="quiet">by {escape(by(one.channel))}, {when}</span></div>{button}</div>
<details><summary>Why did I get this?</summary><ul>{reasons}</ul></details></li>
"""


def _pace(pace: int | None) -> str:
    return "" if pace is None else f' <span class="quiet">({at_most(pace)}, as you asked)</span>'


def _page(title: str, body: str) -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title><style>{_STYLE}</style></head>
<body><main>
{body}
</main></body></html>
"""
