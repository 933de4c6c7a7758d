#!/bin/sh
# Makes docs/site/video/test-pattern.mp4: 20 seconds of a test pattern with a large number
# that counts the seconds, so that you can see where a player has jumped to.
#
# A player jumps by requesting a range of bytes. Two settings matter for that:
# +faststart puts the index (the moov box) before the pictures, so the first request
# finds it. -g 25 makes the first picture of every second complete in itself, so a player
# can jump to every second. Every browser plays H.264 in yuv420p.
#
# The script needs ffmpeg (Debian: apt-get install ffmpeg). With one thread and bitexact,
# the same version of ffmpeg makes the same bytes. The video is committed, so the servers
# do not need this script.
set -eu
out=$(dirname "$0")/../site/video/test-pattern.mp4
mkdir -p "$(dirname "$out")"
ffmpeg -hide_banner -loglevel warning -y \
	-f lavfi -i "testsrc=size=640x360:rate=25:duration=20" \
	-map_metadata -1 -fflags +bitexact -flags:v +bitexact -threads 1 \
	-c:v libx264 -profile:v main -preset slow -crf 26 -pix_fmt yuv420p -g 25 \
	-movflags +faststart "$out"
ls -l "$out"
