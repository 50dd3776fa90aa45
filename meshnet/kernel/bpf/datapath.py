"""The data path's Python side, for the cell agent, the policy agent and the load balancer."""

from __future__ import annotations

from meshnet.kernel.bpf.attach import attached, detach
from meshnet.kernel.bpf.cell_datapath import CellDatapath, CellParams, Container
from meshnet.kernel.bpf.compile import ensure_compiled
from meshnet.kernel.bpf.lb_datapath import LbDatapath
from meshnet.kernel.bpf.policy_rules import PolicyRule, PolicyRules
from meshnet.kernel.bpf.vip_services import VipServices

__all__ = [
    "CellDatapath",
    "CellParams",
    "Container",
    "LbDatapath",
    "PolicyRule",
    "PolicyRules",
    "VipServices",
    "attached",
    "detach",
    "ensure_compiled",
]
