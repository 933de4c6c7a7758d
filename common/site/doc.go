// Package site is what the servers serve: the files beneath a folder, with ranges
// and conditional requests, a login, and a small API.
//
// [Site.Handle] is an h1.Handler. It describes a response and never touches the
// socket, so it is the same in a server that blocks and in one that does not. What
// it may wait for is the disk: opening a file and looking whether it has changed
// are system calls that can block, also in an event loop. The cache keeps them
// rare, at most one look for each file in half a second.
//
// Two things are guarded twice. A path is judged by its spelling before anything is
// opened (path.go), and a file by where it really lies after it was opened
// (place.go): the first keeps every way to write /private in check, the second every
// link that leads there.
//
// Left out on purpose: directory listings, compression, and uploads. Not guarded: a
// hard link from elsewhere to a file in /private, which is a second name of that file
// and not a way to it.
package site
