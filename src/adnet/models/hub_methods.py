"""Load a network from, and save it to, the Hugging Face hub and folders of the same layout."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from adnet import __version__
from adnet.errors import UserError
from adnet.weights.hub import upload
from adnet.weights.model_card import model_card
from adnet.weights.pretrained import CONFIG, LITE, WEIGHTS, locate, read_pretrained, write_pretrained

if TYPE_CHECKING:
    from adnet.models.adnet import ADNet


class HubMethods:
    """`from_pretrained`, `save_pretrained` and `push_to_hub` of `ADNet`.

    The files are safetensors and plain values: nothing in them can run code.
    """

    test_size: tuple[int, int] | None = None
    """Height and width in pixels at which the network is tested, if known."""

    @staticmethod
    def from_pretrained(name: str | Path = LITE, revision: str | None = None) -> ADNet:
        """Load a network, in eval mode on the CPU, with its `test_size`.

        Args:
            name: `adnet/lite`, the weights that come with the package; a folder that `save_pretrained` or `adnet.export
                format=safetensors` wrote; or OWNER/NAME on the hub. A folder takes precedence over a model on the hub.
            revision: a branch, tag or commit; on the hub only.

        Raises UserError if there is no such network, the hub doesn't answer, or the files are not adnet's.
        """
        from adnet.models.build_network import load_network  # which imports ADNet, which imports this

        folder = _folder(name, revision)
        return load_network(*read_pretrained(folder), folder)

    def save_pretrained(
        self, folder: str | Path, test_size: tuple[int, int] | None = None, scores: str | Path | None = None
    ) -> None:
        """Write the weights in half precision, their `config.json`, and a model card (`README.md`) into a new folder.

        Args:
            folder: created with its parents; may exist if it is empty.
            test_size: height and width in pixels; None: `self.test_size`.
            scores: the `scores.json` of its evaluation, for the card.

        Raises UserError if the folder is not empty, no test size is known, `scores` is no such file, or the network was
        modified (folded, compiled) and can no longer be rebuilt from its config.
        """
        self._write(Path(folder), Path(folder).name, test_size, scores)

    def push_to_hub(
        self,
        name: str,
        test_size: tuple[int, int] | None = None,
        scores: str | Path | None = None,
        revision: str | None = None,
        private: bool | None = None,
        message: str = "A network of adnet's",
    ) -> str:
        """Upload what `save_pretrained` writes to the hub, as the model OWNER/NAME; return the commit's address.

        A repository and a branch `revision` are created if missing; `private=None` follows the owner's default. Raises
        UserError as `save_pretrained` does, and if the hub refuses.
        """
        with TemporaryDirectory() as folder:
            self._write(Path(folder), name, test_size, scores)
            return upload(Path(folder), name, revision, private, message)

    def _write(self, folder: Path, name: str, test_size: tuple[int, int] | None, scores: str | Path | None) -> None:
        from adnet.models.build_network import build_network

        network: Any = self
        size = test_size or self.test_size
        if size is None:
            raise UserError("the network's test size is unknown: give test_size=(HEIGHT, WIDTH), such as (257, 449)")
        weights = network.state_dict()
        if weights.keys() != build_network(network.config).state_dict().keys():
            raise UserError("this network was changed after it was built: save the original one")
        card = model_card(name, network.variant, scores)
        write_pretrained(folder, network.config, size, weights, {"adnet": __version__}, card)


def _folder(name: str | Path, revision: str | None) -> Path:
    text, path = str(name), Path(name)
    if text == LITE or path.exists():
        if revision:
            raise UserError(f"{name} is local and has no revision {revision!r}; leave revision out")
        if path.is_file() and path.name not in (WEIGHTS, CONFIG):
            raise UserError(f"{name} is not a folder; open training checkpoints with adnet.inference.load_checkpoint")
        return locate(name).parent if text == LITE or (path / CONFIG).is_file() else path
    if isinstance(name, Path) or not re.fullmatch(r"(hub:)?[A-Za-z0-9][\w.-]*/[\w.-]+(@.+)?", text):
        raise UserError(f"there is no folder {name}; give one, OWNER/NAME on the hub, or {LITE}")
    hub = text if text.startswith("hub:") else f"hub:{text}"
    return locate(f"{hub}@{revision}" if revision else hub).parent
