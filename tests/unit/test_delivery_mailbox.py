"""The mailbox on disk: real files, read back by the standard library's parser."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from delivery.channels.mailbox import Mailbox, as_email, file_name
from delivery.errors import NotHandedOver
from delivery.models import Message

MONDAY = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)


def message(
    key: str = "e:1:1", *, user: str = "ann", subject: str = "Hello", body: str = "Good day\n"
) -> Message:
    return Message(key, user, subject, body, MONDAY)


def parse(data: bytes) -> EmailMessage:
    return message_from_bytes(data, policy=policy.default)


def test_a_message_becomes_one_file_named_by_its_key(tmp_path: Path) -> None:
    receipt = Mailbox(tmp_path).send(message())
    assert receipt.delivered
    assert receipt.reference == "2026-03-02/e%3A1%3A1.eml"
    mail = parse((tmp_path / receipt.reference).read_bytes())
    assert mail["To"] == "ann@nextplay.invalid"
    assert mail["Subject"] == "Hello"
    assert mail["Date"].datetime == MONDAY
    assert mail.get_content() == "Good day\r\n"
    assert not mail.defects


def test_a_repeat_replaces_its_own_file(tmp_path: Path) -> None:
    first, again = Mailbox(tmp_path), Mailbox(tmp_path)
    first.send(message(body="first"))
    first.send(message("e:1:2"))
    again.send(message(body="second"))
    files = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["e%3A1%3A1.eml", "e%3A1%3A2.eml"]
    assert b"second" in (tmp_path / "2026-03-02" / "e%3A1%3A1.eml").read_bytes()


def test_a_folder_that_can_not_be_written_is_worth_another_attempt(tmp_path: Path) -> None:
    (tmp_path / "box").write_text("in the way")
    channel = Mailbox(tmp_path / "box")
    with pytest.raises(NotHandedOver, match="can't write to the mailbox") as caught:
        channel.send(message())
    assert not caught.value.permanent
    (tmp_path / "box").unlink()
    assert channel.send(message()).delivered


def test_a_day_removed_by_hand_is_made_again(tmp_path: Path) -> None:
    channel = Mailbox(tmp_path)
    receipt = channel.send(message())
    (tmp_path / receipt.reference).unlink()
    (tmp_path / "2026-03-02").rmdir()
    with pytest.raises(NotHandedOver):
        channel.send(message())
    assert channel.send(message()).delivered


@pytest.mark.parametrize(
    "evil",
    ["Hi\r\nBcc: all@example.org", "Hi\nX: y", "Hi\r\n\r\nbody", "Hi\x0b\x85\u2028X: y", "=?utf-8?q?X?="],
)
def test_no_value_can_start_a_header(evil: str) -> None:
    mail = parse(as_email(message(key=evil, user=evil, subject=evil)))
    assert mail.keys() == [
        "Date",
        "From",
        "To",
        "Subject",
        "Message-ID",
        "MIME-Version",
        "Content-Type",
        "Content-Transfer-Encoding",
    ]
    assert mail.get_content() == "Good day\r\n"


@given(subject=st.text(max_size=300), body=st.text(max_size=3_000), user=st.text(min_size=1, max_size=80))
@example(subject="€" * 400, body="ä" * 2_000, user="bob@example.org")
@example(subject="x" * 1_200, body="y" * 1_200, user="x" * 80)
@example(subject="\ud800", body="\ud800", user="\ud800")
def test_any_text_arrives_as_it_was_written(subject: str, body: str, user: str) -> None:
    data = as_email(message(subject=subject, body=body, user=user))
    head, _, _ = data.partition(b"\r\n\r\n")
    assert all(len(line) <= 998 for line in data.split(b"\r\n"))
    assert b"\r" not in head.replace(b"\r\n", b"")
    assert b"\n" not in head.replace(b"\r\n", b"")
    mail = parse(data)
    assert len(mail.keys()) == 8
    printable = "".join(" " if not one.isprintable() else one for one in subject)
    if printable == subject and "\ud800" not in subject:
        assert " ".join(str(mail["Subject"]).split()) == " ".join(subject.split())
    written = body.encode("utf-8", "replace").decode()
    lines = written.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
    payload = mail.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode().replace("\r\n", "\n") == lines + "\n"


@given(st.text(min_size=1, max_size=400), st.text(min_size=1, max_size=400))
def test_different_keys_have_different_files_below_the_folder(one: str, other: str) -> None:
    if max(one + other) < "\ud800":
        assert (file_name(one) == file_name(other)) == (one == other)
        assert "/" not in file_name(one)
        assert len(file_name(one)) <= 255
