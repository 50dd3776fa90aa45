/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The life of a TCP socket that connects, for flow events: of an app's and of a sidecar's. */
#ifndef MESHNET_SOCK_EVENTS_H
#define MESHNET_SOCK_EVENTS_H

#include "maps_vip.h"

/* sock_starts: socket cookie -> when it connected. Only of sockets that somebody watches. */
LRU_MAP(sock_starts, u64, u64, 65536);

static __always_inline void describe(struct bpf_sock_ops *ctx, u64 cookie, u64 netns_cookie,
				     struct flow_event *event)
{
	struct redirect *redirect = redirects.lookup(&netns_cookie);
	struct meant *meant = sock_dsts.lookup(&cookie);

	event->netns_cookie = netns_cookie;
	event->src_be = ctx->local_ip4;
	event->dst_be = ctx->remote_ip4;
	event->sport_be = bpf_htons(ctx->local_port);
	event->dport_be = bpf_htons(bpf_ntohl(ctx->remote_port));
	event->protocol = IPPROTO_TCP;
	event->reason = COUNTERS;
	if (redirect) {
		event->container_be = redirect->addr_be;
		event->mode = redirect->mode;
	}
	if (meant) {
		event->meant_be = meant->addr_be;
		event->meant_port_be = meant->port_be;
		event->mode = meant->mode;
		event->spliced = meant->mode == MODE_EBPF && meant->sockmap;
	}
}

/* Tell of a connect, and of its end when that comes. `proxy`: the socket is a sidecar's. */
static __always_inline void tell_life(struct bpf_sock_ops *ctx, int proxy)
{
	struct flow_event event = {.proxy = proxy};
	u64 now, *start, cookie;

	if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB) {
		now = watched();
		if (!now)
			return;
		cookie = bpf_get_socket_cookie(ctx);
		sock_starts.update(&cookie, &now);
		bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
		event.kind = EVENT_CONNECT;
	} else if (ctx->op == BPF_SOCK_OPS_STATE_CB) {
		if (ctx->args[1] != BPF_TCP_CLOSE)
			return;
		cookie = bpf_get_socket_cookie(ctx);
		start = sock_starts.lookup(&cookie);
		if (!start)
			return;
		now = watched();
		event.kind = EVENT_CLOSE;
		event.duration_ns = now > *start ? now - *start : 0;
		event.sent_bytes = ctx->bytes_acked;
		event.received_bytes = ctx->bytes_received;
		sock_starts.delete(&cookie);
	} else {
		return;
	}
	describe(ctx, cookie, bpf_get_netns_cookie(ctx), &event);
	tell_at(now, &event);
}

#endif
