"""Looking at a lab: names, points, packets, flows, traces."""
