import pytest

from penstock.engines.patterns.log_filter import BadPattern, compile_pattern

JSON = '{"eventType":"UpdateTrail","n":4.5,"ok":true,"none":null,"user":{"id":7},"arr":["a","b"]}'
LINE = '127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534'


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ("", "anything", True),
        ("ERROR", "[ERROR 401] x", True),
        ("ERROR", "error", False),
        ("ERROR 401", "ERROR 402", False),
        ('"not found"', "page not found", True),
        ("?ERROR ?WARN", "WARN x", True),
        ("?ERROR ?WARN", "INFO x", False),
        ("ERROR -EXITING", "ERROR EXITING", False),
        ("%4[0-9]{2}%", "status 404", True),
        ('{ $.eventType = "Update*" }', JSON, True),
        ('{ $.eventType != "UpdateTrail" }', JSON, False),
        ("{ $.n > 4 && $.n <= 4.5 }", JSON, True),
        ("{ $.none IS NULL }", JSON, True),
        ("{ $.ok IS TRUE }", JSON, True),
        ("{ $.missing NOT EXISTS }", JSON, True),
        ('{ ($.user.id = 8 || $.user.id = 7) && $.arr[1] = "b" }', JSON, True),
        ('{ $.arr[*] = "b" }', JSON, True),
        ("{ $.n > 4 }", "no json", False),
        ("[ip, user, name, time, request, status=4*, bytes]", LINE, True),
        ("[ip, user, name, time, request=*index*, status, bytes > 2000]", LINE, False),
        ("[..., status = 404 || status = 410, bytes]", LINE, True),
        ("[a, b]", LINE, False),
    ],
)
def test_pattern_matches_as_documented(pattern, message, expected):
    assert compile_pattern(pattern)(message) is expected


@pytest.mark.parametrize("pattern", ["{ $.a = ", "[a, b", "{ a = 1 }", "{ ($.a = 1 }", "$$$", "{ $.a < x }"])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(BadPattern):
        compile_pattern(pattern)
