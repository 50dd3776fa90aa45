/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* connect() of an app's IPv6 sockets: as cgroup_connect4 for v4-mapped destinations. */
#include <uapi/linux/bpf.h>
#include <uapi/linux/in.h>
#include "maps_vip.h"

int cgroup_connect6(struct bpf_sock_addr *ctx)
{
	u32 word0 = ctx->user_ip6[0], word1 = ctx->user_ip6[1];
	u32 word2 = ctx->user_ip6[2], word3 = ctx->user_ip6[3];
	struct endpoint to = {.addr_be = word3, .port_be = ctx->user_port};

	if (!is_mapped(word0, word1, word2)) {
		if (!is_loopback6(word0, word1, word2, word3) || !is_proxy_port(ctx->user_port))
			return ALLOW;
		count(PROXY_PORT_REFUSED_CONNECT);
		return REFUSE;
	}
	if (decide_connect(bpf_get_socket_cookie(ctx), bpf_get_netns_cookie(ctx), ctx->protocol,
			   &to) == REFUSE)
		return REFUSE;
	ctx->user_ip6[3] = to.addr_be;
	ctx->user_port = to.port_be;
	return ALLOW;
}
