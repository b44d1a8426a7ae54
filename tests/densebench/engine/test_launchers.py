"""What torchrun's and SLURM's variables say, and what they must not say."""

import pytest

from densebench.engine.distributed import device_index
from densebench.engine.launchers import Process, first_node, rendezvous, this_process
from densebench.errors import DensebenchError

SLURM = {"SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NTASKS": "8", "SLURM_NODELIST": "gpu[007-008]"}
TORCHRUN = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}


def test_alone_without_a_launcher() -> None:
    assert this_process("none", {"WORLD_SIZE": "abc"}) == Process(0, 0, 1)
    with pytest.raises(DensebenchError, match="add --launcher pytorch"):
        this_process("none", {**TORCHRUN, "TORCHELASTIC_RUN_ID": "x"})


def test_slurm_is_told_to_torch_as_torchrun_does() -> None:
    assert this_process("slurm", SLURM) == Process(5, 1, 8)
    found = rendezvous("slurm", {**SLURM, "SLURM_JOB_ID": "1234567"})
    assert found == {
        **{"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8"},
        **{"MASTER_ADDR": "gpu007", "MASTER_PORT": "24567"},
    }
    other = rendezvous("slurm", {**SLURM, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"})
    assert (other["MASTER_ADDR"], other["MASTER_PORT"]) == ("10.0.0.1", "29500")


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("login1", "login1"),
        ("a1,b2", "a1"),
        ("gpu[003-010,012],login1", "gpu003"),
        ("gpu[9,11]", "gpu9"),
        ("r[1-2]-ib,x", "r1-ib"),
    ],
)
def test_first_node(nodes: str, first: str) -> None:
    assert first_node(nodes) == first


@pytest.mark.parametrize(
    ("launcher", "changed", "expected"),
    [
        ("pytorch", {"WORLD_SIZE": "two"}, r"\$WORLD_SIZE=two: a whole number from 1"),
        ("pytorch", {"WORLD_SIZE": "0"}, "a whole number from 1"),
        ("pytorch", {"RANK": "-1"}, r"\$RANK=-1: a whole number from 0"),
        ("pytorch", {"RANK": "2"}, "at most 1 was expected"),
        ("pytorch", {"LOCAL_RANK": None}, r"\$LOCAL_RANK, which is not set; start with: torchrun"),
        ("pytorch", {}, r"\$MASTER_ADDR and \$MASTER_PORT"),
        ("pytorch", {"MASTER_ADDR": "localhost", "MASTER_PORT": "x"}, "a port from 1 to 65535"),
        ("slurm", {"SLURM_NTASKS": "4(x2)"}, r"\$SLURM_NTASKS=4\(x2\)"),
        ("slurm", {"SLURM_LOCALID": ""}, r"\$SLURM_LOCALID="),
        ("slurm", {"SLURM_NODELIST": None}, r"\$SLURM_NODELIST; start with: srun"),
    ],
)
def test_variables_that_make_no_sense(launcher: str, changed: dict[str, str | None], expected: str) -> None:
    variables = {**(SLURM if launcher == "slurm" else TORCHRUN), **changed}
    with pytest.raises(DensebenchError, match=expected):
        rendezvous(launcher, {name: value for name, value in variables.items() if value is not None})


def test_the_gpu_of_a_process() -> None:
    assert device_index(3, 4, "pytorch") == 3
    assert device_index(3, 1, "slurm") == 0  # --gpus-per-task 1
    with pytest.raises(DensebenchError, match="--images-per-gpu"):
        device_index(4, 4, "pytorch")
