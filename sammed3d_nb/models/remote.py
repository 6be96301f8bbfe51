"""A model behind a server of the nnInteractive protocol: the official one, ours, or any other.

The published client does the talking (``nninteractive-client``); here its errors become sentences, and its sessions
are those of `Conversation`. What a server forgets (an expired lease, a restart) is said to it again from there.
"""

import hashlib
import json
import os
import stat
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sammed3d_nb.errors import ServerError, UserError
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.models.guarded import Guarded, short
from sammed3d_nb.segmenters.conversation import Conversations, LeaseLostError
from sammed3d_nb.segmenters.interactive_segmenter import InteractiveSegmenter
from sammed3d_nb.segmenters.sayings import Abilities
from sammed3d_nb.segmenters.segmenter import EngineSpec

KEY_VARIABLE = "NN_INTERACTIVE_API_KEY"
"""Where the key is looked for when none is given; the official client and server look there too."""
KEY_FILE_VARIABLE = "SAMMED3D_API_KEY_FILE"
PREDICTION_SECONDS = 300.0
"""For one answer, before the server counts as lost; on a CPU the official model takes minutes for a large object."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ANSWERED = {"version": "inference_session_version", "licence": "license", "model": "model"}
"""What records keep of a server's capabilities, and the name that it has there."""
_MISSING = "!!MISSING!!"
"""What the protocol says of a licence that nobody knows."""


def is_address(source: object) -> bool:
    """Whether something that `load_model` was given is a server's address."""
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


class RemoteModel:
    """A model behind a server; gives segmenters as any `Engine` does.

    Args:
        address: ``http://host:port`` or ``https://host``, with a path where one server has several models.
        key: What the server wants to see; None for none.

    Attributes:
        notes: What there is to say of it.

    Raises:
        ServerError: It does not answer, refuses, or is none of this protocol.
    """

    files: Sequence[Any] = ()
    ahead = True
    bytes_per_voxel = 1
    """The copy of the mask that the client writes into."""

    def __init__(self, address: str, key: str | None = None) -> None:
        self._server = _Server(_checked(address), key)
        self._conversations = Conversations(self._server.begin)  # one lease and one upload for a volume's segmenters
        self.notes: list[str] = []
        host = urlsplit(self.address).hostname
        if self.address.lower().startswith("http://") and host not in _LOOPBACK:
            what = "Images and the key travel" if key else "Images travel"
            self.notes.append(f"{what} unencrypted to {host}; use https or an SSH port forward where others listen.")

    @property
    def address(self) -> str:
        """Where the server is."""
        return self._server.address

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """What the server said of itself and its model when it was first asked."""
        return self._server.capabilities

    @property
    def abilities(self) -> Abilities:
        """What the model behind it takes."""
        told = self.capabilities
        thickness = told.get("preferred_scribble_thickness") or 1
        across = thickness if isinstance(thickness, list) and len(thickness) == 3 else [thickness] * 3
        return Abilities(
            dict(told["supported_interactions"]),
            bool(told["supports_initial_label"]),
            tuple(across),
            bool(told.get("do_autozoom", True)),
        )

    @property
    def prompts(self) -> Mapping[str, str]:
        """For each kind of prompt: "native", "refused", or "translated" where our own server says that it does."""
        said = self.capabilities.get("prompts")
        there = said if isinstance(said, dict) else {}
        known = self.abilities.prompts
        return {
            kind: "translated" if how == "native" and there.get(kind) == "translated" else how
            for kind, how in known.items()
        }

    @property
    def licence(self) -> str:
        """Of the model, as its server states it; empty where it does not."""
        return self.about.get("licence", "")

    @property
    def spec(self) -> EngineSpec:
        """What it is called."""
        name = str(self.capabilities.get("model") or "nnInteractive server")[:80]
        return EngineSpec(name, "nninteractive-server", self.address, self.fingerprint)

    @property
    def fingerprint(self) -> str:
        """What tells this model from others, as far as its server says: SHA-256 of what it says of itself."""
        return _fingerprint(self.capabilities)

    @property
    def about(self) -> dict[str, str]:
        """What records keep of it: the server's address, the version and licence that it states, its model's name."""
        said = {name: self.capabilities.get(key) for name, key in _ANSWERED.items()}
        known = {name: str(value)[:200] for name, value in said.items() if value and value != _MISSING}
        return {"server": self.address, **known}

    @property
    def described(self) -> str:
        """It in a few words."""
        return f"{self.spec.name} at {self.address}" + (f", {self.licence}" if self.licence else "")

    def segmenter(self, volume: Volume) -> InteractiveSegmenter:
        """A segmenter for a volume; the image travels when the first prompt does."""
        return InteractiveSegmenter(self._conversations.about(volume), self.abilities)

    def forget(self, volume: Volume) -> None:
        """End the lease about a volume, unless a segmenter works on it."""
        self._conversations.forget(volume)

    def __repr__(self) -> str:
        return f"RemoteModel({self.address!r})"


class _Server:
    """A server, and the lease that asking it for its capabilities took: the first volume gets it."""

    def __init__(self, address: str, key: str | None) -> None:
        self.address, self._key = address, key
        self._first: _Lease | None = _Lease(address, key)
        self.capabilities = self._first.capabilities
        weakref.finalize(self, self._first.close)

    def begin(self) -> "_Lease":
        """A session with the model that was there when it was first asked.

        Raises:
            ServerError: It has another one now.
        """
        first, self._first = self._first, None
        if first is not None:
            if first.alive():
                return first
            threading.Thread(target=first.close, daemon=True).start()
        lease = _Lease(self.address, self._key)
        if _fingerprint(lease.capabilities) != _fingerprint(self.capabilities):
            lease.close()
            raise ServerError(
                f"The server at {self.address} answers with another model now ({_named(lease.capabilities)} instead of "
                f"{_named(self.capabilities)}); load it again (load_model, or the model menu): what was said is kept."
            )
        return lease


class _Lease(Guarded):
    """A session on a server."""

    def __init__(self, address: str, key: str | None) -> None:
        self._address = address
        make = _session_class()
        with self._told():
            # "" for none: with None the client looks into the environment itself
            self._session = make(address, api_key=key or "", read_timeout=PREDICTION_SECONDS)
            told = self._session.capabilities
            needed = isinstance(told.get("supported_interactions"), dict) and "supports_initial_label" in told
            if not needed or not any(told["supported_interactions"].values()):
                raise ValueError("no capabilities")
        self.capabilities: dict[str, Any] = told

    def alive(self) -> bool:
        """Whether the server knows it still."""
        try:
            with self._told():
                self._session.lease_status()
        except UserError:
            return False
        return True

    def close(self) -> None:
        """Give the lease back, if the server is there to take it."""
        self._session.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong, as a sentence."""
        import httpx
        from nnInteractive.inference.remote.remote_session import ServerAtCapacityError, SessionExpiredError

        where = f"The server at {self._address}"
        try:
            yield
        except SessionExpiredError as error:
            raise LeaseLostError(f"{where} has ended this session; say it again.") from error
        except ServerAtCapacityError as error:
            raise ServerError(f"{where} is full ({error}); try again in a while.") from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ServerError(
                f"{where} does not answer ({short(error)}). Nothing is lost: say it again when it is back."
            ) from error
        except httpx.TimeoutException as error:
            raise ServerError(
                f"{where} took longer than {_patience(error)} s. Nothing is lost: try again, or look "
                "whether it is busy."
            ) from error
        except httpx.HTTPStatusError as error:
            raise _refused(where, error.response) from error
        except httpx.TransportError as error:  # the connection broke: perhaps it was started again meanwhile
            raise LeaseLostError(f"{where} broke off ({short(error)}). Nothing is lost: try again.") from error
        except (
            httpx.HTTPError, httpx.InvalidURL, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError,
            ValueError,
        ) as error:  # fmt: skip
            raise ServerError(
                f"{where} answers, but not as one of the nnInteractive protocol does ({short(error)}); "
                "check the address."
            ) from error


def _session_class() -> Any:
    """The published client's session, which keeps what the server says of itself."""
    try:
        from nnInteractive.inference.remote import remote_session
    except ImportError as error:
        raise ServerError(
            "A model on a server needs the package nninteractive-client; pip install 'sammed3d-nb[remote]'."
        ) from error

    class Session(remote_session.nnInteractiveRemoteInferenceSession):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            try:
                super().__init__(*arguments, **options)
            except BaseException:
                if hasattr(self, "_http"):  # it leaves its connection open when a claim is refused
                    self._http.close()
                raise

        def _get_json(self, path: str) -> dict[str, Any]:
            found: dict[str, Any] = super()._get_json(path)
            if path == remote_session.PATH_CAPABILITIES:
                self.capabilities = found
            return found

    return Session


def key_of(given: str | Path | None, environ: Mapping[str, str] = os.environ) -> str | None:
    """The key for a server: the one given, that of a file, or that of the environment.

    Args:
        given: The key; or a file that holds it, as a `Path`.
        environ: Where `KEY_VARIABLE` or `KEY_FILE_VARIABLE` may stand.

    Raises:
        ServerError: The file cannot be read, or others can read it.
    """
    if given is None:
        file = environ.get(KEY_FILE_VARIABLE)
        given = Path(file) if file else environ.get(KEY_VARIABLE)
    if not isinstance(given, Path):
        return given or None
    path = given.expanduser()
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ServerError(f"The key file {path} cannot be read; expected one line with the key.") from error
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise ServerError(f"Others can read the key file {path}; close it first: chmod 600 {path}.")
    if not text or len(text.split()) != 1:
        raise ServerError(f"The key file {path} holds {'no' if not text else 'more than one'} word; expected the key.")
    return text


def _checked(address: str) -> str:
    """The address as it may be told and used."""
    try:
        parts = urlsplit(address)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise ServerError(f"{address!r:.80} is no address; expected e.g. http://gpu-machine:1527.") from error
    if not host or port == 0:
        raise ServerError(f"{address!r:.80} names no server; expected e.g. http://gpu-machine:1527.")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ServerError(
            "The address must be scheme, host, port and path alone, for it is kept in records; give the key by api_key "
            "or --api-key-file."
        )
    return address.rstrip("/")


def _fingerprint(capabilities: Mapping[str, Any]) -> str:
    steady = {name: value for name, value in capabilities.items() if name not in ("do_autozoom", "supports_undo")}
    return hashlib.sha256(json.dumps(steady, sort_keys=True).encode()).hexdigest()


def _named(capabilities: Mapping[str, Any]) -> str:
    names = [str(capabilities[name])[:60] for name in ("model", "inference_session_version", "license")
             if capabilities.get(name)]  # fmt: skip
    return ", ".join(names) or "an unnamed model"


def _refused(where: str, response: Any) -> UserError:
    """A server's refusal as a sentence."""
    status = response.status_code
    try:
        detail = response.json()["detail"]
        said = detail if isinstance(detail, str) else json.dumps(detail)
    except (LookupError, TypeError, ValueError):
        said = ""
    told = f" (it says: {said[:300].rstrip('.')})" if said else ""
    if status in (401, 403):
        return ServerError(f"{where} refuses the key{told}; give the right one by api_key or --api-key-file.")
    if status == 404:
        return ServerError(f"{where} is none of the nnInteractive protocol (HTTP 404); check the address.")
    if status == 413:
        return ServerError(f"{where} takes no image that large{told}; crop it, or ask who runs it.")
    if status in (502, 503, 504):
        return ServerError(f"{where} cannot answer now (HTTP {status}){told}; try again in a while.")
    if status < 500:
        return ServerError(f"{where} refuses it (HTTP {status}){told}.")
    return ServerError(f"{where} failed (HTTP {status}){told}. Nothing is lost: try again.")


def _patience(error: Any) -> str:
    try:
        return f"{error.request.extensions['timeout']['read']:.0f}"
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
        return f"{PREDICTION_SECONDS:.0f}"
