"""Tests of stratoscope/errors.py: how a command ends before its time."""

import errno
import os

import pytest

from stratoscope.errors import NotFinite, Refused, exit_codes, nearest


def ended(error: BaseException, capsys: pytest.CaptureFixture[str], writes: bool = True) -> tuple[object, str]:
    """The exit code that an error becomes, and what is said of it."""
    with pytest.raises(SystemExit) as stop, exit_codes(writes=writes):
        raise error
    assert stop.value.__suppress_context__  # no traceback of the cause
    out, err = capsys.readouterr()
    assert out == ""
    return stop.value.code, err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (Refused("no such layer"), 2, "no such layer"),
        (NotFinite("the loss is NaN\nin epoch 2"), 1, "the loss is NaN in epoch 2"),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/a/last.ckpt"),
            os.EX_IOERR,
            "cannot write (runs/a/last.ckpt): No space left on device; what was saved before is as it was",
        ),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", "x"), 2, "cannot read (x): Too many levels of"),
    ],
    ids=["refused", "not finite", "no space", "a link to itself"],
)
def test_an_error_is_one_line_and_an_exit_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of each kind."""
    found, said = ended(error, capsys)
    assert found == code
    assert said.startswith(f"stratoscope: {line}")
    assert said.count("\n") == 1


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR])
def test_what_cannot_be_written_has_the_code_of_input_and_output_errors(
    number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Permissions, quotas, and something else in the place of a file or folder; that of sysexits.h is 74."""
    assert ended(OSError(number, os.strerror(number), "f"), capsys)[0] == 74


def test_a_command_that_only_reads_refuses_what_it_cannot_read(capsys: pytest.CaptureFixture[str]) -> None:
    """It is the input that is wrong."""
    refusal = ended(PermissionError(errno.EACCES, "Permission denied", "runs"), capsys, writes=False)
    assert refusal == (2, "stratoscope: cannot read (runs): Permission denied\n")


def test_errors_of_no_known_kind_keep_their_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """They are bugs, or nobody knows what they are."""
    for error in (OSError(errno.ECONNRESET, "Connection reset by peer"), ValueError("x"), KeyError("y")):
        with pytest.raises(type(error)) as raised, exit_codes():
            raise error
        assert raised.value is error
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("error", [Refused("x"), NotFinite("x"), OSError(errno.ENOSPC, "x")])
def test_with_debug_every_error_keeps_its_traceback(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing is printed besides."""
    with pytest.raises(type(error)), exit_codes(debug=True):
        raise error
    assert capsys.readouterr().err == ""


def test_without_an_error_a_command_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """To what comes after."""
    with exit_codes():
        pass
    assert capsys.readouterr() == ("", "")


def test_a_message_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Names of files and layers may be anybody's."""
    assert str(Refused("no \x1b[31mrun\n\x07")) == r"no \x1b[31mrun \x07"
    _, said = ended(OSError(errno.EACCES, "Permission denied", "a\x1b]0;x\x07"), capsys)
    assert r"(a\x1b]0;x\x07)" in said
    _, said = ended(OSError(errno.EACCES, "Permission denied", "a" * 5000), capsys)
    assert len(said) < 400


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("widht", "; did you mean --model.width?"),
        ("deph", "; did you mean --model.depth?"),
        ("something", ""),
        ("", ""),
    ],
)
def test_the_nearest_name_is_what_was_probably_meant(name: str, hint: str) -> None:
    """Only if it is near."""
    assert nearest(name, ["depth", "width"], "--model.") == hint


@pytest.mark.parametrize("name", ["width", "wdth", "depth"])
def test_no_hint_is_what_was_typed(name: str) -> None:
    """If the name is among the names it is something else that is wrong."""
    assert nearest(name, ["width", "depth"], "x-common.") != f"; did you mean x-common.{name}?"


def test_of_equally_near_names_the_hint_is_always_the_same() -> None:
    """Whatever the order of a set is in this process."""
    names = [f"layer{number}" for number in range(9)]
    assert {nearest("layer", order) for order in (names, names[::-1], set(names))} == {nearest("layer", names)}
