"""The project has no phrase of the table in words.py, and the check finds each of them wherever text can be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import words

SENTENCES = [(rule, sentence) for rule in words.RULES for sentence in rule.examples]
INNOCENT = [
    "There is no file, and there are none.",
    "It is no longer read, and is no slower than before.",
    "The axis is None.",
    "Frames per second per core, 30 frames at a time.",
    "A dataset at a time; read a file, then a line each.",
    "Skipped recordings, such as those of a damaged archive.",
    "An address of this machine, a network address, and a URL.",
    "A part of the store that is not needed.",
    "All but the last one, and nothing but numbers for one.",
    "Which of the files is it? Leave the folder as it is.",
    "The check of the poses is done once per frame.",
]


def advice(text: str) -> list[str]:
    return [finding.instead for finding in words.findings(text)]


def test_all_kinds_of_files_are_checked() -> None:
    names = {path.relative_to(words.ROOT).as_posix() for path in words.files()}
    assert names >= {
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs/converting.md",
        "docs/commands.py",
        "support_data/README.md",
        "tests/README.md",
        "tests/conftest.py",
        "h36m_amass/store/store.py",
        "cli/build.py",
        "benchmarks/run.py",
    }
    assert names.isdisjoint({"CHANGELOG.md", *words.NOT_CHECKED})


@pytest.mark.parametrize(("rule", "sentence"), SENTENCES, ids=[sentence for _, sentence in SENTENCES])
def test_each_phrase_is_found(rule: words.Rule, sentence: str) -> None:
    if rule.phrase.startswith(words.START):
        assert rule.instead in advice(words.prose_of_python(f"LIMIT = 3\n{sentence}\n"))
        return
    assert rule.instead in advice(sentence)
    assert rule.instead in advice(sentence.replace(" ", "\n"))
    assert rule.instead in advice(words.prose_of_markdown(sentence))
    for code in (f'"""{sentence}"""', f'def f():\n    """What.\n\n    {sentence}\n    """', f"x = 1  # {sentence}"):
        assert rule.instead in advice(words.prose_of_python(f"{code}\n"))
    halves = sentence.rpartition(" ")
    assert rule.instead in advice(words.prose_of_python(f'raise E("{sentence}")\n'))
    assert rule.instead in advice(words.prose_of_python(f'x = (\n    "{halves[0]} "\n    f"{halves[2]} {{y}}"\n)\n'))


@pytest.mark.parametrize("sentence", INNOCENT)
def test_plain_sentences_pass(sentence: str) -> None:
    assert advice(sentence) == []
    assert advice(words.prose_of_python(f'"""{sentence}"""\n# {sentence}\n')) == []


def test_code_and_quotations_are_not_text() -> None:
    assert advice(words.prose_of_python("address = whoever(left, out)\npairs = [('is', 'no')]\n")) == []
    assert advice(words.prose_of_markdown('Write "is not a", not "is no folder".')) == []


def test_a_finding_has_the_line_where_its_phrase_begins() -> None:
    text = "One.\n\nThe file is\nno archive, and\nwhoever reads it\n"
    assert sorted(finding.line for finding in words.findings(text)) == [3, 5]
    python = '"""What.\n\nIt is no file.\n"""\n\nx = 1  # but for this\n'
    assert sorted(finding.line for finding in words.findings(words.prose_of_python(python))) == [3, 6]


def test_the_command_lists_what_it_finds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text("All is well.\n\nIt is no file.\n", encoding="utf-8")
    monkeypatch.setattr(words, "ROOT", tmp_path)
    assert words.main() == 1
    assert capsys.readouterr().out == 'README.md:3: is no; write "is not a", "are not"\n'
    (tmp_path / "README.md").write_text("All is well.\n", encoding="utf-8")
    assert words.main() == 0
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_the_project_has_no_such_phrase_says_the_command_as_a_script() -> None:
    done = subprocess.run([sys.executable, words.__file__], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
