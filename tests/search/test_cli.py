from __future__ import annotations

import pytest
from click.testing import CliRunner

from search.cli.main import COMMANDS, group
from search.config import SearchConfig
from understudy import UnderstudyError, __version__


def call(*arguments: str):
    return CliRunner().invoke(group, list(arguments))


def test_version():
    assert __version__ in call("--version").output


def test_help_lists_every_command_and_each_has_help():
    listing = call("--help").output
    for name in COMMANDS:
        assert name in listing
        assert call(name, "--help").exit_code == 0


def test_every_key_of_the_configuration_is_an_option():
    text = call("search", "--help").output
    for name in SearchConfig.__dataclass_fields__:
        assert f"--{name.replace('_', '-')} " in text or f"--{name.replace('_', '-')}\n" in text


def test_unknown_command_and_option_name_the_nearest():
    assert "did you mean 'search'" in call("serch").output
    assert "--trials" in call("search", "--trails", "3").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("search", "--profile", "x86-hots"), "did you mean 'x86-host'"),
        (("search", "--space", "mobil"), "did you mean 'mobile'"),
        (("search", "--distill", "soft-target"), "did you mean 'soft-targets'"),
        (("search", "--data", "nowhere/"), "nowhere"),
        (("search", "--config", "missing.yaml"), "cannot read the configuration missing.yaml"),
        (("resume", "nowhere"), "nowhere is not a run folder"),
        (("show", "nowhere"), "nowhere is not a run folder"),
        (("deploy", "nowhere", "--to", "bundle"), "nowhere is not a run folder"),
        (("predict", "nowhere", "image.png"), "nowhere"),
        (("profiles", "show", "x86-hots"), "did you mean 'x86-host'"),
    ],
)
def test_errors_are_sentences_and_leave_nothing_behind(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert isinstance(result.exception, UnderstudyError)
    assert message in str(result.exception)
    runs = tmp_path / "results" / "runs"
    assert not runs.exists() or [path.name for path in runs.iterdir()] in ([], [".cache"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell):
    assert "_UNDERSTUDY_COMPLETE" in call("completion", shell).output
