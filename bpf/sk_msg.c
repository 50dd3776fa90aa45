/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What either end of a spliced connection writes: straight into the other end's receive queue, past
 * TCP and the loopback device. An end whose other end is not spliced (yet) is left to TCP.
 */
#include <uapi/linux/bpf.h>
#include "maps_splice.h"

int sk_msg(struct sk_msg_md *msg)
{
	struct connection_key peer = {
		.netns_cookie = bpf_get_netns_cookie(msg),
		.local_be = msg->remote_ip4,
		.remote_be = msg->local_ip4,
		.local_port_be = bpf_htons(bpf_ntohl(msg->remote_port)),
		.remote_port_be = bpf_htons(msg->local_port),
	};

	/* Without that end the helper changes nothing, and SK_PASS means TCP. */
	if (spliced.msg_redirect_hash(msg, &peer, BPF_F_INGRESS) == SK_PASS)
		count(SPLICED_TO_PEER);
	return SK_PASS;
}
