"""Any order of changes leaves what a simple model expects, every function ready, and no package that nobody names."""

import random

import pytest

from penstock.kernel.errors import ServiceError, Unavailable
from penstock.services import lambda_, s3
from penstock.services.lambda_ import state
from penstock.services.lambda_.operations import layer_records
from penstock.testkit.functions import ROLE, FakePool, zipped
from penstock.testkit.world import World

STEPS = 120
NAMES = ("a", "b", "c")
UNAVAILABLE = "ServiceUnavailable"


class Model:
    """What should be: by function the code of $LATEST and of each published version, and aliases' versions."""

    def __init__(self):
        self.latest = {}
        self.published = {name: {} for name in NAMES}
        self.numbers = dict.fromkeys(NAMES, 0)
        self.aliases = {name: {} for name in NAMES}

    def publish(self, name):
        known = self.published[name]
        newest = known.get(self.numbers[name])
        if newest != self.latest[name]:
            self.numbers[name] += 1
            known[self.numbers[name]] = self.latest[name]
        return self.numbers[name]

    def forget(self, name):
        del self.latest[name]
        self.published[name], self.aliases[name], self.numbers[name] = {}, {}, 0


async def attempt(world, operation, **members):
    """The answer, or the code of the refusal."""
    world.platform.store.is_on = True
    try:
        return await world.call("lambda", operation, **members)
    except ServiceError as error:
        return error.code
    finally:
        world.platform.store.is_on = False


async def step(world, model, chance, number):
    name = chance.choice(NAMES)
    kind = chance.choice(
        ["create", "code", "code", "config", "publish", "alias", "unalias", "version", "delete", "settle"]
    )
    if kind == "settle":
        await world.advance(chance.choice([0, 0, 1, 90, 2000]))
    elif kind == "create" and name not in model.latest:
        text = f"x = {number % 4}"
        params = {"Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler", "Code": {"ZipFile": zipped(text)}}
        if isinstance(await attempt(world, "CreateFunction", FunctionName=name, **params), dict):
            model.latest[name] = text
    elif name not in model.latest:
        assert await attempt(world, "DeleteFunction", FunctionName=name) in ("ResourceNotFoundException", UNAVAILABLE)
    elif kind == "code":
        text, is_published = f"x = {number % 4}", chance.random() < 0.3
        params = {"FunctionName": name, "ZipFile": zipped(text), "Publish": is_published}
        answer = await attempt(world, "UpdateFunctionCode", **params)
        if isinstance(answer, dict):
            model.latest[name] = text
            if is_published:
                model.numbers[name] += 1
                model.published[name][model.numbers[name]] = text
                assert answer["Version"] == str(model.numbers[name])
    elif kind == "config":
        await attempt(world, "UpdateFunctionConfiguration", FunctionName=name, Description=str(number))
    elif kind == "publish":
        answer = await attempt(world, "PublishVersion", FunctionName=name)
        if isinstance(answer, dict):
            assert answer["Version"] == str(model.publish(name))
    elif kind == "alias" and model.published[name]:
        version = chance.choice(sorted(model.published[name]))
        given = {"FunctionName": name, "Name": "live", "FunctionVersion": str(version)}
        answer = await attempt(world, "UpdateAlias" if model.aliases[name] else "CreateAlias", **given)
        if answer != UNAVAILABLE:
            assert answer["FunctionVersion"] == str(version)
            model.aliases[name] = {"live": version}
    elif kind == "unalias":
        if await attempt(world, "DeleteAlias", FunctionName=name, Name="live") != UNAVAILABLE:
            model.aliases[name] = {}
    elif kind == "version" and model.published[name]:
        version = chance.choice(sorted(model.published[name]))
        answer = await attempt(world, "DeleteFunction", FunctionName=name, Qualifier=str(version))
        assert answer == UNAVAILABLE or isinstance(answer, dict) == (version not in model.aliases[name].values())
        if isinstance(answer, dict):
            del model.published[name][version]
    elif kind == "delete" and chance.random() < 0.4 and await deleted(world, name):
        model.forget(name)


async def deleted(world, name):
    return await attempt(world, "DeleteFunction", FunctionName=name) != UNAVAILABLE


async def check(world, model):
    listed = (await world.call("lambda", "ListFunctions"))["Functions"]
    assert [one["FunctionName"] for one in listed] == sorted(model.latest)
    for name, text in model.latest.items():
        versions = (await world.call("lambda", "ListVersionsByFunction", FunctionName=name))["Versions"]
        assert [one["Version"] for one in versions] == ["$LATEST", *map(str, sorted(model.published[name]))]
        aliases = (await world.call("lambda", "ListAliases", FunctionName=name))["Aliases"]
        assert {one["Name"]: int(one["FunctionVersion"]) for one in aliases} == model.aliases[name]
        for qualifier, expected in [("$LATEST", text), *model.published[name].items()]:
            config = await world.call("lambda", "GetFunctionConfiguration", FunctionName=name, Qualifier=str(qualifier))
            assert (config["State"], config["LastUpdateStatus"]) == ("Active", "Successful")
            assert config["CodeSize"] == len(zipped(expected))
            await world.call("lambda", "Invoke", FunctionName=name, Qualifier=str(qualifier))


async def named_blobs(world):
    scope = world.context().scope

    def read(tx):
        found = {v.package.blob_id for f in state.functions(tx, scope) for v in state.versions(tx, scope, f.name)}
        return found | {layer.package.blob_id for layer in layer_records.layers(tx, scope)}

    return await world.platform.store.read(read)


class Outages:
    """A store that can't be written now and then while it `is_on`; nothing has happened then."""

    def __init__(self, store, chance, share):
        self._store, self._chance, self._share = store, chance, share
        self.is_on = False

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def transact(self, fn):
        if self.is_on and self._chance.random() < self._share:
            raise Unavailable("an outage")
        return await self._store.transact(fn)


@pytest.mark.parametrize("share", [0.0, 0.2], ids=["calm", "outages"])
@pytest.mark.parametrize("seed", range(8))
async def test_any_order_of_changes_ends_as_the_model_says(seed, share):
    chance, model, pool = random.Random(seed), Model(), FakePool()
    world = World(lambda_.SERVICE, s3.SERVICE, seed=seed, functions=pool)
    world.platform.store = Outages(world.platform.store, chance, share)
    for number in range(STEPS):
        await step(world, model, chance, number)
        if chance.random() < 0.1:
            world.platform.volatile.clear()
    await world.advance(3600)
    await check(world, model)
    assert {blob_id async for blob_id in world.platform.blobs.ids()} == await named_blobs(world), f"seed {seed}"
    for name in list(model.latest):
        await world.call("lambda", "DeleteFunction", FunctionName=name)
    await world.advance(3600)
    assert [blob_id async for blob_id in world.platform.blobs.ids()] == []
    assert list((world.platform.data_dir / "code").iterdir()) == []
