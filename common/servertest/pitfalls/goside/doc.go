// Package goside demonstrates four pitfalls of raw system calls in Go, which do not exist in C or look different
// there. Each has half a page in testdata/pitfalls, and a test here that shows the wrong way and the right one.
package goside
