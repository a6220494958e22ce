"""The only rooms that know diffusers and the hub: foreign conventions end here."""
