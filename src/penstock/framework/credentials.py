"""Who holds an access key, and temporary credentials that need no table.

Temporary credentials are stateless: the session token carries the principal, sealed by an HMAC with the node's
secret (kept in the store), and the secret access key is derived from the token, so minting writes nothing.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Protocol

import orjson

from penstock.engines.functions.ports import Credentials
from penstock.kernel.entropy import Entropy
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import DEFAULT_ACCOUNT_ID, Principal, root_principal
from penstock.storage.transactions import Key, ReadTransaction, Store, Transaction

_NODE_SECRET = ("framework", "node-secret")
_ROOT_KEY = ("framework", "root-key")
_KEY_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_SECRET_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_TOKEN_HEAD = "penstock"
_KEYS_CHANGE_WITH: tuple[Key, ...] = (("framework",), ("iam",), ("iam-key",))
_KNOWN_MAX = 1000
"""Keys are remembered until a commit below these prefixes; a bound against clients that make up keys."""
ACCOUNT_ID_DIGITS = 12


class KeySource(Protocol):
    """What IAM knows of long-term keys (`services.iam`)."""

    def find_access_key(self, tx: ReadTransaction, access_key_id: str) -> tuple[str, Principal] | None:
        """The secret and the user of an active key."""


class TemporaryCredentials:
    """Mints and resolves; `secret` is the node's, 32 bytes or more."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def mint(self, principal: Principal, session_policies: Sequence[str], expires_ms: int) -> Credentials:
        """Credentials with which a caller is `principal` until `expires_ms`, narrowed by `session_policies`."""
        claims = {
            "kind": principal.kind,
            "account": principal.account_id,
            "arn": principal.arn,
            "id": principal.user_id,
            "policies": [*principal.session_policies, *session_policies],
            "expires": expires_ms,
        }
        body = orjson.dumps(claims)
        seal = self._seal(b"token", body)
        token = f"{_TOKEN_HEAD}{_encode(seal + body)}"
        return Credentials(self._key_id(principal.account_id, seal), self._secret_key(seal), token, expires_ms)

    def resolve(self, access_key_id: str, token: str, now_ms: int) -> tuple[str, Principal]:
        """The secret access key and the principal. Raises InvalidClientTokenId or ExpiredToken."""
        data = _decode(token.removeprefix(_TOKEN_HEAD)) if token.startswith(_TOKEN_HEAD) else b""
        seal, body = data[:32], data[32:]
        if not body or not hmac.compare_digest(seal, self._seal(b"token", body)):
            raise invalid_token()
        claims = orjson.loads(body)
        if not hmac.compare_digest(access_key_id.encode(), self._key_id(claims["account"], seal).encode()):
            raise invalid_token()
        if now_ms >= claims["expires"]:
            raise ServiceError("ExpiredToken", "The security token included in the request is expired", status=403)
        principal = Principal(
            claims["kind"],
            claims["account"],
            claims["arn"],
            claims["id"],
            session_policies=tuple(claims["policies"]),
            access_key_id=access_key_id,
        )
        return self._secret_key(seal), principal

    def _seal(self, purpose: bytes, data: bytes) -> bytes:
        return hmac.new(self._secret, purpose + b"\0" + data, hashlib.sha256).digest()

    def _secret_key(self, seal: bytes) -> str:
        return base64.b64encode(self._seal(b"secret", seal)[:30]).decode()

    def _key_id(self, account_id: str, seal: bytes) -> str:
        letters = base64.b32encode(self._seal(b"key-id", account_id.encode() + seal)[:10]).decode()
        return f"ASIA{letters}"


class Authenticator:
    """Finds out who a request claims to be, and with which secret its signature is to be checked.

    mode   `open`: any credentials are good, and unknown ones are root; `enforce`: only known ones are
    """

    def __init__(self, store: Store, entropy: Entropy, *, mode: str = "open", keys: KeySource | None = None) -> None:
        self._store = store
        self._entropy = entropy
        self._mode = mode
        self._keys = keys
        self._temporary: TemporaryCredentials | None = None
        self._known: dict[str, tuple[str, Principal] | None] = {}
        for prefix in _KEYS_CHANGE_WITH:
            store.on_commit(prefix, self._known.clear)

    async def authenticate(
        self, access_key_id: str | None, session_token: str | None, now_ms: int
    ) -> tuple[Principal, str | None]:
        """The principal, and the secret to check the signature with (None: don't check).

        Raises InvalidClientTokenId (403) or ExpiredToken (403); S3's gateway words the first InvalidAccessKeyId.
        """
        if not access_key_id:
            return _nobody(self._mode), None
        found = await self._find(access_key_id, session_token, now_ms)
        if self._mode == "open":
            return found[1] if found else _assumed_root(access_key_id), None
        if found is None:
            raise invalid_token()
        return found[1], found[0]

    async def _find(self, access_key_id: str, token: str | None, now_ms: int) -> tuple[str, Principal] | None:
        if token and token.startswith(_TOKEN_HEAD):
            temporary = await self.temporary()
            try:
                return temporary.resolve(access_key_id, token, now_ms)
            except ServiceError as error:
                if self._mode == "open" and error.code != "ExpiredToken":
                    return None
                raise
        if access_key_id in self._known:
            return self._known[access_key_id]
        keys = self._keys

        def find(tx: ReadTransaction) -> tuple[str, Principal] | None:
            root = tx.get(_ROOT_KEY)
            if root is not None and orjson.loads(root)[0] == access_key_id:
                return orjson.loads(root)[1], root_principal()
            return keys.find_access_key(tx, access_key_id) if keys else None

        found = await self._store.read(find)
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[access_key_id] = found
        return found

    async def temporary(self) -> TemporaryCredentials:
        if self._temporary is None:
            self._temporary = await temporary_credentials(self._store, self._entropy)
        return self._temporary


async def temporary_credentials(store: Store, entropy: Entropy) -> TemporaryCredentials:
    """The minter of this node, whose secret is made once and kept in the store."""
    fresh = entropy.token_bytes(32)

    def get(tx: Transaction) -> bytes:
        known = tx.get(_NODE_SECRET)
        if known is None:
            tx.put(_NODE_SECRET, fresh)
        return known or fresh

    return TemporaryCredentials(await store.transact(get))


async def root_credentials(store: Store, entropy: Entropy) -> tuple[str, str]:
    """The access key id and secret of the default account's root, made once: how enforce mode is entered."""
    fresh = (f"AKIA{entropy.text(_KEY_LETTERS, 16)}", entropy.text(_SECRET_LETTERS, 40))

    def get(tx: Transaction) -> tuple[str, str]:
        known = tx.get(_ROOT_KEY)
        if known is None:
            tx.put(_ROOT_KEY, orjson.dumps(fresh))
            return fresh
        key_id, secret = orjson.loads(known)
        return key_id, secret

    return await store.transact(get)


def invalid_token() -> ServiceError:
    return ServiceError("InvalidClientTokenId", "The security token included in the request is invalid.", status=403)


def _assumed_root(access_key_id: str) -> Principal:
    is_account = len(access_key_id) == ACCOUNT_ID_DIGITS and access_key_id.isdigit()
    return root_principal(access_key_id if is_account else DEFAULT_ACCOUNT_ID)


def _nobody(mode: str) -> Principal:
    return root_principal() if mode == "open" else Principal("anonymous", "", "*")


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
