#!/bin/sh
# Started by mod_fcgid, which hands on no settings: they come from the file named here. Change both
# paths. The file needs mode 0600; neither it nor the program may be where the web shows it.
BAKRYPT_CONFIG=/home/you/.config/bakrypt-login.conf
export BAKRYPT_CONFIG
exec /home/you/bin/bakrypt-login
