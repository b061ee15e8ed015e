"""SPiRL's skill models: recurrent posteriors, closed- and open-loop decoders, learnt priors of several kinds, images.

Importing this package does not import torch; only its torch modules do, which training and encoding use.
"""
