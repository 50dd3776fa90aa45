/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
#ifndef MESHNET_PORTS_H
#define MESHNET_PORTS_H

#include "abi.h"

/* Whether a port is one of the sidecar's. */
static __always_inline int is_proxy_port(u16 port_be)
{
	u16 port = bpf_ntohs(port_be);

	return port >= PROXY_PORT_FIRST && port <= PROXY_PORT_LAST;
}

#endif
