// Package goside is what raw system calls are like in Go: four pitfalls that C does not have, or
// hides elsewhere. Each has half a page in testdata/pitfalls, and a test here that shows
// it both ways.
package goside
