/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* getpeername() of an app's IPv4 sockets: the VIP it connected to, not what carries it. */
#include <uapi/linux/bpf.h>
#include <uapi/linux/in.h>
#include "maps_vip.h"

int cgroup_getpeername4(struct bpf_sock_addr *ctx)
{
	u64 cookie = bpf_get_socket_cookie(ctx);
	struct meant *meant = sock_dsts.lookup(&cookie);

	if (meant) {
		ctx->user_ip4 = meant->addr_be;
		ctx->user_port = meant->port_be;
	}
	return ALLOW;
}
