"""OpenAI's list of models. Pure."""

import msgspec

from mycoswarm.core.views import Models


def models_json(models: Models) -> bytes:
    """`GET /v1/models`: every model of the swarm that can answer now."""
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [
                {
                    "id": view.name,
                    "object": "model",
                    "created": 0,
                    "owned_by": ", ".join(sorted({place.node_name for place in view.places if place.reachable})),
                }
                for view in models.models
                if any(place.reachable and place.offer.state != "unfit" for place in view.places)
            ],
        }
    )
