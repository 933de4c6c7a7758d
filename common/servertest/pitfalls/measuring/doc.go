// Package measuring demonstrates two pitfalls of measuring a server, whose bug is in the measurement. Each has half
// a page in testdata/pitfalls, and a test here that shows the wrong way and the right one.
package measuring
