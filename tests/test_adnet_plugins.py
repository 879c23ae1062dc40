from __future__ import annotations

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf.basecontainer import BaseContainer

from adnet.shared.command import conf_dir


def test_every_name_says_whose_it_is() -> None:
    """Each application of the environment has them: another's own `ray` or `sweep_name` would be replaced."""
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        launcher = hydra.compose("train", ["launcher=ray"], return_hydra_config=True).hydra.launcher
    assert launcher._target_ == "hydra_plugins.adnet_plugins.RayLauncher"
    assert launcher.remote.num_cpus == 1

    groups = ConfigStore.instance().repo["hydra"]
    ours = {
        f"{group}/{name}"
        for group in ("launcher", "sweeper")
        for name, node in groups[group].items()
        if node.provider == "adnet"
    }
    assert ours == {"launcher/adnet_ray.yaml", "sweeper/adnet.yaml", "sweeper/adnet_optuna.yaml"}
    known = {"hydra", "now", "python_version"}
    resolvers = {name for name in BaseContainer._resolvers if not name.startswith("oc.")} - known
    assert resolvers == {"adnet_sweep_name"}
