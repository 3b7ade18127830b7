//! Over a real `sshd`, where one is installed.
