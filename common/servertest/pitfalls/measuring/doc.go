// Package measuring is two pitfalls of who measures a server: the bug is not in the server. Each
// has half a page in testdata/pitfalls, and a test here that shows the wrong way and the right one.
package measuring
