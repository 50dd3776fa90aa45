/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * An app's TCP sockets as they connect: note the redirected connection under the addresses its
 * sidecar will see. Before the SYN leaves, so that the sidecar can never ask too early; once more
 * when established, in case many others have pushed the entry out of the map meanwhile.
 */
#include <uapi/linux/bpf.h>
#include <uapi/linux/in.h>
#include "maps_splice.h"
#include "sock_events.h"

int sockops(struct bpf_sock_ops *ctx)
{
	struct connection_key key;
	struct meant *meant;
	int zero = 0;
	struct config *config;
	u64 cookie;

	tell_life(ctx, 0);
	if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB &&
	    ctx->op != BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		return 1;
	cookie = bpf_get_socket_cookie(ctx);
	meant = sock_dsts.lookup(&cookie);
	config = configs.lookup(&zero);
	if (!meant || !config)
		return 1;
	key = key_of(ctx);
	if (meant->mode == MODE_EBPF) {
		orig_dsts.update(&key, meant);
		if (meant->sockmap && ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
			spliced.sock_hash_update(ctx, &key, BPF_ANY);
	} else if (meant->mode == MODE_IPTABLES) {
		/* Netfilter answers for this one; an older connection may have had its tuple. */
		key.remote_be = LOOPBACK_BE;
		key.remote_port_be = config->proxy_port_be;
		orig_dsts.delete(&key);
	}
	return 1;
}
