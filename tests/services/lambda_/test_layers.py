from pathlib import Path

import pytest

from penstock.kernel.errors import ServiceError
from penstock.kernel.limits import Limit
from penstock.services.lambda_ import limits
from penstock.testkit.functions import create_function, zipped

PANDAS = "arn:aws:lambda:us-east-1:336392948345:layer:AWSSDKPandas-Python311:12"


async def publish(world, text, name="l", **members):
    content = {"ZipFile": zipped(text, "python/thing.py")}
    return await world.call("lambda", "PublishLayerVersion", LayerName=name, Content=content, **members)


async def test_layers_reach_the_engine_unpacked_and_in_order(world, pool):
    one, two = await publish(world, "1"), await publish(world, "2", "m")
    assert (one["Version"], one["LayerVersionArn"]) == (1, f"{one['LayerArn']}:1")
    layers = [two["LayerVersionArn"], one["LayerVersionArn"]]
    created = await create_function(world, Layers=layers)
    assert [layer["Arn"] for layer in created["Layers"]] == layers
    await world.call("lambda", "Invoke", FunctionName="f")
    spec = pool.invoked[0][0]
    assert [(Path(folder) / "python/thing.py").read_text() for folder in spec.layer_dirs] == ["2", "1"]


async def test_versions_of_a_layer_are_counted_listed_and_found(world):
    await publish(world, "1", CompatibleRuntimes=["python3.11"])
    second = await publish(world, "2", Description="d", CompatibleRuntimes=["python3.12"])
    await publish(world, "1", "m")
    got = await world.call("lambda", "GetLayerVersion", LayerName="l", VersionNumber=2)
    assert got["Content"]["CodeSha256"] == second["Content"]["CodeSha256"]
    assert (got["Description"], got["CompatibleRuntimes"]) == ("d", ["python3.12"])
    by_arn = await world.call("lambda", "GetLayerVersionByArn", Arn=second["LayerVersionArn"])
    assert by_arn["Version"] == 2
    page = await world.call("lambda", "ListLayerVersions", LayerName="l", MaxItems=1)
    rest = await world.call("lambda", "ListLayerVersions", LayerName="l", Marker=page["NextMarker"])
    assert [layer["Version"] for layer in page["LayerVersions"] + rest["LayerVersions"]] == [2, 1]
    layers = (await world.call("lambda", "ListLayers", CompatibleRuntime="python3.11"))["Layers"]
    assert [(layer["LayerName"], layer["LatestMatchingVersion"]["Version"]) for layer in layers] == [("l", 1)]


async def test_a_deleted_version_is_gone_but_functions_keep_it_and_its_number_is_not_given_again(world, pool):
    layer = await publish(world, "1")
    await create_function(world, Layers=[layer["LayerVersionArn"]])
    await world.call("lambda", "DeleteLayerVersion", LayerName="l", VersionNumber=1)
    with pytest.raises(ServiceError, match="does not exist"):
        await world.call("lambda", "GetLayerVersion", LayerName="l", VersionNumber=1)
    with pytest.raises(ServiceError, match=r"Layer version .*:layer:l:1 does not exist"):
        await create_function(world, "g", Layers=[layer["LayerVersionArn"]])
    await world.advance(61)
    world.platform.volatile.clear()
    await world.call("lambda", "Invoke", FunctionName="f")
    assert len(pool.invoked[0][0].layer_dirs) == 1
    assert (await publish(world, "1"))["Version"] == 2


async def test_the_public_pandas_layer_is_taken(world):
    created = await create_function(world, Layers=[PANDAS])
    assert created["Layers"] == [{"Arn": PANDAS, "CodeSize": 0}]


async def test_the_public_pandas_layer_stands_for_this_machine_s_packages(world, pool):
    pytest.importorskip("pandas")
    layer = await publish(world, "1")
    await create_function(world, Layers=[PANDAS, layer["LayerVersionArn"]])
    await world.call("lambda", "Invoke", FunctionName="f")
    managed, own = pool.invoked[0][0].layer_dirs
    assert has(managed, "python/pandas/__init__.py")
    assert has(own, "python/thing.py")


def has(folder, path):
    return (Path(folder) / path).is_file()


async def test_two_versions_of_one_layer_are_refused(world):
    first, second = await publish(world, "1"), await publish(world, "2")
    with pytest.raises(ServiceError, match="Two different versions of the same layer"):
        await create_function(world, Layers=[first["LayerVersionArn"], second["LayerVersionArn"]])


@pytest.mark.parametrize(("size", "is_taken"), [(499, True), (500, True), (501, False)])
async def test_code_and_layers_together_stay_within_the_bound(world, monkeypatch, size, is_taken):
    layer = await publish(world, "x" * 500)
    monkeypatch.setattr(limits, "UNZIPPED_BYTES_MAX", Limit(1000, ""))
    members = {"Layers": [layer["LayerVersionArn"]], "Code": {"ZipFile": zipped("x" * size)}}
    if is_taken:
        await create_function(world, **members)
        return
    with pytest.raises(ServiceError, match="size of 1000 bytes. The actual size is 1001 bytes"):
        await create_function(world, **members)
    await create_function(world, Code=members["Code"])
    with pytest.raises(ServiceError, match="Function code combined with layers"):
        await world.call("lambda", "UpdateFunctionConfiguration", FunctionName="f", Layers=members["Layers"])
    with pytest.raises(ServiceError, match="Unzipped size must be smaller than 1000 bytes"):
        await publish(world, "x" * 1001)


async def test_the_account_s_code_storage_is_bounded(world, monkeypatch):
    size = (await create_function(world))["CodeSize"]
    monkeypatch.setattr(limits, "CODE_STORAGE_BYTES_MAX", Limit(2 * size, ""))
    await create_function(world, "g")
    with pytest.raises(ServiceError, match="Code storage limit exceeded") as raised:
        await create_function(world, "h")
    assert raised.value.code == "CodeStorageExceededException"
    await world.advance(61)
    assert len([blob_id async for blob_id in world.platform.blobs.ids()]) == 2
