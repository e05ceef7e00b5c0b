"""Many consumers, one cluster, one seed: everything that can go wrong, in virtual time. See `world`."""
