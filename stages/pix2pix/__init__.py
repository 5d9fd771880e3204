"""Pix2Pix: a conditional GAN (Isola et al., 2017), trained to fill holes."""
