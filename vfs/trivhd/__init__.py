"""trivhd: a character device with 64 KiB of content that all who open it share. The smallest device that holds something."""
