"""diffusers' autoencoder classes that latentlab refuses, and what each of them is."""

from __future__ import annotations

_AUDIO = "an autoencoder of audio, which has no images"
_VOCODER = "a vocoder, which turns spectrograms into audio"

REFUSED = {
    "AutoencoderKLKVAEAudio": _AUDIO,
    "AutoencoderKLLTX2Audio": _AUDIO,
    "AutoencoderKLMiniMaxH3": "a video autoencoder whose decoder takes no single frame",
    "AutoencoderKLMiniMaxH3Audio": _AUDIO,
    "AutoencoderOobleck": _AUDIO,
    "AutoencoderSAME": _AUDIO,
    "Cosmos3AVAEAudioTokenizer": _AUDIO,
    "LTX2VideoDiffusionDecoderModel": "a decoder without an encoder, which draws noise",
    "LongCatAudioDiTVae": _AUDIO,
    "MMAudioVAE": _AUDIO,
    "MMAudioVocoder": _VOCODER,
    "MiniMaxMusic3Vocoder": _VOCODER,
    "RFD4ProteinaAutoencoder": "an autoencoder of proteins, which has no images",
}
"""Class in diffusers → what it is, as part of a sentence."""
