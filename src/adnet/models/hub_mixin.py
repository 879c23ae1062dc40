"""Make a network from plain values, load it from the Hugging Face hub and folders of the same layout, and save it there."""

import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Self

from pydantic import Field
from torch import nn

from adnet import __version__
from adnet.errors import UserError
from adnet.models.encoder import DeepLabV3
from adnet.shared.check_config import argument_types
from adnet.shared.value_types import described, fits
from adnet.weights.hub import model_card, upload
from adnet.weights.pretrained import LITE, RELEASED, locate, read_pretrained, write_pretrained
from adnet.weights.read import load_into

_Side = Annotated[int, Field(ge=9, le=8193)]


class HubMixin(nn.Module):
    """`from_config`, `from_pretrained`, `save_pretrained` and `push_to_hub` of `ADNet`.

    The files are safetensors and plain values: nothing in them can run code.
    """

    config: dict[str, Any]
    variant: str
    test_size: tuple[int, int] | None = None
    """Height and width in pixels at which the network is tested, if known."""

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """Build the network that the plain values in `config` describe, with random weights.

        `config` may come from an untrusted checkpoint. It has the layout of `conf/model`: the arguments of `ADNet`, with those
        of `DeepLabV3` as its `encoder` and `motion`, each with its `_target_`, which is compared and not called. `${...}` is
        not resolved, and a value must have its argument's type. No file is read, neither ImageNet weights nor `weights`.

        Raises UserError for another `_target_`, an unknown argument, a value of the wrong type, and an impossible network.
        """
        arguments = _arguments(config, cls, "")
        names = ("encoder", *(["motion"] if arguments.get("motion") is not None else []))
        encoders = {name: _arguments(arguments.get(name), DeepLabV3, f"{name}.") for name in names}
        try:
            parts = {name: DeepLabV3(**given | {"pretrained": False}) for name, given in encoders.items()}
            return cls(**arguments | parts | {"weights": None})
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise UserError(f"no network can be built from it ({' '.join(str(error).split()):.200})") from error

    @classmethod
    def load(cls, config: Any, test_size: Any, weights: Mapping[str, Any], source: str | Path) -> Self:
        """Build the network that `config` describes, with these weights, in eval mode on the CPU.

        Raises UserError, naming the `source`, for a `test_size` that no frame has, or if `config` describes no network of adnet's or
        the weights don't fit it.
        """
        if not fits(test_size, tuple[_Side, _Side]):
            wanted = "two whole numbers of 9 to 8193 pixels, height and width"
            raise UserError(f"{source}: its test size is {test_size!r:.60}, not {wanted}; take another copy")
        try:
            network = cls.from_config(config)
        except UserError as error:
            raise UserError(f"{source} names a model other than adnet's: {error}") from error
        load_into(network, weights, str(source), "the model that it names")
        network.test_size = test_size[0], test_size[1]
        return network.eval()

    @classmethod
    def from_pretrained(cls, name: str | Path = LITE, revision: str | None = None) -> Self:
        """Load a network, in eval mode on the CPU, with its `test_size`.

        Args:
            name: `adnet/lite`, the weights that come with the package; a folder that `save_pretrained` or `adnet.export
                format=safetensors` wrote; or OWNER/NAME on the hub. A folder takes precedence over a model on the hub.
            revision: a branch, tag or commit; on the hub only.

        Raises UserError if there is no such network, the hub doesn't answer, or the files are not adnet's.
        """
        text, folder = str(name), Path(name)
        if text == LITE or folder.exists():
            if revision:
                raise UserError(f"{name} is local and has no revision {revision!r}; leave revision out")
            if folder.is_file():
                raise UserError(
                    f"{name} is not a folder; open training checkpoints with adnet.inference.load_checkpoint"
                )
            folder = RELEASED if text == LITE else folder
        elif isinstance(name, Path) or not re.fullmatch(r"(hub:)?[A-Za-z0-9][\w.-]*/[\w.-]+(@.+)?", text):
            raise UserError(f"there is no folder {name}; give one, OWNER/NAME on the hub, or {LITE}")
        else:
            hub = f"hub:{text.removeprefix('hub:')}"
            folder = locate(f"{hub}@{revision}" if revision else hub).parent
        return cls.load(*read_pretrained(folder), folder)

    def save_pretrained(
        self,
        folder: str | Path,
        test_size: tuple[int, int] | None = None,
        scores: str | Path | None = None,
        name: str | None = None,
    ) -> None:
        """Write the weights in half precision, their `config.json`, and a model card (`README.md`) into a new folder.

        Args:
            folder: created with its parents; may exist if it is empty.
            test_size: height and width in pixels; None: `self.test_size`.
            scores: the `scores.json` of its evaluation, for the card.
            name: what the card calls the network, OWNER/NAME; None: as the folder.

        Raises UserError if the folder is not empty, no test size is known, `scores` is no such file, or the network was
        modified (folded, compiled) and can no longer be rebuilt from its config.
        """
        size = test_size or self.test_size
        if size is None:
            raise UserError("the network's test size is unknown: give test_size=(HEIGHT, WIDTH), such as (257, 449)")
        weights = self.state_dict()
        if weights.keys() != self.from_config(self.config).state_dict().keys():
            raise UserError("this network was changed after it was built: save the original one")
        card = model_card(name or Path(folder).name, self.variant, scores)
        write_pretrained(Path(folder), self.config, size, weights, {"adnet": __version__}, card)

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
            self.save_pretrained(folder, test_size, scores, name)
            return upload(Path(folder), name, revision, private, message)


def _arguments(config: Any, network: type[Any], path: str) -> dict[str, Any]:
    """Return the arguments of `network` in a config, whose types are checked except for those of its encoders."""
    if not isinstance(config, dict):
        raise UserError(f"{path.rstrip('.') or 'all of it'} is {config!r:.100}, not a config of adnet's")
    given = {str(name): value for name, value in config.items()}
    if (target := given.pop("_target_", None)) != f"adnet.models.{network.__name__}":
        raise UserError(f"{path}_target_ is {target!r:.100}, not adnet.models.{network.__name__}")
    given.pop("_convert_", None)
    types = argument_types(f"adnet.models.{network.__name__}")
    for name, value in given.items():
        if name not in types:
            raise UserError(f"{path}{name} is {value!r:.100}, and unknown")
        if types[name] not in (DeepLabV3, DeepLabV3 | None) and not fits(value, types[name]):
            raise UserError(f"{path}{name} is {value!r:.100}, not {described(types[name])}")
    return given
