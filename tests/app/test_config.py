from pathlib import Path

import pytest

from penstock.app.config import Config, ConfigError, load


def loaded(tmp_path, *, file="", environment=None, **flags):
    if file:
        (tmp_path / "penstock.toml").write_text(file)
    return load(flags=flags, environment=environment or {}, folder=tmp_path)


def test_flags_win_over_variables_over_the_file_over_defaults(tmp_path):
    config = loaded(
        tmp_path,
        file='port = 1\nlog_level = "info"\nisolation = "process"',
        environment={"PENSTOCK_PORT": "2", "PENSTOCK_ISOLATION": "sandbox", "OTHER": "x"},
        port=3,
        host=None,
    )
    assert config == Config(port=3, log_level="info", isolation="sandbox")


def test_the_file_may_be_elsewhere(tmp_path):
    (tmp_path / "x.toml").write_text('data = "/there"')
    assert loaded(tmp_path, environment={"PENSTOCK_CONFIG": str(tmp_path / "x.toml")}).data == Path("/there")


@pytest.mark.parametrize(
    ("file", "environment", "flags", "told"),
    [
        ("prot = 1", {}, {}, "sets prot, which is not a setting: did you mean port?"),
        ("zzz = 1", {}, {}, "known are host, port"),
        ("", {"PENSTOCK_DATE": "x"}, {}, "sets PENSTOCK_DATE, which is not a setting: did you mean PENSTOCK_DATA?"),
        ("", {"PENSTOCK_PORT": "http"}, {}, "must be a whole number, not 'http'"),
        ("port = true", {}, {}, "must be a whole number"),
        ("port = 70000", {}, {}, "between 0 and 65535"),
        ("", {"PENSTOCK_AUTH": "none"}, {}, "must be one of open, enforce"),
        ("port = ", {}, {}, "is not TOML"),
        ("", {"PENSTOCK_CONFIG": "/nowhere/x"}, {}, "can't read /nowhere/x: No such file"),
        ("", {}, {"host": "0.0.0.0"}, "Use --auth enforce"),
        ("host = 5", {}, {}, "must be text"),
    ],
)
def test_what_cannot_be_is_refused_with_what_would_be_right(tmp_path, file, environment, flags, told):
    with pytest.raises(ConfigError, match=told.replace("?", r"\?")):
        loaded(tmp_path, file=file, environment=environment, **flags)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_loopback_needs_no_enforcement(tmp_path, host):
    assert loaded(tmp_path, host=host).is_loopback


def test_other_hosts_are_allowed_with_enforcement(tmp_path):
    assert not loaded(tmp_path, host="0.0.0.0", auth="enforce").is_loopback
