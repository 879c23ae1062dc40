from __future__ import annotations

import errno
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig

from adnet.errors import UserError
from adnet.shared.command import command, quoted, resolved, run_dir
from adnet.shared.files import replacing


def accept(cfg: DictConfig) -> None:
    """Ends well where the command's own checks let it through."""
    resolved(cfg.pairs) if "pairs" in cfg else None


def mistake(run: Callable[..., Any], main: Callable[[], None], *arguments: str) -> str:
    """The one line of a command that ends with code 1 and writes nothing."""
    ended = run(main, *arguments)
    assert ended.code == 1
    assert ended.err.count("\n") == 1, ended.err
    assert ended.err.startswith("adnet: ")
    assert list(Path.cwd().rglob("*")) == []
    line: str = ended.err.removeprefix("adnet: ").rstrip("\n")
    return line


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("model=ful", "no model is called 'ful'; did you mean full?"),
        ("data=davis", "no data is called 'davis'; did you mean davis2016 or davis2017?"),
        ("scale=lit", "no scale is called 'lit'; did you mean lite?"),
        ("+experiment=ablation_anchr", "no experiment is called 'ablation_anchr'; did you mean ablation_anchor?"),
        ("seeed=1", "unknown key seeed; did you mean seed?"),
        ("+seeed=1", "unknown key seeed; did you mean seed?"),
        ("batch_size=3", "unknown key batch_size; did you mean pairs.batch_size?"),
        ("pairs.batchsize=3", "unknown key pairs.batchsize; did you mean pairs.batch_size?"),
        ("+pairs.batchsize=3", "unknown key pairs.batchsize; did you mean pairs.batch_size?"),
        ("++pairs.batchsize=3", "unknown key pairs.batchsize; did you mean pairs.batch_size?"),
        ("~pairs.batchsize", "unknown key pairs.batchsize; did you mean pairs.batch_size?"),
        ("+pairs.augmentation.flp=1", "unknown key pairs.augmentation.flp; did you mean pairs.augmentation.flip?"),
        ("+model.encoder.aspp_rats=[1]", "unknown key model.encoder.aspp_rats; did you mean model.encoder.aspp_rates?"),
        ("optim.optimizer.lrr=1", "unknown key optim.optimizer.lrr; did you mean optim.optimizer.lr?"),
        ("+optim.optimizer.lrr=1", "unknown key optim.optimizer.lrr; did you mean optim.optimizer.lr?"),
        ("+trainer.precison=16", "unknown key trainer.precison; did you mean trainer.precision?"),
        ("+optim.new_layer_lr=1", "unknown key optim.new_layer_lr; did you mean optim.new_layers_lr?"),
        ("+callbacks.checkpoint=1", "unknown key callbacks.checkpoint; did you mean callbacks.checkpoints?"),
        ("trainer.precison=16", "unknown key trainer.precison; did you mean trainer.precision?"),
        ("hydra.run.dirr=x", "unknown key hydra.run.dirr; did you mean hydra.run.dir?"),
        ("+seed=1", "Could not append to config. An item is already at 'seed'."),
        ("seed=1,2", "seed=1,2: as a list: 'seed=[1,2]'; as text: 'seed=\"1,2\"'; as a job for each: add -m"),
        ("pairs.batch_size=[1", "pairs.batch_size=[1: the list has no end"),
        ("full", "'full' is not KEY=VALUE: "),
        ("model:full", "'model:full' is not KEY=VALUE: "),
        ("model =full", "'model =full' is not KEY=VALUE: "),
        ("“model=full”", "'“model=full”' is not KEY=VALUE: "),
        ("\\", "'\\\\' is not KEY=VALUE: "),
        ("", "'' is not KEY=VALUE: "),
        ("--seed", "unrecognized arguments: --seed; keys have no dashes, but an equals sign: KEY=VALUE"),
        ("--seed=1", "unrecognized arguments: --seed=1; keys have no dashes, but an equals sign: KEY=VALUE"),
        ("-version", "unrecognized arguments: -version; keys have no dashes"),
        ("-i=1", "argument --info/-i: invalid choice: "),
        ("model=FULL", "no model is called 'FULL'; did you mean full?"),
        ("root=x", "unknown key root; did you mean data.root?"),
        ("experiment=ablation_full", "experiment is given with a plus: +experiment=NAME"),
        ("steps=???", "steps has no value: give steps=..."),
        (
            "data=[davis2016,duts]",
            "data=[davis2016,duts]: choose one data; more datasets to train on: mix=[NAME,...]",
        ),
        ("model=[full,intra]", "model=[full,intra]: choose one model"),
        (
            "+callbacks.rate._target_=lightning.pytorch.callbacks.Rate",
            "callbacks.rate._target_: there is no lightning.pytorch.callbacks.Rate",
        ),
    ],
)
def test_mistakes_in_arguments_are_one_line(run: Callable[..., Any], argument: str, line: str) -> None:
    assert mistake(run, command("train")(lambda cfg: cfg.trainer.max_steps and None), argument).startswith(line)


@pytest.mark.parametrize(
    "value",
    [
        "a=b.mp4",
        "[x] y.mp4",
        "it's.mp4",
        "é.mp4",
        "a{1}.mp4",
        "a(1).mp4",
        "#1.mp4",
        'q".mp4',
        '\\"\\\\" .mp4\\',
        "x=\\",
    ],
)
def test_text_that_the_grammar_refuses_is_shown_in_quotes(run: Callable[..., Any], value: str) -> None:
    line = mistake(run, command("predict")(accept), f"input={value}")
    assert line.startswith(f"input={value}: put text ")
    seen: list[str] = []
    (argument,) = shlex.split(line.partition("quotes of its own: ")[2])
    run(command("predict")(lambda cfg: seen.append(cfg.input)), argument)
    assert seen == [value]


@pytest.mark.parametrize(
    ("typed", "seen"),
    [
        ('input="~/a.mp4"', "/home/me/a.mp4"),
        ('input=["~/a.mp4","b~/c.mp4"]', ["/home/me/a.mp4", "b~/c.mp4"]),
        ('input="~"', "/home/me"),
        ('input="a~/b.mp4"', "a~/b.mp4"),
    ],
)
def test_the_home_folder(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, typed: str, seen: Any) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    found: list[Any] = []
    ended = run(command("predict")(lambda cfg: found.append(cfg.input)), typed)
    assert (found, ended.err) == ([seen], "")


@pytest.mark.parametrize(
    ("argument", "known"),
    [("data=davis2016", "unknown key data; known are: anchor, backend, "), ("seed=1", "unknown key seed; known are: ")],
)
def test_keys_of_another_command(run: Callable[..., Any], argument: str, known: str) -> None:
    line = mistake(run, command("predict")(accept), argument)
    assert line.startswith(known)
    assert "experiment" not in line


def test_so_is_each_of_a_list(run: Callable[..., Any]) -> None:
    line = mistake(run, command("predict")(accept), "input=[a.mp4, é=1.mp4]")
    assert line.endswith(""": 'input=["a.mp4","é=1.mp4"]'""")


def test_options_between_keys_are_named_as_such(run: Callable[..., Any]) -> None:
    line = mistake(run, command("train")(accept), "model=full", "-m", "seed=1,2")
    assert (
        line
        == "unrecognized arguments: seed=1,2; write -m and other options before or after all of KEY=VALUE, not between"
    )


def test_the_config_of_a_sweep_is_that_of_a_job(run: Callable[..., Any]) -> None:
    line = mistake(run, command("train")(accept), "-m", "seed=0,1", "--cfg", "job")
    assert line == "--cfg job shows the config of one job: leave -m out, and give one value of each key"


def test_where_nothing_is_near_the_names_are_listed(run: Callable[..., Any]) -> None:
    line = mistake(run, command("train")(accept), "pairs.xyzzy=1")
    assert line == (
        "unknown key pairs.xyzzy; known are: anchor, augmentation, batch_size, epoch_steps, flow_augmentation, "
        "holdout, paste, pin_memory, seed, val_frames, workers"
    )
    assert "callbacks, checkpoint_steps, data, " in mistake(run, command("train")(accept), "+zzz=1")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["optim=adamw", "logger=wandb", "trainer.strategy=ddp", "+trainer.fast_dev_run=true"],
        [
            "+callbacks.rate._target_=lightning.pytorch.callbacks.LearningRateMonitor",
            "+callbacks.rate.logging_interval=step",
        ],
        ["+logger.wandb={_target_: adnet.training.loggers.RunWandb, save_dir: x, notes: y}"],
        ["~logger", "~callbacks.progress"],
        ["mix=[duts,youtube_vos]", "logger=[csv,tensorboard]"],
    ],
)
def test_known_keys_pass(run: Callable[..., Any], arguments: list[str]) -> None:
    seen: list[DictConfig] = []
    ended = run(command("train")(seen.append), *arguments)
    assert (ended.code, ended.err) == (0, "")
    assert len(seen) == 1


def test_missing_value(run: Callable[..., Any]) -> None:
    line = mistake(run, command("predict")(lambda cfg: print(cfg.input)))
    assert line == "input has no value: give input=..."


def test_a_user_s_mistake_is_one_line_and_leaves_no_folder(run: Callable[..., Any]) -> None:
    def main(_: DictConfig) -> None:
        assert run_dir().is_dir()
        raise UserError("this is\n wrong")

    assert mistake(run, command("train")(main)) == "this is wrong"
    assert mistake(run, command("train")(main), "hydra.run.dir=a/b/c") == "this is wrong"


def test_what_a_run_wrote_is_kept(run: Callable[..., Any]) -> None:
    def main(_: DictConfig) -> None:
        (run_dir() / "metrics.csv").write_text("step\n")
        raise UserError("wrong")

    assert run(command("train")(main), "hydra.run.dir=a/b").code == 1
    assert [str(path) for path in Path.cwd().rglob("*.*")] == [str(Path.cwd() / "a/b/metrics.csv")]


def test_a_folder_outside_the_working_directory_goes_alone(run: Callable[..., Any], tmp_path: Path) -> None:
    def main(_: DictConfig) -> None:
        raise UserError("wrong")

    (tmp_path / "runs").mkdir()
    mistake(run, command("train")(main), f"hydra.run.dir={tmp_path}/runs/1")
    assert list((tmp_path / "runs").iterdir()) == []
    assert mistake(run, command("evaluate")(main)) == "wrong"
    assert Path.cwd().is_dir()


def test_our_own_mistakes_keep_their_traceback(run: Callable[..., Any]) -> None:
    def main(_: DictConfig) -> None:
        raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError, match="ours"):
        run(command("train")(main))


def test_stopped_by_the_user(run: Callable[..., Any]) -> None:
    def main(_: DictConfig) -> None:
        raise KeyboardInterrupt

    ended = run(command("train")(main))
    assert (ended.code, ended.err) == (128 + signal.SIGINT, "adnet: stopped by the user\n")


def test_sigterm_ends_a_command_as_ctrl_c_does(run: Callable[..., Any], tmp_path: Path) -> None:
    def main(_: DictConfig) -> None:
        with replacing(tmp_path / "masks" / "00000.png"):
            signal.raise_signal(signal.SIGTERM)

    ended = run(command("predict")(main), "input=clip")
    assert (ended.code, ended.err) == (128 + signal.SIGTERM, "adnet: stopped by SIGTERM\n")
    assert not list((tmp_path / "masks").iterdir())
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_training_handles_sigterm_itself(run: Callable[..., Any]) -> None:
    seen: list[Any] = []
    run(command("train")(lambda _: seen.append(signal.getsignal(signal.SIGTERM))))
    assert seen == [signal.SIG_DFL]


def test_mistakes_in_building_objects_are_unwrapped(run: Callable[..., Any]) -> None:
    """Hydra puts a `Error in call to target` around them."""
    from adnet import train

    line = mistake(run, train.main, "data.root=nowhere")
    assert line.startswith("no dataset at nowhere: set data.root, or ADNET_DATA")


def test_davis_is_looked_for_where_adnet_data_says(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from adnet import train

    monkeypatch.delenv("ADNET_DATA", raising=False)
    assert mistake(run, train.main).startswith("no dataset at data/DAVIS: ")
    monkeypatch.setenv("ADNET_DATA", "/elsewhere")
    assert mistake(run, train.main).startswith("no dataset at /elsewhere/DAVIS: ")


def test_unknown_variant(run: Callable[..., Any], tiny_davis: Path) -> None:
    from adnet import train

    arguments = (
        "scale=smoke",
        f"data.root={tiny_davis}",
        "model.encoder.pretrained=false",
        "model.variant=anchor_difusion",
    )
    assert mistake(run, train.main, *arguments).startswith(
        "unknown variant 'anchor_difusion'; did you mean anchor_diffusion?"
    )


@pytest.mark.slow
def test_mistake_in_a_loader_worker_is_one_line(run: Callable[..., Any], tiny_davis: Path) -> None:
    from adnet import train

    for file in (tiny_davis / "JPEGImages" / "480p").glob("train-*/*.jpg"):
        file.write_bytes(file.read_bytes()[:-200])  # its header is whole
    ended = run(
        train.main,
        "scale=smoke",
        f"data.root={tiny_davis}",
        "model.encoder.pretrained=false",
        "trainer.accelerator=cpu",
    )
    assert ended.code == 1
    assert "Traceback" not in ended.out + ended.err
    *_, line = ended.err.strip().splitlines()
    assert line.startswith(f"adnet: cannot read the image {tiny_davis}/JPEGImages/480p/train-00")
    assert line.endswith("replace the file")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["adnet.predict"], "adnet: input has no value: give input=...\n"),
        (
            ["adnet.train", "+experiment=ablation_anchr"],
            "adnet: no experiment is called 'ablation_anchr'; did you mean ablation_anchor?\n",
        ),
    ],
)
def test_as_a_process(tmp_path: Path, arguments: list[str], line: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HYDRA")}
    ended = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", line)
    assert list(tmp_path.iterdir()) == []


def test_the_config_and_the_help_are_printed(run: Callable[..., Any]) -> None:
    main = command("train")(lambda _: pytest.fail("the command ran"))
    ended = run(main, "model=anchor", "seed=7", "--cfg", "job")
    assert (ended.code, ended.err) == (0, "")
    cfg = yaml.safe_load(ended.out)
    assert (cfg["seed"], cfg["model"]["variant"], cfg["pairs"]["epoch_steps"]) == (7, "anchor", "${epoch_steps}")
    ended = run(main, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert "model: adnet, anchor, anchor_diffusion, baseline" in ended.out


@pytest.mark.parametrize("arguments", [["--cfg", "job"], []])
def test_a_closed_pipe_is_no_error(tmp_path: Path, arguments: list[str]) -> None:
    code = "from adnet.shared.command import command; command('dashboard')(lambda _: print('line\\n' * 100_000))()"
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # before there is anything to read
        assert process.stderr.read() == b""
    assert process.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    ("number", "line"), [(errno.ENOSPC, "No space left on device"), (errno.EROFS, "Read-only file system")]
)
def test_no_place_to_write_is_one_line(run: Callable[..., Any], number: int, line: str) -> None:
    def main(_: DictConfig) -> None:
        raise OSError(number, os.strerror(number), "run/metrics.csv")

    assert run(command("evaluate")(main)).err == f"adnet: cannot read or write run/metrics.csv: {line}\n"


def test_a_run_folder_that_cannot_be_made_is_one_line(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = run(command("train")(accept), f"hydra.run.dir={tmp_path}/file/run")
    assert ended.code == 1
    assert ended.err == f"adnet: cannot read or write {tmp_path}/file/run: Not a directory\n"


def test_what_the_locale_cannot_show_is_printed_nevertheless(tmp_path: Path) -> None:
    script = tmp_path / "say.py"
    lines = (
        "from adnet.shared.command import command",
        "@command('dashboard')",
        "def main(cfg):",
        "    print('v\\xe9lo')",
        "main()",
    )
    script.write_text("\n".join(lines), encoding="utf-8")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    ended = subprocess.run([sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout.strip()) == (0, b"v\\xe9lo"), ended.stderr


TEXT = st.text(st.characters(exclude_characters="$\n", exclude_categories=["Cs", "Cc"]), min_size=1)


@given(TEXT, st.sampled_from("'\""))
def test_a_quoted_value_is_read_back(value: str, quote: str) -> None:
    assert OverridesParser.create().parse_override(f"a={quoted(value, quote)}").value() == value
