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


class Redirect(ctypes.Structure):
    """struct redirect, 8 bytes."""

    _fields_: ClassVar = [
        ("addr_be", ctypes.c_uint32),
        ("mode", ctypes.c_uint8),
        ("sockmap", ctypes.c_uint8),
        ("pad", ctypes.c_uint16),
    ]


class Endpoint(ctypes.Structure):
    """struct endpoint, 8 bytes."""

    _fields_: ClassVar = [
        ("addr_be", ctypes.c_uint32),
        ("port_be", ctypes.c_uint16),
        ("pad", ctypes.c_uint16),
    ]


class Meant(ctypes.Structure):
    """struct meant, 8 bytes."""

    _fields_: ClassVar = [
        ("addr_be", ctypes.c_uint32),
        ("port_be", ctypes.c_uint16),
        ("mode", ctypes.c_uint8),
        ("sockmap", ctypes.c_uint8),
    ]


class VipKey(ctypes.Structure):
    """struct vip_key, 8 bytes."""

    _fields_: ClassVar = [
        ("addr_be", ctypes.c_uint32),
        ("port_be", ctypes.c_uint16),
        ("protocol", ctypes.c_uint8),
        ("pad", ctypes.c_uint8),
    ]


class VipVal(ctypes.Structure):
    """struct vip_val, 8 bytes."""

    _fields_: ClassVar = [
        ("table", ctypes.c_uint32),
        ("slots", ctypes.c_uint32),
    ]


class SlotKey(ctypes.Structure):
    """struct slot_key, 8 bytes."""

    _fields_: ClassVar = [
        ("table", ctypes.c_uint32),
        ("slot", ctypes.c_uint32),
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


class FlowEvent(ctypes.Structure):
    """struct flow_event, 72 bytes."""

    _fields_: ClassVar = [
        ("time_ns", ctypes.c_uint64),
        ("netns_cookie", ctypes.c_uint64),
        ("sent_bytes", ctypes.c_uint64),
        ("received_bytes", ctypes.c_uint64),
        ("duration_ns", ctypes.c_uint64),
        ("container_be", ctypes.c_uint32),
        ("src_be", ctypes.c_uint32),
        ("dst_be", ctypes.c_uint32),
        ("meant_be", ctypes.c_uint32),
        ("sport_be", ctypes.c_uint16),
        ("dport_be", ctypes.c_uint16),
        ("meant_port_be", ctypes.c_uint16),
        ("src_tag", ctypes.c_uint16),
        ("dst_tag", ctypes.c_uint16),
        ("kind", ctypes.c_uint8),
        ("protocol", ctypes.c_uint8),
        ("reason", ctypes.c_uint8),
        ("mode", ctypes.c_uint8),
        ("proxy", ctypes.c_uint8),
        ("spliced", ctypes.c_uint8),
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


class Mode(IntEnum):
    """enum mode."""

    MODE_EBPF = 0
    MODE_IPTABLES = 1
    MODE_KERNEL = 2
    MODE_OFF = 3


class EventKind(IntEnum):
    """enum event_kind."""

    EVENT_CONNECT = 0
    EVENT_REFUSED = 1
    EVENT_VERDICT = 2
    EVENT_CLOSE = 3


class Counter(IntEnum):
    """enum counter."""

    VIP_TO_PROXY = 0
    VIP_TO_NETFILTER = 1
    VIP_TO_INSTANCE = 2
    VIP_REFUSED_PROTOCOL = 3
    VIP_REFUSED_NO_STATE = 4
    VIP_REFUSED_NO_INSTANCE = 5
    VIP_REFUSED_MODE_OFF = 6
    PROXY_PORT_REFUSED_CONNECT = 7
    PROXY_PORT_REFUSED_BIND = 8
    ORIGINAL_DST_ANSWERED = 9
    ORIGINAL_DST_UNKNOWN = 10
    SPLICED_TO_PEER = 11
    FROM_PASSED_REPLY = 12
    FROM_PASSED_FLOW = 13
    FROM_PASSED_OVERLAY = 14
    FROM_PASSED_DNS = 15
    FROM_PASSED_RESET = 16
    FROM_DROPPED_UNKNOWN_VETH = 17
    FROM_DROPPED_NOT_IPV4 = 18
    FROM_DROPPED_MALFORMED = 19
    FROM_DROPPED_FRAGMENT = 20
    FROM_DROPPED_SPOOFED_MAC = 21
    FROM_DROPPED_SPOOFED_ADDRESS = 22
    FROM_DROPPED_PROTOCOL = 23
    FROM_DENIED_DESTINATION = 24
    FROM_DENIED_NO_FLOW = 25
    TO_PASSED_REPLY = 26
    TO_PASSED_CELL = 27
    TO_PASSED_ROUTER = 28
    TO_PASSED_POLICY = 29
    TO_PASSED_ICMP_ERROR = 30
    TO_PASSED_RESET = 31
    TO_DROPPED_UNKNOWN_VETH = 32
    TO_DROPPED_NOT_IPV4 = 33
    TO_DROPPED_MALFORMED = 34
    TO_DROPPED_FRAGMENT = 35
    TO_DROPPED_MISROUTED = 36
    TO_DROPPED_SPOOFED_GATEWAY = 37
    TO_DROPPED_PROTOCOL = 38
    TO_DENIED_PROXY_PORT = 39
    TO_DENIED_NO_TAG = 40
    TO_DENIED_POLICY = 41
    RESETS_MADE = 42
    RESETS_FAILED = 43
    LB_NEW_FLOW = 44
    LB_KNOWN_FLOW = 45
    LB_MOVED_FLOW = 46
    LB_NO_ROUTER = 47
    EVENTS_TOLD = 48
    EVENTS_LOST = 49
    COUNTERS = 50
