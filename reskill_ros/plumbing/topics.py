"""Topics that nodes of this package use among themselves, where more than one of them has to know the name."""

# Who must not miss a frame in lockstep confirms each one here; the simulator waits for it.
RECORDER_ACKNOWLEDGE = "recorder/acknowledge"
BAG_ACKNOWLEDGE = "bag_recorder/acknowledge"


def observed_image(name: str) -> str:
    """Where observation_node publishes the newest frame of an image, stamped as the observation that it is part of."""
    return f"observation/images/{name}"
