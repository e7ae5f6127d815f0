"""LaunchPad: its configuration, a private MongoDB server, and checks of the whole chain."""
