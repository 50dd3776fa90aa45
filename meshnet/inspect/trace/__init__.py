"""`meshnet trace`: one request or packet, followed hop by hop with evidence for each."""
