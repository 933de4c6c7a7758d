#!/usr/bin/env bash
# Gradescope runs this once, as root, when it builds the image of the autograder. It installs what the submissions are
# built with. Add the packages of other languages here.
set -e
source=${AUTOGRADER:-/autograder}/source

packages=()
need() { command -v "$1" >/dev/null || packages+=("${@:2}"); }
need make make
need cc gcc libc6-dev
need python3 python3
need go golang-go

if [ ${#packages[@]} -gt 0 ]; then
	apt-get update
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"
fi
chmod +x "$source/lab" "$source/run_autograder"
