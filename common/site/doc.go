// Package site serves the files of a folder, with ranges and conditional requests, a login,
// and a small API.
//
// [Site.Handle] is an h1.Handler. It describes a response and never uses the socket, so
// blocking servers and event loops use the same code. It may wait for the disk: opening a
// file and checking whether it has changed are system calls that can block, also in an
// event loop. The cache makes them rare: it checks each file at most once in half a second.
//
// The files in /private are protected by two checks. The first examines the spelling of the
// path before any file is opened (path.go). It finds every way to write /private. The
// second examines the real path of a file after it was opened (place.go). It finds every
// link that leads to /private.
//
// The package has no directory listings, no compression and no uploads, to stay small. It
// does not protect a file in /private that has a hard link outside of /private, because a
// hard link is another name of the same file and the kernel does not tell them apart.
package site
