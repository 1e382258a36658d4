"""Models on the network: requests, live streams, a page to try them."""
