/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Turn a TCP segment into the reset that answers it (RFC 9293, section 3.10.7.1), in place.
 *
 * A dropped segment costs its sender a connect timeout or a whole request timeout; a reset is
 * final at once. Never called for a reset: two that answer each other would not end.
 */
#ifndef MESHNET_RESET_H
#define MESHNET_RESET_H

#include "parse.h"

#define RESET_BYTES (ETH_BYTES + IP_BYTES + TCP_BYTES)
/* Up to, not including, the end of the checksum field of the TCP header. */
#define BELOW_CHECKSUM (ETH_BYTES + IP_BYTES + 17)

struct pseudo_header {
	u32 src_be;
	u32 dst_be;
	u8 zero;
	u8 protocol;
	u16 length_be;
};

static __always_inline u16 fold(s64 sum)
{
	u32 folded = (u32)sum;

	folded = (folded & 0xffff) + (folded >> 16);
	folded = (folded & 0xffff) + (folded >> 16);
	return folded;
}

/*
 * Cut the packet to the three headers. Returns 1 where the device is to finish the TCP checksum
 * (CHECKSUM_PARTIAL, all local senders), 0 where the packet carries a whole one, -1 on failure.
 *
 * No helper tells the two apart, but the kernel lets no program cut into a checksum that is yet to
 * be finished: so try that first. On success the cut part is grown back as zeros.
 */
static __always_inline int cut_to_headers(struct __sk_buff *skb)
{
	int partial = bpf_skb_change_tail(skb, BELOW_CHECKSUM, 0) != 0;

	return bpf_skb_change_tail(skb, RESET_BYTES, 0) ? -1 : partial;
}

static __always_inline void write_ip(struct __sk_buff *skb, const struct packet *packet)
{
	struct ip_header ip = {
		.version_ihl = 0x45,
		.length_be = bpf_htons(IP_BYTES + TCP_BYTES),
		.fragment_be = bpf_htons(0x4000),
		.ttl = 64,
		.protocol = IPPROTO_TCP,
		.src_be = packet->flow.dst_be,
		.dst_be = packet->flow.src_be,
	};

	ip.check = ~fold(bpf_csum_diff(NULL, 0, (void *)&ip, sizeof(ip), 0));
	bpf_skb_store_bytes(skb, ETH_BYTES, &ip, sizeof(ip), 0);
}

static __always_inline void write_tcp(struct __sk_buff *skb, const struct packet *packet,
				      int partial)
{
	struct pseudo_header pseudo = {
		.src_be = packet->flow.src_be,
		.dst_be = packet->flow.dst_be,
		.protocol = IPPROTO_TCP,
		.length_be = bpf_htons(TCP_BYTES),
	};
	struct tcp_header tcp = {
		.sport_be = packet->flow.dport_be,
		.dport_be = packet->flow.sport_be,
		.words = (TCP_BYTES / 4) << 4,
		.flags = RST,
	};
	u32 length = packet->payload;
	s64 sum;

	if (packet->tcp_flags & ACK) {
		tcp.seq_be = packet->ack_be;
	} else {
		length += !!(packet->tcp_flags & SYN) + !!(packet->tcp_flags & FIN);
		tcp.ack_be = bpf_htonl(bpf_ntohl(packet->seq_be) + length);
		tcp.flags |= ACK;
	}
	sum = bpf_csum_diff(NULL, 0, (void *)&pseudo, sizeof(pseudo), 0);
	if (partial)
		tcp.check = fold(sum);
	else
		tcp.check = ~fold(bpf_csum_diff(NULL, 0, (void *)&tcp, sizeof(tcp), sum));
	bpf_skb_store_bytes(skb, ETH_BYTES + IP_BYTES, &tcp, sizeof(tcp), 0);
}

/* 0, or -1 with the packet spoilt: drop it. */
static __always_inline int make_reset(struct __sk_buff *skb, const struct packet *packet)
{
	u8 macs[12], swapped[12];
	int partial;

	if (bpf_skb_load_bytes(skb, 0, macs, sizeof(macs)))
		return -1;
	partial = cut_to_headers(skb);
	if (partial < 0)
		return -1;
	__builtin_memcpy(swapped, macs + 6, 6);
	__builtin_memcpy(swapped + 6, macs, 6);
	bpf_skb_store_bytes(skb, 0, swapped, sizeof(swapped), 0);
	write_ip(skb, packet);
	write_tcp(skb, packet, partial);
	bpf_set_hash_invalid(skb);
	skb->mark = RESET_MARK;
	return 0;
}

#endif
