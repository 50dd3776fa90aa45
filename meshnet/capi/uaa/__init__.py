"""UAA: users, their passwords and groups, and the tokens that say who somebody is."""
