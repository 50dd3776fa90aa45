/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Ethernet + IPv4 + TCP/UDP/ICMP headers into one flat struct.
 *
 * parse() is bounds-checked, reads through the helper (a header may lie in a page fragment), and
 * returns PARSE_OK or why not. IPv4 options are refused: nothing sends them but those who probe
 * filters. Fields end in _be or are in host order.
 */
#ifndef MESHNET_PARSE_H
#define MESHNET_PARSE_H

#include "abi.h"

#define ETH_BYTES 14
#define IP_BYTES 20
#define TCP_BYTES 20
#define ETH_SOURCE 6
#define IPV4_BE bpf_htons(0x0800)
#define ICMP_UNREACHABLE 3
#define ICMP_TIME_EXCEEDED 11

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10

enum parsed { PARSE_OK, PARSE_NOT_IPV4, PARSE_MALFORMED, PARSE_FRAGMENT, PARSE_PROTOCOL };

struct ip_header {
	u8 version_ihl;
	u8 tos;
	u16 length_be;
	u16 id_be;
	u16 fragment_be;
	u8 ttl;
	u8 protocol;
	u16 check;
	u32 src_be;
	u32 dst_be;
};

struct tcp_header {
	u16 sport_be;
	u16 dport_be;
	u32 seq_be;
	u32 ack_be;
	u8 words; /* upper half: header length */
	u8 flags;
	u16 window_be;
	u16 check;
	u16 urgent_be;
};

struct packet {
	struct flow_key flow;
	u32 seq_be;
	u32 ack_be;
	u32 payload; /* bytes after the TCP header */
	u8 tcp_flags;
	u8 icmp_type;
};

static __always_inline int parse_tcp(struct __sk_buff *skb, struct packet *packet, u32 ip_payload)
{
	struct tcp_header tcp;
	u32 header;

	if (bpf_skb_load_bytes(skb, ETH_BYTES + IP_BYTES, &tcp, sizeof(tcp)))
		return PARSE_MALFORMED;
	header = (tcp.words >> 4) * 4;
	if (header < TCP_BYTES || header > ip_payload)
		return PARSE_MALFORMED;
	packet->flow.sport_be = tcp.sport_be;
	packet->flow.dport_be = tcp.dport_be;
	packet->seq_be = tcp.seq_be;
	packet->ack_be = tcp.ack_be;
	packet->tcp_flags = tcp.flags;
	packet->payload = ip_payload - header;
	return PARSE_OK;
}

static __always_inline int parse(struct __sk_buff *skb, struct packet *packet)
{
	struct ip_header ip;
	u16 ports[2];
	u32 length;

	if (skb->protocol != IPV4_BE || skb->vlan_present)
		return PARSE_NOT_IPV4;
	if (bpf_skb_load_bytes(skb, ETH_BYTES, &ip, sizeof(ip)) || ip.version_ihl != 0x45)
		return PARSE_MALFORMED;
	/* More-fragments or an offset. A first one is useless without the others, and they have no
	 * ports to decide by. */
	if (ip.fragment_be & bpf_htons(0x3fff))
		return PARSE_FRAGMENT;
	length = bpf_ntohs(ip.length_be);
	if (length < IP_BYTES || length > skb->len - ETH_BYTES)
		return PARSE_MALFORMED;
	length -= IP_BYTES;
	packet->flow.src_be = ip.src_be;
	packet->flow.dst_be = ip.dst_be;
	packet->flow.protocol = ip.protocol;
	if (ip.protocol == IPPROTO_TCP)
		return parse_tcp(skb, packet, length);
	if (ip.protocol == IPPROTO_UDP) {
		if (length < 8 || bpf_skb_load_bytes(skb, ETH_BYTES + IP_BYTES, ports, 4))
			return PARSE_MALFORMED;
		packet->flow.sport_be = ports[0];
		packet->flow.dport_be = ports[1];
		return PARSE_OK;
	}
	if (ip.protocol == IPPROTO_ICMP) {
		if (bpf_skb_load_bytes(skb, ETH_BYTES + IP_BYTES, &packet->icmp_type, 1))
			return PARSE_MALFORMED;
		return PARSE_OK;
	}
	return PARSE_PROTOCOL;
}

static __always_inline int is_tcp(const struct packet *packet)
{
	return packet->flow.protocol == IPPROTO_TCP;
}

/* A segment that asks for a connection. */
static __always_inline int is_opening(const struct packet *packet)
{
	return is_tcp(packet) && (packet->tcp_flags & (SYN | ACK | RST)) == SYN;
}

static __always_inline int is_reset(const struct packet *packet)
{
	return is_tcp(packet) && (packet->tcp_flags & RST);
}

static __always_inline struct flow_key reversed(const struct flow_key *flow)
{
	struct flow_key other = {
		.src_be = flow->dst_be,
		.dst_be = flow->src_be,
		.sport_be = flow->dport_be,
		.dport_be = flow->sport_be,
		.protocol = flow->protocol,
	};
	return other;
}

#endif
