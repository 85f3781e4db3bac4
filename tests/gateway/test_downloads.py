from urllib.parse import urlsplit

import pytest

from penstock.gateway.downloads import Downloads
from penstock.protocol.messages import HttpRequest
from penstock.services import lambda_
from penstock.testkit.functions import create_function, zipped
from penstock.testkit.world import World


async def test_a_function_s_package_is_downloaded_by_its_location_and_by_no_other():
    world = World(lambda_.SERVICE)
    await create_function(world)
    location = (await world.call("lambda", "GetFunction", FunctionName="f"))["Code"]["Location"]
    downloads = Downloads(lambda_.CODE_PATH, lambda *asked: lambda_.download(world.platform, *asked))
    url = urlsplit(location)
    answer = await downloads.handle(HttpRequest("GET", url.path, url.query))
    assert (answer.status, await answer.body.read(bytes_max=10_000)) == (200, zipped())
    for method, path, query in [
        ("GET", url.path[:-1], url.query),
        ("GET", url.path, url.query[:-1]),
        ("GET", url.path, ""),
        ("GET", url.path, "expires=x&signature=y"),
        ("PUT", url.path, url.query),
    ]:
        assert (await downloads.handle(HttpRequest(method, path, query))).status == 403
    await world.call("lambda", "DeleteFunction", FunctionName="f")
    await world.advance(61)
    assert (await downloads.handle(HttpRequest("GET", url.path, url.query))).status in (403, 404)


@pytest.mark.parametrize("seconds", [599, 601])
async def test_a_location_lasts_ten_minutes(seconds):
    world = World(lambda_.SERVICE)
    await create_function(world)
    url = urlsplit((await world.call("lambda", "GetFunction", FunctionName="f"))["Code"]["Location"])
    downloads = Downloads(lambda_.CODE_PATH, lambda *asked: lambda_.download(world.platform, *asked))
    await world.advance(seconds)
    answer = await downloads.handle(HttpRequest("GET", url.path, url.query))
    assert answer.status == (200 if seconds < 600 else 403)
