/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Flow events for whoever watches. The data path never waits for a reader: without one nothing is
 * written, with a slow one events are lost and counted.
 */
#ifndef MESHNET_MAPS_EVENTS_H
#define MESHNET_MAPS_EVENTS_H

#include "map_tables.h"

/* flow_switch: until when (CLOCK_MONOTONIC) somebody watches. Renewed by the reader. */
ARRAY_MAP(flow_switch, u64, 1);

/* flow_events: 4 MiB, some 40,000 events between two visits of the reader. */
BPF_RINGBUF_OUTPUT(flow_events, 1024);

/* The reader comes by the clock: a wake-up a record would cost more than the record. */
#define NO_WAKEUP 1

/* The time, where somebody watches; else 0. */
static __always_inline u64 watched(void)
{
	int zero = 0;
	u64 *until = flow_switch.lookup(&zero);
	u64 now;

	if (!until || !*until)
		return 0;
	now = bpf_ktime_get_ns();
	return now < *until ? now : 0;
}

/* Write an event that happened at `now`; nothing where that is 0. */
static __always_inline void tell_at(u64 now, struct flow_event *event)
{
	if (!now)
		return;
	event->time_ns = now;
	if (flow_events.ringbuf_output(event, sizeof(*event), NO_WAKEUP))
		count(EVENTS_LOST);
	else
		count(EVENTS_TOLD);
}

static __always_inline void tell(struct flow_event *event)
{
	tell_at(watched(), event);
}

#endif
