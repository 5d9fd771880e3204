"""PConvNet: a U-Net of partial convolutions (Liu et al., 2018), and its twin of ordinary ones."""
