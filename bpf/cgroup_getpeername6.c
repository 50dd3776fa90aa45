/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* getpeername() of an app's IPv6 sockets: the v4-mapped VIP it connected to, not its bearer. */
#include <uapi/linux/bpf.h>
#include <uapi/linux/in.h>
#include "maps_vip.h"

int cgroup_getpeername6(struct bpf_sock_addr *ctx)
{
	u64 cookie = bpf_get_socket_cookie(ctx);
	struct meant *meant;

	if (!is_mapped(ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2]))
		return ALLOW;
	meant = sock_dsts.lookup(&cookie);
	if (meant) {
		ctx->user_ip6[3] = meant->addr_be;
		ctx->user_port = meant->port_be;
	}
	return ALLOW;
}
