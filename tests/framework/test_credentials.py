import pytest

from penstock.framework.credentials import Authenticator, root_credentials, temporary_credentials
from penstock.kernel.entropy import SeededEntropy
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Principal, root_principal
from penstock.storage.backends.memory import MemoryStore

ROLE = Principal("role", "111122223333", "arn:aws:sts::111122223333:assumed-role/r/s", "AROA:s")


def made(mode="open", store=None):
    store = store or MemoryStore()
    return store, Authenticator(store, SeededEntropy(1), mode=mode)


@pytest.mark.parametrize(
    ("key", "account"), [("test", "000000000000"), ("123456789012", "123456789012"), (None, "000000000000")]
)
async def test_open_mode_takes_any_key_for_root(key, account):
    _, authenticator = made()
    assert await authenticator.authenticate(key, None, 0) == (root_principal(account), None)


async def test_minted_credentials_resolve_on_another_instance_over_the_same_store():
    store, authenticator = made("enforce")
    minted = (await temporary_credentials(store, SeededEntropy(2))).mint(ROLE, ["{}"], 1000)
    principal, secret = await authenticator.authenticate(minted.access_key_id, minted.session_token, 999)
    assert secret == minted.secret_access_key
    assert (principal.arn, principal.session_policies) == (ROLE.arn, ("{}",))
    assert principal.access_key_id == minted.access_key_id
    assert minted.access_key_id.startswith("ASIA")
    assert len(minted.access_key_id) == 20


@pytest.mark.parametrize(
    ("spoil", "now_ms", "code"),
    [
        (lambda key, token: (key, token), 1000, "ExpiredToken"),
        (lambda key, token: (key, token[:-4] + "AAAA"), 0, "InvalidClientTokenId"),
        (lambda key, token: ("ASIAAAAAAAAAAAAAAAAA", token), 0, "InvalidClientTokenId"),
        (lambda key, token: ("AKIAUNKNOWN", None), 0, "InvalidClientTokenId"),
        (lambda key, token: ("test", None), 0, "InvalidClientTokenId"),
    ],
)
async def test_enforce_mode_refuses_what_it_did_not_make(spoil, now_ms, code):
    store, authenticator = made("enforce")
    minted = (await temporary_credentials(store, SeededEntropy(2))).mint(ROLE, [], 1000)
    key, token = spoil(minted.access_key_id, minted.session_token)
    with pytest.raises(ServiceError) as caught:
        await authenticator.authenticate(key, token, now_ms)
    assert (caught.value.code, caught.value.status) == (code, 403)


async def test_root_key_is_made_once_and_opens_enforce_mode():
    store, authenticator = made("enforce")
    key, secret = await root_credentials(store, SeededEntropy(3))
    assert (key, secret) == await root_credentials(store, SeededEntropy(4))
    assert await authenticator.authenticate(key, None, 0) == (root_principal(), secret)
