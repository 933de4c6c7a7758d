#!/bin/sh
# Makes docs/site/video/test-pattern.mp4: 20 seconds of a test pattern whose large
# number counts the seconds, so that one sees where a player has jumped to.
#
# A player jumps by asking for a range of bytes. Two settings matter for that:
# +faststart puts the index (the moov box) before the pictures, so that the first
# request finds it, and -g 25 makes every second's first picture complete in itself,
# so that any second can be jumped to. H.264 in yuv420p is what every browser plays.
#
# Needs ffmpeg (Debian: apt-get install ffmpeg); one thread and bitexact make the
# same ffmpeg give the same bytes. The file is committed, so that nobody needs this
# to run the servers.
set -eu
out=$(dirname "$0")/../site/video/test-pattern.mp4
mkdir -p "$(dirname "$out")"
ffmpeg -hide_banner -loglevel warning -y \
	-f lavfi -i "testsrc=size=640x360:rate=25:duration=20" \
	-map_metadata -1 -fflags +bitexact -flags:v +bitexact -threads 1 \
	-c:v libx264 -profile:v main -preset slow -crf 26 -pix_fmt yuv420p -g 25 \
	-movflags +faststart "$out"
ls -l "$out"
