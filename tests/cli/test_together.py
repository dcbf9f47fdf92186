"""What is mistyped where a launcher has started many processes: one of them says it."""

import pytest

from loang.cli import main


@pytest.fixture
def rank(monkeypatch):
    """Makes this the process of that number, of two."""

    def become(number):
        for name, value in {"RANK": number, "WORLD_SIZE": 2, "LOCAL_RANK": number}.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")

    return become


@pytest.mark.parametrize("arguments", [["train", "--no-such"], ["traim"], ["train", "--for"]])
def test_a_slip_in_the_syntax_is_told_by_the_leading_process_alone(
    rank, monkeypatch, capsys, arguments
):
    monkeypatch.setattr("sys.argv", ["loang", *arguments])
    said = []
    for number in (0, 1):
        rank(number)
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        said.append(capsys.readouterr())
    assert arguments[-1] in said[0].err
    assert said[1] == ("", "")


def test_what_is_asked_of_the_command_itself_is_answered_with_status_zero(
    rank, monkeypatch, capsys
):
    monkeypatch.setattr("sys.argv", ["loang", "--version"])
    rank(1)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
