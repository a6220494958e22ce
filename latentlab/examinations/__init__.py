"""What is wrong with a VAE: examinations on plain arrays, each with a figure and a threshold."""
