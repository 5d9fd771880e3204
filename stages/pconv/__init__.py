"""PConvNet, a U-Net of partial convolutions (Liu et al., 2018), and the same network with ordinary convolutions."""
