/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* bind() of an app's IPv6 sockets: the sidecar's ports are not the app's, whatever the address. */
#include <uapi/linux/bpf.h>
#include <uapi/linux/in.h>
#include "maps_vip.h"

int cgroup_bind6(struct bpf_sock_addr *ctx)
{
	return decide_bind(ctx->user_port);
}
