"""Is a store whole, and is it right?"""
