"""What is known of the machine, the code and this process. The only part that looks at them."""

from ranbench.environment.code import NUMBER_SOURCES, code_id, code_of, commit_and_patch
from ranbench.environment.disks import can_write, existing, file_system, free_bytes, usable_cores
from ranbench.environment.gpu import driver_version, energy_joules
from ranbench.environment.machine import PACKAGES, choose_device, command_line, describe
from ranbench.environment.owner import SILENT_SECONDS, is_alive, new_owner
from ranbench.environment.usage import give_back_memory, peak_device_memory_bytes, peak_memory_bytes, reset_peak_memory

__all__ = [
    "NUMBER_SOURCES",
    "PACKAGES",
    "SILENT_SECONDS",
    "can_write",
    "choose_device",
    "code_id",
    "code_of",
    "command_line",
    "commit_and_patch",
    "describe",
    "driver_version",
    "energy_joules",
    "existing",
    "file_system",
    "free_bytes",
    "give_back_memory",
    "is_alive",
    "new_owner",
    "peak_device_memory_bytes",
    "peak_memory_bytes",
    "reset_peak_memory",
    "usable_cores",
]
