"""UAA's signing keys: one signs, older ones are still accepted."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from meshnet.model.errors import PlatformError
from meshnet.wire.token import key_id, pem

PUBLIC = "public.pem"
_BITS, _KEPT = 2048, 3


class KeyRing:
    """The keys in a directory: `key-N.pem`, of which the last signs, and `public.pem` of them all.

    Others check tokens with `public.pem`. A directory that changes is read again before the next
    signature, so that a key is changed without a restart.
    """

    def __init__(self, directory: Path, keys: list[rsa.RSAPrivateKey], read_at: int) -> None:
        self._directory, self._read_at = directory, read_at
        self._keys = keys
        self._public: dict[str, rsa.RSAPublicKey] = {}

    @classmethod
    def open(cls, directory: str | Path) -> KeyRing:
        """Read the keys; the first is made where there is none. Raises PlatformError."""
        ring = cls(Path(directory), [], 0)
        try:
            ring._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not ring._files() or not (ring._directory / PUBLIC).exists():
                ring.rotate()
            ring._read()
        except (OSError, ValueError) as exc:
            raise PlatformError(f"cannot use UAA's signing keys: {exc}") from exc
        return ring

    @property
    def signing(self) -> tuple[str, rsa.RSAPrivateKey]:
        """The key that signs now, with its id."""
        return next(reversed(self.public)), self._keys[-1]

    @property
    def public(self) -> dict[str, rsa.RSAPublicKey]:
        """Every key that is accepted, by its id; the one that signs is the last."""
        if os.stat(self._directory).st_mtime_ns != self._read_at:
            self._read()
        return self._public

    def rotate(self) -> None:
        """Make a new key that signs from now on; the oldest is forgotten."""
        files = self._files()
        number = int(files[-1].stem.partition("-")[2]) + 1 if files else 1
        key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        keys = [*map(_load, files), key][-_KEPT:]
        # Those who check must know a key before anything is signed with it.
        public = "".join(pem(k.public_key()) for k in keys)
        self._write(PUBLIC, public.encode(), 0o644)
        self._write(f"key-{number}.pem", text, 0o600)
        for old in self._files()[:-_KEPT]:
            old.unlink()

    def _files(self) -> list[Path]:
        found = self._directory.glob("key-*.pem")
        return sorted(found, key=lambda path: int(path.stem.partition("-")[2]))

    def _read(self) -> None:
        self._read_at = os.stat(self._directory).st_mtime_ns
        keys = []
        for path in self._files():
            with suppress(FileNotFoundError):  # rotated away since
                keys.append(_load(path))
        self._keys = keys
        found = [key.public_key() for key in self._keys]
        self._public = {key_id(key): key for key in found}

    def _write(self, name: str, content: bytes, mode: int) -> None:
        new = self._directory / f".{name}.new"
        with os.fdopen(os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.rename(self._directory / name)


def _load(path: Path) -> rsa.RSAPrivateKey:
    key = load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError(f"{path} holds no RSA key")
    return key
