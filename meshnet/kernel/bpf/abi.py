"""Generated from bpf/include/abi.h by gen_abi.py (make abi). Do not edit."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from typing import ClassVar

TAG_MASK = 0xFFFF
RESET_MARK = 0x01000000
PROXY_PORT_FIRST = 15000
PROXY_PORT_LAST = 15090
LB_SLOTS = 251


class Config(ctypes.Structure):
    """struct config, 32 bytes."""

    _fields_: ClassVar = [
        ("vip_net_be", ctypes.c_uint32),
        ("vip_mask_be", ctypes.c_uint32),
        ("overlay_net_be", ctypes.c_uint32),
        ("overlay_mask_be", ctypes.c_uint32),
        ("lease_host_mask_be", ctypes.c_uint32),
        ("gateway_be", ctypes.c_uint32),
        ("dns_be", ctypes.c_uint32),
        ("proxy_port_be", ctypes.c_uint16),
        ("pad", ctypes.c_uint16),
    ]


class Endpoint(ctypes.Structure):
    """struct endpoint, 8 bytes."""

    _fields_: ClassVar = [
        ("addr_be", ctypes.c_uint32),
        ("port_be", ctypes.c_uint16),
        ("pad", ctypes.c_uint16),
    ]


class Container(ctypes.Structure):
    """struct container, 12 bytes."""

    _fields_: ClassVar = [
        ("addr_be", ctypes.c_uint32),
        ("tag", ctypes.c_uint16),
        ("mac", ctypes.c_uint8 * 6),
    ]


class FlowKey(ctypes.Structure):
    """struct flow_key, 16 bytes."""

    _fields_: ClassVar = [
        ("src_be", ctypes.c_uint32),
        ("dst_be", ctypes.c_uint32),
        ("sport_be", ctypes.c_uint16),
        ("dport_be", ctypes.c_uint16),
        ("protocol", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
    ]


class FlowVal(ctypes.Structure):
    """struct flow_val, 8 bytes."""

    _fields_: ClassVar = [
        ("seen_ns", ctypes.c_uint64),
    ]


class ConnectionKey(ctypes.Structure):
    """struct connection_key, 24 bytes."""

    _fields_: ClassVar = [
        ("netns_cookie", ctypes.c_uint64),
        ("local_be", ctypes.c_uint32),
        ("remote_be", ctypes.c_uint32),
        ("local_port_be", ctypes.c_uint16),
        ("remote_port_be", ctypes.c_uint16),
        ("pad", ctypes.c_uint32),
    ]


class PolicyKey(ctypes.Structure):
    """struct policy_key, 12 bytes."""

    _fields_: ClassVar = [
        ("prefix_bits", ctypes.c_uint32),
        ("src_tag_be", ctypes.c_uint16),
        ("dst_tag_be", ctypes.c_uint16),
        ("protocol", ctypes.c_uint8),
        ("pad", ctypes.c_uint8),
        ("port_be", ctypes.c_uint16),
    ]


class LbRouter(ctypes.Structure):
    """struct lb_router, 8 bytes."""

    _fields_: ClassVar = [
        ("mac", ctypes.c_uint8 * 6),
        ("pad", ctypes.c_uint16),
    ]


class LbConfig(ctypes.Structure):
    """struct lb_config, 4 bytes."""

    _fields_: ClassVar = [
        ("public_be", ctypes.c_uint32),
    ]


class Counter(IntEnum):
    """enum counter."""

    VIP_TO_PROXY = 0
    VIP_REFUSED_PROTOCOL = 1
    VIP_REFUSED_NO_STATE = 2
    PROXY_PORT_REFUSED_CONNECT = 3
    PROXY_PORT_REFUSED_BIND = 4
    ORIGINAL_DST_ANSWERED = 5
    ORIGINAL_DST_UNKNOWN = 6
    FROM_PASSED_REPLY = 7
    FROM_PASSED_FLOW = 8
    FROM_PASSED_OVERLAY = 9
    FROM_PASSED_DNS = 10
    FROM_PASSED_RESET = 11
    FROM_DROPPED_UNKNOWN_VETH = 12
    FROM_DROPPED_NOT_IPV4 = 13
    FROM_DROPPED_MALFORMED = 14
    FROM_DROPPED_FRAGMENT = 15
    FROM_DROPPED_SPOOFED_MAC = 16
    FROM_DROPPED_SPOOFED_ADDRESS = 17
    FROM_DROPPED_PROTOCOL = 18
    FROM_DENIED_DESTINATION = 19
    FROM_DENIED_NO_FLOW = 20
    TO_PASSED_REPLY = 21
    TO_PASSED_CELL = 22
    TO_PASSED_ROUTER = 23
    TO_PASSED_POLICY = 24
    TO_PASSED_ICMP_ERROR = 25
    TO_PASSED_RESET = 26
    TO_DROPPED_UNKNOWN_VETH = 27
    TO_DROPPED_NOT_IPV4 = 28
    TO_DROPPED_MALFORMED = 29
    TO_DROPPED_FRAGMENT = 30
    TO_DROPPED_MISROUTED = 31
    TO_DROPPED_SPOOFED_GATEWAY = 32
    TO_DROPPED_PROTOCOL = 33
    TO_DENIED_PROXY_PORT = 34
    TO_DENIED_NO_TAG = 35
    TO_DENIED_POLICY = 36
    RESETS_MADE = 37
    RESETS_FAILED = 38
    LB_NEW_FLOW = 39
    LB_KNOWN_FLOW = 40
    LB_MOVED_FLOW = 41
    LB_NO_ROUTER = 42
    COUNTERS = 43
