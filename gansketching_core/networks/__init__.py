"""Networks: StyleGAN2, PhotoSketch and its stand-in, feature networks. They import nothing else of this package."""
