"""Other methods, behind one interface, so that they can be measured on the same faces.

Each is built for a recognizer and then maps what supports the similarity of faces with their mates.
All is own code after the papers named.
"""

# Each of these modules registers its peers.
from leam.mapping.peers import cams, gradients, perturbations
from leam.mapping.peers.registry import PEERS, Builder, Method, build_peer, explained, peer

__all__ = [
    "PEERS",
    "Builder",
    "Method",
    "build_peer",
    "cams",
    "explained",
    "gradients",
    "peer",
    "perturbations",
]
