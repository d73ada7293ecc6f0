"""Runs a script with its model sharded over processes on CPU: `torchrun ... shard_on_cpu.py SCRIPT [ARGUMENT ...]`.

accelerate 1.15 shards for processes on devices only: those on CPU keep whole models (DDP), `ACCELERATE_USE_FSDP` or
not. Its sharding itself works on CPU.
"""

import runpy
import sys
from pathlib import Path
from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

set_up = AcceleratorState.__init__


def set_up_sharded(state: Any, *args: Any, **options: Any) -> None:
    set_up(state, *args, **options)
    if state.distributed_type is DistributedType.MULTI_CPU:
        state.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
        state.fsdp_plugin = options["fsdp_plugin"]
        if state._mixed_precision != "no":
            state.fsdp_plugin.set_mixed_precision(state._mixed_precision)


if __name__ == "__main__":
    AcceleratorState.__init__ = set_up_sharded
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
